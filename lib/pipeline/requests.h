// SPDX-License-Identifier: BSD-3-Clause
// Requests: requests of control to one worker (control_requests.h), and the worker's answers, once
// a turn.
#pragma once

#include <memory>

#include "pipeline/control_requests.h"
#include "pipeline/expecting.h"
#include "pipeline/tracking.h"

namespace postern {

class Requests {
  public:
    // For control.
    ConnQuery& conn_query() noexcept { return *conn_query_; }
    CreateExpectRequest& expect() noexcept { return expect_; }
    RestoreRequest& restore() noexcept { return *restore_; }

    /// For the worker: answers requests; bounded work. Lists and ends connections, some slots a
    /// turn; files an expectation for one of them; restores a saved one.
    void answer(Tracking& tracking, Helping& helping, Expecting& expecting, Tick now) noexcept;

  private:
    void answer_expect(Tracking& tracking, Expecting& expecting) noexcept;
    void answer_list(Tracking& tracking, Helping& helping, Tick now) noexcept;

    std::unique_ptr<ConnQuery> conn_query_ = std::make_unique<ConnQuery>();
    CreateExpectRequest expect_;
    std::unique_ptr<RestoreRequest> restore_ = std::make_unique<RestoreRequest>();
};

}  // namespace postern
