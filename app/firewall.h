// SPDX-License-Identifier: BSD-3-Clause
// Firewall: the objects of one Spec: plan, helpers, expectation table, workers.
//
// The daemon runs it over ports; replay, tests and benchmarks run the same object over packets of
// their own. Needs an initialised EAL. Life-cycle: build, run, destroy when no worker runs any
// more.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/step_times.h"
#include "config/load.h"
#include "config/spec.h"
#include "expect/owner.h"
#include "helper/helper_set.h"
#include "helper/scanner_cache.h"
#include "pipeline/rule_book.h"
#include "pipeline/rule_limits.h"
#include "pipeline/tap.h"
#include "pipeline/worker.h"
#include "plan/helpers.h"
#include "plan/plan.h"
#include "plan/plan_store.h"
#include "plan/steering.h"
#include "userspace/link.h"

struct rte_rcu_qsbr;

namespace postern {

/// The helpers and stages of this build.
Schema build_schema();

/// The daemon's capacity for events of each worker.
inline constexpr std::uint32_t kExpectEvents = 1024, kConnEvents = 16384, kPacketRecords = 8192;

struct FirewallOptions {
    unsigned workers = 1;
    HashSecret secret;
    std::uint64_t rss_seed = 0;  ///< the key for devices: random, or the same in every run
    Tick start;
    std::uint32_t expect_events = 0;   ///< capacity for each worker until drained; 0 = none
    std::uint32_t conn_events = 0;     ///< the same for connections; emitted to listeners only
    std::uint32_t packet_records = 0;  ///< the same for records of packets, which rules log
    std::uint32_t handoff_ring = 4096;
    bool believe_checksums = false;  ///< overrides the ports' `checksums`: see Plan
    std::uint32_t activity_ring = 1024;
    ScannerCache* scanner_cache = nullptr;  ///< used while building only
    StepTimes* times = nullptr;             ///< gets the times of its steps
    /// The time for schedules, seconds after 1970; none: the system's.
    std::function<std::int64_t()> wall_s;
};

/// Many methods: one accessor for each part that control uses.
class Firewall {
  public:
    static Result<std::unique_ptr<Firewall>> build(const Spec& spec,
                                                   const FirewallOptions& options);
    ~Firewall();
    Firewall(const Firewall&) = delete;
    Firewall& operator=(const Firewall&) = delete;

    /// The current plan. A reference stays valid until the next reclaim_plans().
    const Plan& plan() const noexcept { return plans_->plan(); }
    /// Frees replaced plans that no worker reads any more; see PlanStore. Control, regularly.
    /// Returns how many are left.
    std::size_t reclaim_plans() { return plans_->reclaim(); }
    const Steering& steering() const noexcept { return steering_; }
    const HelperSet& helpers() const noexcept { return plan().helper_instances->set(); }
    ExpectTable& expectations() noexcept { return *expectations_; }
    /// The counters of the rules. Control.
    RuleBook& rule_book() noexcept { return *rule_book_; }
    /// The captures and traces that run. Control.
    TapStore& taps() noexcept { return *taps_; }
    RuleLimits& rule_limits() noexcept { return *rule_limits_; }
    rte_rcu_qsbr* rcu() noexcept { return rcu_.get(); }
    /// Whether devices select workers by the symmetric hash; by which table (empty: that of
    /// steering()); and whether that includes the ports of SCTP. Call before any worker runs.
    void set_devices_steer(bool they_do, std::span<const std::uint16_t> reta = {},
                           bool sctp_ports = true) noexcept;
    /// Whether set_devices_steer() decides about the homes of connections.
    bool devices_decide() const noexcept {
        return steering_.workers > 1 && steer_ == Steer::automatic;
    }
    unsigned workers() const noexcept { return static_cast<unsigned>(workers_.size()); }
    Worker& worker(unsigned i) noexcept { return *workers_[i]; }
    Worker& worker(WorkerId id) noexcept { return worker(id.number()); }
    /// To the processes of helpers; null if the configuration has none.
    UserspaceLink* userspace() noexcept { return userspace_.get(); }
    /// RCU thread ids: worker i is reader i; control is the one after the last worker.
    unsigned control_reader() const noexcept { return workers(); }

    /// If the schedules of `spec`, which is in force, have begun or ended rules: publishes a plan
    /// of now. Returns these rules' indexes. Cheap while nothing changes; control, regularly.
    Result<std::vector<std::size_t>> follow_schedules(const Spec& spec);
    /// What the next plan is compiled from, besides its Spec: a copy, so that any thread may
    /// compile while this one works on.
    struct PlanBasis {
        Names names;
        std::shared_ptr<const HelperInstances> helpers;
        unsigned workers = 1;
        bool believe_checksums = false;
        std::uint32_t max_message = 0;         ///< of a helper, in bytes
        std::uint64_t helpers_in_service = 0;  ///< as Plan has them
        std::uint64_t names_version = 0;       ///< of the plan whose names these are
        std::int64_t wall_s = 0;               ///< the time, for schedules
        KnownSets sets;
        std::shared_ptr<const SetShared> set_shared;
    };
    PlanBasis plan_basis();
    /// Compiles `spec`. Any thread. Differences named by needs_restart() are not adopted.
    /// `as_compiled`, if not null, gets it with the plan's numbers of zones and helpers, and with
    /// the rules disabled that are not in force now.
    static Result<Plan> compile_plan(const Spec& spec, const PlanBasis& basis,
                                     Spec* as_compiled = nullptr);
    /// Publishes a plan compiled from `basis`, under traffic. A helper that was removed since the
    /// basis was taken stays removed. False: another configuration was published since then, so
    /// numbers of names may differ; nothing has changed, compile again.
    [[nodiscard]] bool publish_compiled(Plan plan, const PlanBasis& basis);
    /// Compiles and publishes, on this thread. An error changes nothing.
    Result<void> replace_plan(const Spec& spec);
    /// Judges all running connections again, as another configuration with `on_change: recheck`
    /// does.
    void recheck();
    /// Moves the clock of the sets' entries on, removes some that have expired, and frees what no
    /// worker reads any more. Control, regularly.
    void tend_sets(Tick now);
    /// Forgets sets that the plan lacks: no earlier configuration may come back with them.
    void forget_former_sets();
    /// Publishes a plan that was compiled for this firewall, with the current next_names() and
    /// plan().helper_instances.
    void publish_plan(Plan plan);
    /// The names with which the next plan is compiled: the current plan's, without removed ones
    /// that neither a connection nor an expectation holds any more, nor a NamesHold.
    Names next_names();
    /// While one exists, no number of a removed name becomes another name's: someone holds records
    /// with numbers of earlier plans. Control's thread only; it may outlive the firewall.
    class NamesHold {
      public:
        explicit NamesHold(Firewall& fw) : holds_(fw.names_holds_) { ++*holds_; }
        ~NamesHold() { --*holds_; }
        NamesHold(const NamesHold&) = delete;
        NamesHold& operator=(const NamesHold&) = delete;

      private:
        std::shared_ptr<unsigned> holds_;
    };
    /// Takes a helper out of service under traffic: publishes a plan without it. Each worker
    /// detaches it from its connections, whose pending expectations end, and assigns it no more.
    /// Existing children continue. Only a restart brings it back.
    void remove_helper(HelperId id);
    bool is_removed(HelperId id) const noexcept { return !plan().serves(id); }
    /// Whether every worker has finished its part.
    bool is_gone(HelperId id) const noexcept;

  private:
    struct FreeAligned {
        void operator()(void* p) const noexcept;
    };
    Firewall() = default;
    void remember_sets(const Plan& plan);

    std::uint64_t names_version_ = 1;  ///< of the last plan that was compiled
    Steer steer_ = Steer::automatic;
    std::function<std::int64_t()> wall_s_;
    std::uint64_t recheck_version_ = 0;  ///< of the last plan with `recheck`
    std::int64_t followed_min_ = -1;     ///< the minute of the last follow_schedules()
    std::shared_ptr<unsigned> names_holds_ = std::make_shared<unsigned>(0);  ///< see NamesHold

    /// By helper: the version of the plan that removed it.
    std::array<std::uint64_t, kMaxHelpers> removed_by_{};
    // The order matters: later members use earlier ones.
    std::unique_ptr<rte_rcu_qsbr, FreeAligned> rcu_;
    Steering steering_;
    std::shared_ptr<SetShared> set_shared_;
    KnownSets sets_;  ///< of the plan, and former ones
    std::unique_ptr<PlanStore> plans_;
    std::unique_ptr<UserspaceLink> userspace_;
    std::unique_ptr<ExpectTable> expectations_;
    std::unique_ptr<PeerRings> rings_;
    std::unique_ptr<RuleBook> rule_book_;
    std::unique_ptr<TapStore> taps_;
    std::unique_ptr<RuleLimits> rule_limits_;
    std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace postern
