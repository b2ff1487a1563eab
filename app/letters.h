// SPDX-License-Identifier: BSD-3-Clause
// Letters: one question at a time to each worker by a mail of one kind (ExpectMail, RestoreMail),
// whoever asks. Control's thread only.
#pragma once

#include <atomic>
#include <vector>

#include "pipeline/mailbox.h"

namespace postern {

class Letters {
  public:
    explicit Letters(unsigned workers) : owners_(workers, nullptr) {}

    /// Puts the question by fill() when it is `who`'s turn; true when its answer is in `mail`. Then
    /// take() must follow.
    template <class Mail, class Fill>
    bool answered(const void* who, unsigned worker, Mail& mail, Fill&& fill) {
        const void*& owner = owners_[worker];
        if (owner != nullptr && owner != who) return false;
        // Acquire pairs with the worker's answer, release with its reading of the question.
        if (mail.state.load(std::memory_order_acquire) == Mailbox::asked) return false;
        if (owner == who) return true;
        owner = who;
        fill(mail);
        mail.state.store(Mailbox::asked, std::memory_order_release);
        return false;
    }
    /// The answer has been read.
    template <class Mail>
    void take(unsigned worker, Mail& mail) {
        mail.state.store(Mailbox::idle, std::memory_order_release);
        owners_[worker] = nullptr;
    }
    /// Nobody waits for these answers any more.
    void forget(const void* who) {
        for (auto& owner : owners_)
            if (owner == who) owner = nullptr;
    }

  private:
    std::vector<const void*> owners_;
};

}  // namespace postern
