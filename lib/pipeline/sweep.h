// SPDX-License-Identifier: BSD-3-Clause
// Sweep: adapts the connections of a worker to another plan.
//
// What a connection holds of a plan it holds by number. Numbers of names that a new plan does not
// have any more stay taken until no connection holds them: each worker looks at all of its slots,
// some a turn, and says when it has done so (swept()). New connections get nothing that the plan of
// their turn does not have, so one pass over the table is enough.
//
// With `on_change: recheck` the pass also asks policy about each connection as it did about its
// first packet, and ends what is refused now. Children are not asked about: they follow their
// master, which may be another worker's. Who ends a master tells all workers, and each ends its
// children in a pass of its own (RefusedMasters).
// Who: its worker; control reads swept(). Cost: nothing while no sweep is on its way.
#pragma once

#include <atomic>
#include <cstdint>

#include "pipeline/batch.h"
#include "pipeline/helping.h"
#include "pipeline/tracking.h"
#include "plan/plan.h"

namespace postern {

class Sweep {
  public:
    /// `first`: version of the first plan, which needs no sweep. References outlive it.
    Sweep(Tracking& tracking, Helping& helping, Batch& batch, std::uint64_t first)
        : tracking_(tracking), helping_(helping), batch_(batch), swept_(first) {}

    /// The worker has adopted another plan, now the batch's.
    void begin() noexcept;
    bool is_under_way() const noexcept { return at_ != 0; }
    /// Visits some slots. Call once a turn. False: there are more.
    bool step() noexcept;
    /// During a sweep: detaches from connections of this burst the helpers that the plan does not
    /// serve, so that none of them reads a packet.
    void detach_unserved() noexcept;
    /// Version of a plan that this worker has adopted, and for which it has swept its connections:
    /// none holds a name that the plan took out of service. Control reads it. Acquire pairs with
    /// the worker's release, so that the ends caused by the sweep are visible.
    std::uint64_t swept() const noexcept { return swept_.load(std::memory_order_acquire); }

  private:
    void sweep(std::uint32_t slot) noexcept;
    /// Sweeps some slots, and asks policy about those that are there.
    void recheck(std::uint32_t end) noexcept;
    /// Ends children of masters that were refused. False: there are more slots to look at.
    bool end_orphans() noexcept;

    Tracking& tracking_;
    Helping& helping_;
    Batch& batch_;
    std::uint32_t at_ = 0;              ///< next slot; 0: no sweep is in progress
    std::uint32_t orphans_at_ = 0;      ///< next slot of a pass for children; 0: none on its way
    std::uint64_t version_ = 0;         ///< of the plan with which it began
    std::atomic<std::uint64_t> swept_;  // worker: w, control: r
};

}  // namespace postern
