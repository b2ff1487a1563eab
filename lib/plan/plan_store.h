// SPDX-License-Identifier: BSD-3-Clause
// PlanStore: the current plan, and replaced ones that a worker may still read.
//
// Control publishes a whole new plan; each worker takes the pointer once a turn, so a turn has one
// plan. A replaced plan is freed after a grace period: once every worker has reported a quiescent
// state, and so has ended the turn in which it may have taken that plan. No thread waits: reclaim()
// checks, and is called again later. Cost for a worker: one load a turn.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "plan/plan.h"

struct rte_rcu_qsbr;

namespace postern {

class PlanStore {
  public:
    /// `rcu` outlives this; its readers are the workers.
    PlanStore(rte_rcu_qsbr* rcu, Plan first);
    PlanStore(const PlanStore&) = delete;
    PlanStore& operator=(const PlanStore&) = delete;

    /// Worker: the plan of a new turn. Valid until its next quiescent state.
    const Plan* take() const noexcept {
        // Acquire pairs with the release of publish(): the plan is complete.
        return current_.load(std::memory_order_acquire);
    }

    // --- control ---
    const Plan& plan() const noexcept { return *in_force_; }
    /// Publishes a plan and numbers it: Plan::version. The earlier result of plan() stays valid
    /// until the next reclaim().
    void publish(Plan plan);
    /// Frees replaced plans whose grace period has passed. Returns how many are left.
    std::size_t reclaim();

  private:
    struct Replaced {
        std::unique_ptr<const Plan> plan;
        std::uint64_t token;  ///< of the grace period, from rte_rcu_qsbr_start()
    };
    rte_rcu_qsbr* rcu_;
    std::unique_ptr<const Plan> in_force_;
    std::deque<Replaced> replaced_;              ///< oldest first
    std::atomic<const Plan*> current_{nullptr};  // control: w, workers: r
};

}  // namespace postern
