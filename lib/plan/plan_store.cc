// SPDX-License-Identifier: BSD-3-Clause
#include "plan/plan_store.h"

#include <utility>

#include <rte_rcu_qsbr.h>

namespace postern {

PlanStore::PlanStore(rte_rcu_qsbr* rcu, Plan first) : rcu_(rcu) {
    first.version = 1;
    in_force_ = std::make_unique<const Plan>(std::move(first));
    current_.store(in_force_.get(), std::memory_order_release);
}

void PlanStore::publish(Plan plan) {
    plan.version = in_force_->version + 1;
    plan.names.stamp(plan.version);
    auto next = std::make_unique<const Plan>(std::move(plan));
    current_.store(next.get(), std::memory_order_release);
    // After the store: a worker that reports later has seen the new plan, or takes it in its next
    // turn.
    const std::uint64_t token = rte_rcu_qsbr_start(rcu_);
    replaced_.push_back({std::exchange(in_force_, std::move(next)), token});
}

std::size_t PlanStore::reclaim() {
    while (!replaced_.empty() && rte_rcu_qsbr_check(rcu_, replaced_.front().token, false) == 1)
        replaced_.pop_front();
    return replaced_.size();
}

}  // namespace postern
