// SPDX-License-Identifier: BSD-3-Clause
// Firewall: everything that one Spec makes: plan, helpers, expectation table, workers.
//
// The daemon runs it over ports; replay, tests and benchmarks run the same object over packets of
// their own. Needs an initialised EAL. Life-cycle: build, run, destroy when no worker runs any
// more.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/result.h"
#include "config/load.h"
#include "config/spec.h"
#include "expect/table.h"
#include "helper/helper_set.h"
#include "helper/scanner_cache.h"
#include "pipeline/plan.h"
#include "pipeline/worker.h"
#include "userspace/link.h"
#include "userspace_helpers.h"

struct rte_rcu_qsbr;
struct rte_ring;

namespace postern {

/// What this build of Postern has: its helpers and stages.
Schema build_schema();

struct FirewallOptions {
    unsigned workers = 1;
    HashSecret secret;
    Tick start;
    std::uint32_t expect_events = 0;  ///< kept for each worker until drained; 0 = none
    std::uint32_t conn_events = 0;  ///< the same for connections; told only while somebody listens
    std::uint32_t handoff_ring = 4096;
    std::uint32_t activity_ring = 1024;
    ScannerCache* scanner_cache = nullptr;  ///< used while building only
};

class Firewall {
  public:
    static Result<std::unique_ptr<Firewall>> build(const Spec& spec,
                                                   const FirewallOptions& options);
    ~Firewall();
    Firewall(const Firewall&) = delete;
    Firewall& operator=(const Firewall&) = delete;

    const Plan& plan() const noexcept { return plan_; }
    const HelperSet& helpers() const noexcept { return *helpers_; }
    ExpectTable& expectations() noexcept { return *expectations_; }
    rte_rcu_qsbr* rcu() noexcept { return rcu_.get(); }
    unsigned workers() const noexcept { return static_cast<unsigned>(workers_.size()); }
    Worker& worker(unsigned i) noexcept { return *workers_[i]; }
    /// To the processes of helpers; null when the configuration has none.
    UserspaceLink* userspace() noexcept { return userspace_.get(); }
    /// RCU thread ids: worker i is reader i; control is the one after the last worker.
    unsigned control_reader() const noexcept { return workers(); }

    /// Takes a helper out of service while traffic flows: each worker detaches it from its
    /// connections, whose pending expectations end, and gives it to none any more. Children that
    /// exist live on. There is no way back but a restart.
    void remove_helper(HelperId id) noexcept {
        removed_helpers_.fetch_or(std::uint64_t{1} << id, std::memory_order_release);
    }
    bool is_removed(HelperId id) const noexcept {
        return (removed_helpers_.load(std::memory_order_relaxed) >> id & 1) != 0;
    }
    /// Whether every worker has done its part.
    bool is_gone(HelperId id) const noexcept;

  private:
    struct FreeAligned {
        void operator()(void* p) const noexcept;
    };
    Firewall() = default;

    std::atomic<std::uint64_t> removed_helpers_{0};  // control: w, workers: r
    // Order matters: what is below uses what is above.
    std::unique_ptr<rte_rcu_qsbr, FreeAligned> rcu_;
    Plan plan_;
    std::vector<std::unique_ptr<DeclaredHelper>> declared_;
    std::unique_ptr<const HelperSet> helpers_;
    std::unique_ptr<UserspaceLink> userspace_;
    std::unique_ptr<ExpectTable> expectations_;
    std::vector<rte_ring*> rings_;  ///< of packets
    std::vector<rte_ring*> message_rings_;
    std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace postern
