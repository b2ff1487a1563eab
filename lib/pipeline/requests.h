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
    /// Control writes requests, and reads replies. It must have no more requests unanswered than
    /// kRing, so that the worker always has room for a reply.
    SpscRing<ControlRequest>& requests() noexcept { return requests_; }
    SpscRing<ControlReply>& replies() noexcept { return replies_; }
    static constexpr std::uint32_t kRing = 512;

    /// For the worker: answers requests; bounded work. Restores saved connections and files
    /// expectations, some a turn; lists and ends connections, some slots a turn.
    void answer(Tracking& tracking, Helping& helping, Expecting& expecting, Tick now) noexcept;

  private:
    void answer_ring(Tracking& tracking, Expecting& expecting) noexcept;
    void answer_list(Tracking& tracking, Helping& helping, Tick now) noexcept;

    std::unique_ptr<ConnQuery> conn_query_ = std::make_unique<ConnQuery>();
    SpscRing<ControlRequest> requests_{kRing};  // control: w, worker: r
    SpscRing<ControlReply> replies_{kRing};     // worker: w, control: r
};

}  // namespace postern
