// SPDX-License-Identifier: BSD-3-Clause
// Plans replaced while workers read them: who sees which, and when a replaced one is freed.
#include "plan/plan_store.h"

#include <cstdlib>
#include <memory>

#include <gtest/gtest.h>
#include <rte_rcu_qsbr.h>

namespace postern {
namespace {

class Workers {
  public:
    static constexpr unsigned kCount = 2;
    Workers() {
        const std::size_t bytes = rte_rcu_qsbr_get_memsize(kCount);
        rcu_.reset(static_cast<rte_rcu_qsbr*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
        rte_rcu_qsbr_init(rcu_.get(), kCount);
        for (unsigned w = 0; w < kCount; ++w) {
            rte_rcu_qsbr_thread_register(rcu_.get(), w);
            rte_rcu_qsbr_thread_online(rcu_.get(), w);
        }
    }
    rte_rcu_qsbr* rcu() { return rcu_.get(); }
    void quiescent(unsigned w) { rte_rcu_qsbr_quiescent(rcu(), w); }
    void sleep(unsigned w) { rte_rcu_qsbr_thread_offline(rcu(), w); }

  private:
    struct Free {
        void operator()(void* p) const { std::free(p); }
    };
    std::unique_ptr<rte_rcu_qsbr, Free> rcu_;
};

/// A plan, and whether it is still there.
Plan watched(std::weak_ptr<const HelperInstances>& there) {
    Plan plan;
    plan.helper_instances = std::make_shared<const HelperInstances>();
    there = plan.helper_instances;
    return plan;
}

TEST(PlanStore, WorkersTakeTheLastPlanPublished) {
    Workers workers;
    PlanStore store(workers.rcu(), Plan{});
    const Plan* first = store.take();
    EXPECT_EQ(first, &store.plan());
    store.publish(Plan{});
    EXPECT_NE(store.take(), first);
    EXPECT_EQ(store.take(), &store.plan());
    EXPECT_EQ(first->version, 1u);
    EXPECT_EQ(store.take()->version, 2u);
}

TEST(PlanStore, AReplacedPlanIsFreedWhenAllWorkersHaveEndedTheirTurn) {
    Workers workers;
    std::weak_ptr<const HelperInstances> first, second;
    PlanStore store(workers.rcu(), watched(first));
    EXPECT_EQ(store.reclaim(), 0u);
    store.publish(watched(second));
    EXPECT_EQ(store.reclaim(), 1u);
    workers.quiescent(0);
    EXPECT_EQ(store.reclaim(), 1u);
    EXPECT_FALSE(first.expired());
    workers.quiescent(1);
    EXPECT_EQ(store.reclaim(), 0u);
    EXPECT_TRUE(first.expired());
    EXPECT_FALSE(second.expired());
}

TEST(PlanStore, ASleepingWorkerKeepsNoPlan) {
    Workers workers;
    std::weak_ptr<const HelperInstances> first;
    PlanStore store(workers.rcu(), watched(first));
    workers.sleep(0);
    store.publish(Plan{});
    workers.quiescent(1);
    EXPECT_EQ(store.reclaim(), 0u);
    EXPECT_TRUE(first.expired());
}

TEST(PlanStore, PlansAreFreedOldestFirstEachAfterItsOwnGracePeriod) {
    Workers workers;
    std::weak_ptr<const HelperInstances> there[3];
    PlanStore store(workers.rcu(), watched(there[0]));
    store.publish(watched(there[1]));
    workers.quiescent(0);
    workers.quiescent(1);
    store.publish(watched(there[2]));
    EXPECT_EQ(store.reclaim(), 1u);  // the second one's has just begun
    EXPECT_TRUE(there[0].expired());
    EXPECT_FALSE(there[1].expired());
    EXPECT_FALSE(there[2].expired());
}

}  // namespace
}  // namespace postern
