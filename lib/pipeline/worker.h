// SPDX-License-Identifier: BSD-3-Clause
// Worker: all state of one lcore, and one turn of it.
//
// turn.h has the order of a turn. The caller owns the loop: the daemon runs it over ethdevs; replay
// and tests run any number of workers on one thread and inspect the batch between run_stages() and
// finish().
//
// Stages use its parts, each with a header of its own: Tracking (connections), Expecting
// (expectations), Helping (helpers), Limits, Peers (other workers), Reassembly.
//
// Life-cycle: created by control before the lcore starts, destroyed after it has ended.
// Synchronisation: everything is private to this worker except the expectation table (lib/expect),
// limits of rules (rule_limits.h), the rings between workers (peers.h), the rings to helpers'
// processes, connection events, requests of control (control_requests.h), counters (read by
// control), the current plan (plan_store.h, read once a turn), and the version of the plan for
// which its connections are swept (sweep.h).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "base/drop_reason.h"
#include "conntrack/conn_table.h"
#include "expect/owner.h"
#include "helper/engine.h"
#include "metrics/metric.h"
#include "pipeline/batch.h"
#include "pipeline/drop_counters.h"
#include "pipeline/expecting.h"
#include "pipeline/helping.h"
#include "pipeline/peers.h"
#include "pipeline/reassembly.h"
#include "pipeline/recording.h"
#include "pipeline/requests.h"
#include "pipeline/rule_counts.h"
#include "pipeline/stage.h"
#include "pipeline/sweep.h"
#include "pipeline/tapping.h"
#include "pipeline/tracking.h"
#include "pipeline/worker_limits.h"
#include "plan/plan.h"
#include "plan/plan_store.h"
#include "plan/steering.h"

struct rte_mbuf;

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_TURN_METRICS(X)                                                                   \
    X(rx_packets, counter, packets, "frames taken from ports")                                    \
    X(rx_bytes, counter, bytes, "bytes of those frames")                                          \
    X(tx_packets, counter, packets, "frames accepted and given to ports")                         \
    X(tx_bytes, counter, bytes, "bytes of those frames")                                          \
    X(unsent, counter, packets, "of these, frames dropped because the port did not take them")    \
    X(reassembled, counter, packets, "datagrams reassembled")                                     \
    X(fragments_held, gauge, packets, "fragments that wait for the rest of their datagram now")   \
    X(passed_non_ip, counter, packets, "non-IP frames accepted by `pass`")                        \
    X(passed_nd, counter, packets, "neighbour discovery and MLD messages accepted by `pass: nd`") \
    X(passed_untracked, counter, packets, "packets accepted by a rule with `track: no`")          \
    X(rejected, counter, packets, "answers to rejected packets: a TCP reset or an ICMP message")  \
    X(rejects_unanswerable, counter, packets,                                                     \
      "rejected packets that must not be answered (RFC 1122, 4443)")                              \
    X(rejects_limited, counter, packets,                                                          \
      "rejected packets not answered because of `limits.answers`")                                \
    X(turns, counter, events, "bursts processed")                                                 \
    X(sleeps, counter, events, "times the worker slept while idle")

struct TurnCounters {
    POSTERN_METRICS(POSTERN_TURN_METRICS)
};

/// Each part has and writes its own.
struct WorkerCounters : TurnCounters,
                        DropCounters,
                        PeerCounters,
                        TrackingCounters,
                        ExpectingCounters,
                        HelpingCounters,
                        RecordingCounters,
                        TappingCounters {
    /// Calls read(const MetricDesc&, const Counter&) for each of them, except drops by reason.
    template <class Read>
    void each(Read&& read) const {
        TurnCounters::each(read);
        DropCounters::each(read);
        PeerCounters::each(read);
        TrackingCounters::each(read);
        ExpectingCounters::each(read);
        HelpingCounters::each(read);
        RecordingCounters::each(read);
        TappingCounters::each(read);
    }
};

/// Accepted packets to send by one port.
struct TxBuffer {
    /// More than a burst: reassembled datagrams leave as their fragments.
    static constexpr unsigned kFragments = 8 * Reassembly::kMaxFragments;
    unsigned n = 0;
    std::array<rte_mbuf*, kMaxBurst + kFragments> pkt{};
};

/// Origin of a burst.
enum class Arrival : std::uint8_t {
    port,
    worker  ///< handed over; that worker has counted its frames as received
};

// Many methods: the steps of a turn, and one accessor for each part.
class Worker {
  public:
    /// Its parts; references and pointers to objects that outlive it.
    struct Parts {
        WorkerId id;
        const PlanStore* plans = nullptr;
        const Steering* steering = nullptr;
        std::unique_ptr<ConnTable> conns;
        Limits::Config limits;  ///< this worker's share
        ExpectOwner* expect = nullptr;
        ExpectTable* expectations = nullptr;
        std::unique_ptr<HelperEngine> helpers;
        std::unique_ptr<Reassembly> reassembly;
        /// Null if no helper is in another process.
        UserspaceLink* userspace = nullptr;
        const PeerRings* rings = nullptr;
        RuleSumsMemory* rule_sums = nullptr;  ///< this worker's
        const TapStore* taps = nullptr;       ///< null: no captures, no traces
        /// Capacity for connection events until control reads them; 0: no events.
        std::uint32_t event_ring = 0;
        /// The same for records of packets.
        std::uint32_t record_ring = 0;
    };
    explicit Worker(Parts parts);

    // --- one turn, in the order of turn.h ---
    /// Reads the values published by other threads since the last turn. From here to the next
    /// quiescent state the worker has one plan.
    void begin_turn(Tick now, std::uint64_t cookie = 0) noexcept {
        const Plan* plan = plans_->take();
        // By its version: another plan may have the address of a freed one.
        if (plan->version != plan_version_) [[unlikely]]
            adopt(*plan);
        batch_.now = now;
        batch_.cookie = cookie;
        tracking_.begin_turn();
        tapping_.begin_turn();
    }
    /// Takes `n` packets. Each packet's mbuf->port is a PortId.
    void begin(rte_mbuf* const* pkts, unsigned n, Tick now, std::uint64_t cookie = 0,
               Arrival from = Arrival::port) noexcept;
    void run_stages() noexcept { run_stages_from(0); }
    /// Whether captures or traces run in this turn.
    bool is_tapped() const noexcept { return tapping_.on(); }
    /// begin() and run_stages() for them.
    void run_tapped(rte_mbuf* const* pkts, unsigned n, Tick now, std::uint64_t cookie,
                    Arrival from) noexcept;
    /// Moves accepted packets to tx(), frees dropped ones, counts.
    void finish() noexcept;
    std::array<TxBuffer, kMaxPorts>& tx() noexcept { return tx_; }
    /// Accepted packets that a port did not take, and why.
    void count_unsent(PortId port, unsigned n, DropReason why) noexcept {
        counters_.unsent.add(n);
        counters_.count_dropped(n, why, port);
    }
    /// Resumes packets held for a helper's process. If there are some, begins a batch of them, runs
    /// the remaining stages, and returns true: finish() and tx() follow. Bounded work; once a turn.
    bool resume() noexcept {
        if (!helping_.resume()) return false;
        if (tapping_.on()) [[unlikely]]
            run_tapped_from(after_helpers_);
        else
            run_stages_from(after_helpers_);
        return true;
    }
    /// Ends expired connections and expectations; bounded work. Once a turn, also when idle. False
    /// if some that are due are left for the next call.
    bool housekeeping(Tick now, std::uint64_t cookie = 0) noexcept;
    /// Answers requests of control, if there are any; bounded work. Once a turn.
    void answer_requests() noexcept {
        requests_.answer(tracking_, helping_, expecting_, batch_.now);
    }
    /// Releases held fragments and packets. Call before the mempool is freed.
    void release_held() noexcept;

    // --- its parts ---
    WorkerId id() const noexcept { return conns_->worker(); }
    const Plan& plan() const noexcept { return *batch_.plan; }
    const Steering& steering() const noexcept { return steering_; }
    Batch& batch() noexcept { return batch_; }
    Tracking& tracking() noexcept { return tracking_; }
    Expecting& expecting() noexcept { return expecting_; }
    Helping& helping() noexcept { return helping_; }
    Limits& limits() noexcept { return limits_; }
    Peers& peers() noexcept { return peers_; }
    Reassembly& reassembly() noexcept { return *reassembly_; }
    Sweep& sweep() noexcept { return sweep_; }
    Requests& requests() noexcept { return requests_; }
    RuleCounts& rules() noexcept { return rules_; }
    Recording& recording() noexcept { return recording_; }
    WorkerCounters& counters() noexcept { return counters_; }
    const WorkerCounters& counters() const noexcept { return counters_; }
    ConnTable& conns() noexcept { return *conns_; }
    HelperEngine& helpers() noexcept { return helping_.engine(); }

  private:
    void run_stages_from(std::size_t first) noexcept {
        const auto& stages = batch_.plan->stages;
        for (std::size_t s = first; s < stages.size(); ++s)
            if (batch_[stages[s]->on] != 0) stages[s]->run(*this, batch_);
    }
    void run_tapped_from(std::size_t first) noexcept;
    void adopt(const Plan& plan) noexcept;
    /// Frees the dropped packets of the batch, and counts them.
    void free_dropped() noexcept;
    void find_stage_after_helpers() noexcept;
    /// Queues accepted packet i as its original fragments; false if there is no room for them.
    bool send_fragments(unsigned i, TxBuffer& out) noexcept;

    const PlanStore* plans_;
    const Steering& steering_;
    std::uint64_t plan_version_ = 0;
    std::size_t after_helpers_ = 0;  ///< index of the stage after the helper stage
    std::unique_ptr<ConnTable> conns_;
    std::unique_ptr<Reassembly> reassembly_;
    Limits limits_;
    Peers peers_;
    Expecting expecting_;
    Helping helping_;
    RuleCounts rules_;
    Recording recording_;
    Tapping tapping_;
    Tracking tracking_;
    Sweep sweep_;
    Requests requests_;
    std::array<TxBuffer, kMaxPorts> tx_{};
    alignas(64) WorkerCounters counters_;
    Batch batch_;
};

}  // namespace postern
