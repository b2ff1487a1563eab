// SPDX-License-Identifier: BSD-3-Clause
// RequestSlots: shares the one request of a kind (CreateExpectRequest, RestoreRequest) that each
// worker accepts at a time among several clients. Control's thread only.
#pragma once

#include <atomic>
#include <vector>

#include "pipeline/control_requests.h"

namespace postern {

class RequestSlots {
  public:
    explicit RequestSlots(unsigned workers) : owners_(workers, nullptr) {}

    /// Fills the request by fill() once `who` has the slot. True if it is answered; then take()
    /// must follow.
    template <class Request, class Fill>
    bool answered(const void* who, WorkerId worker, Request& request, Fill&& fill) {
        const void*& owner = owners_[worker.number()];
        if (owner != nullptr && owner != who) return false;
        // Acquire pairs with the worker's answer, release with its reading of the request.
        if (request.state.load(std::memory_order_acquire) == ConnQuery::asked) return false;
        if (owner == who) return true;
        owner = who;
        fill(request);
        request.state.store(ConnQuery::asked, std::memory_order_release);
        return false;
    }
    /// The answer has been read.
    template <class Request>
    void take(WorkerId worker, Request& request) {
        request.state.store(ConnQuery::idle, std::memory_order_release);
        owners_[worker.number()] = nullptr;
    }
    /// These answers are no longer needed.
    void forget(const void* who) {
        for (auto& owner : owners_)
            if (owner == who) owner = nullptr;
    }

  private:
    std::vector<const void*> owners_;
};

}  // namespace postern
