// SPDX-License-Identifier: BSD-3-Clause
// Requests: what control asks of one worker (mailbox.h), and the worker's answers, once a turn.
#pragma once

#include <memory>

#include "pipeline/expecting.h"
#include "pipeline/mailbox.h"
#include "pipeline/tracking.h"

namespace postern {

class Requests {
  public:
    // Control's ends.
    Mailbox& mailbox() noexcept { return *mailbox_; }
    ExpectMail& expect() noexcept { return expect_; }
    RestoreMail& restore() noexcept { return *restore_; }

    /// The worker's: answers what is asked; bounded work. Lists and ends connections, some slots a
    /// turn; files an expectation for one of them; puts a saved one into the table.
    void answer(Tracking& tracking, Helping& helping, Expecting& expecting, Tick now) noexcept;

  private:
    void answer_expect(Tracking& tracking, Expecting& expecting) noexcept;
    void answer_list(Tracking& tracking, Helping& helping, Tick now) noexcept;

    std::unique_ptr<Mailbox> mailbox_ = std::make_unique<Mailbox>();
    ExpectMail expect_;
    std::unique_ptr<RestoreMail> restore_ = std::make_unique<RestoreMail>();
};

}  // namespace postern
