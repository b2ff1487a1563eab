// SPDX-License-Identifier: BSD-3-Clause
// Worker: all state of one lcore, and one turn of its life.
//
// A turn: take a burst (from a port's queue or from the hand-off ring), begin(), run_stages(),
// finish(), send what is in tx(). Who owns the loop is somebody else's matter: lib/port runs it
// over ethdevs, replay and tests run any number of workers on one thread and look at the batch
// between run_stages() and finish().
//
// Life-cycle: created by control before the lcore starts, destroyed after it has ended.
// Synchronisation: everything is this worker's own but: the expectation table (lib/expect), the
// hand-off and activity rings (rte_ring, many producers, this consumer), counters (read by
// control), and the plan pointer (written by control, read once a turn).
//
// Its parts: worker.cc is the path of packets, helpers included; housekeeping.cc what is done once
// a turn without any; mail.cc what control asks; userspace.cc helpers in other processes.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "base/counter.h"
#include "base/drop_reason.h"
#include "conntrack/conn_table.h"
#include "conntrack/event.h"
#include "conntrack/source_table.h"
#include "expect/table.h"
#include "helper/engine.h"
#include "pipeline/batch.h"
#include "pipeline/mailbox.h"
#include "pipeline/plan.h"
#include "pipeline/reassembly.h"
#include "pipeline/userspace_desk.h"
#include "table/event_ring.h"

struct rte_mbuf;
struct rte_ring;

namespace postern {

// X(name, help)
#define POSTERN_WORKER_COUNTERS(X)                                                          \
    X(rx_packets, "frames taken from ports")                                                \
    X(rx_bytes, "bytes of those frames")                                                    \
    X(tx_packets, "frames accepted and handed to ports")                                    \
    X(tx_bytes, "bytes of those frames")                                                    \
    X(dropped, "frames not forwarded, for all reasons; see `drops`")                        \
    X(handed_off, "frames given to their home worker")                                      \
    X(taken_over, "frames got from another worker")                                         \
    X(reassembled, "datagrams put together from fragments")                                 \
    X(fragments_held, "fragments that wait for the rest of their datagram, now")            \
    X(helper_waits, "packets that wait for the answer of a helper's process, now")          \
    X(window_scales_limited, "SYNs with a window scale beyond 14, which counts as 14")      \
    X(rejected, "senders told by a TCP reset or an ICMP message")                           \
    X(connections_created, "connections begun")                                             \
    X(connections_expected, "of these, children of an expectation")                         \
    X(connections_ended, "connections ended, for all reasons")                              \
    X(connections_expired, "of these, by silence")                                          \
    X(early_dropped, "connections ended early to make room for new ones")                   \
    X(table_full, "packets dropped because the connection table was full")                  \
    X(claims_lost, "expectations that another worker claimed first")                        \
    X(helper_pool_empty, "connections that passed without their helper: all in use")        \
    X(helpers_not_assigned, "connections to a helper's port that a rule let in without it") \
    X(helpers_detached, "connections that lost their helper because it was removed")        \
    X(rule_expectations_failed,                                                             \
      "connections refused because what their rule expects was not filed")                  \
    X(expectations_failed, "expectations that could not be filed")                          \
    X(masters_kept, "times a child's activity kept its master connection alive")            \
    X(masters_not_told, "of a child's activity: the ring to its master was full")           \
    X(children_ended, "running connections ended because their helper said so")             \
    X(children_not_ended, "times a worker was not told to end one: its ring was full")      \
    X(turns, "bursts worked on")                                                            \
    X(sleeps, "times the worker slept for want of packets")

struct WorkerCounters {
#define X(name, help) Counter name;
    POSTERN_WORKER_COUNTERS(X)
#undef X
    std::array<Counter, kDropReasons> drops;
};

/// What a worker's helper wants ended, told to all: who has it is not known. An element of a ring.
struct alignas(4) EndChild {
    Tuple tuple;
    CtZone ct_zone = 0;
};
static_assert(sizeof(EndChild) % 4 == 0 && std::is_trivially_copyable_v<EndChild>);

/// Accepted packets on their way to one port.
struct TxBuffer {
    /// Beyond a burst: fragments of datagrams that go on as they came.
    static constexpr unsigned kFragments = 8 * Reassembly::kMaxFragments;
    unsigned n = 0;
    std::array<rte_mbuf*, kMaxBurst + kFragments> pkt{};
};

class Worker {
  public:
    struct Parts {
        WorkerId id = 0;
        const Plan* plan = nullptr;
        std::unique_ptr<ConnTable> conns;
        SourceLimits source_limits;                          ///< this worker's share
        std::array<std::uint32_t, kMaxZones> zone_limits{};  ///< this worker's share; 0 = none
        ExpectOwner* expect = nullptr;
        ExpectTable* expectations = nullptr;
        std::unique_ptr<HelperEngine> helpers;
        std::unique_ptr<Reassembly> reassembly;
        /// Null when no helper lives in another process.
        std::unique_ptr<UserspaceDesk> userspace;
        /// By home worker; this worker's own is where others put its packets. May be empty when
        /// there is one worker.
        std::array<rte_ring*, kMaxWorkers> handoff{};
        /// By the master's worker: ids of masters whose children were active. May be empty, too.
        std::array<rte_ring*, kMaxWorkers> activity{};
        /// By worker: EndChild messages.
        std::array<rte_ring*, kMaxWorkers> endings{};
        /// Connection events kept until control reads them; 0: none are ever told.
        std::uint32_t event_ring = 0;
        /// Bit h: control has removed helper h. May be null.
        const std::atomic<std::uint64_t>* removed_helpers = nullptr;
    };
    explicit Worker(Parts parts);

    // --- one turn, in this order ---
    /// Takes `n` packets. Each packet's mbuf->port is a PortIndex.
    void begin(rte_mbuf* const* pkts, unsigned n, Tick now, std::uint64_t cookie = 0) noexcept;
    void run_stages() noexcept;
    /// Moves accepted packets to tx(), frees dropped ones, counts.
    void finish() noexcept;

    /// Expires connections and expectations; bounded work. Once a turn, also when idle. False when
    /// some that are due are left for the next call.
    bool housekeeping(Tick now, std::uint64_t cookie = 0) noexcept;
    /// Ends the connections that helpers, its own and others', want ended. Part of housekeeping();
    /// on its own for replay, whose clock stands still between packets.
    void end_children(Tick now, std::uint64_t cookie) noexcept;
    /// Gives up the fragments it holds, and packets that wait for a helper's process. Before their
    /// pool goes away.
    void let_go() noexcept;
    /// Takes what helpers' processes have answered, and the time that others have not. When packets
    /// that waited can go on it begins a batch of them, runs the stages that are left, and returns
    /// true: finish() and tx() follow. Bounded work; once a turn.
    bool resume(Tick now, std::uint64_t cookie = 0) noexcept {
        return desk_ != nullptr && resume_waiting(now, cookie);
    }
    /// Up to kMaxBurst packets that other workers left here.
    unsigned take_handoff(rte_mbuf** out) noexcept;

    /// Accepted packets that a port did not take.
    void count_unsent(unsigned n) noexcept {
        counters_.drops[static_cast<unsigned>(DropReason::tx_full)].add(n);
        counters_.dropped.add(n);
    }
    /// Answers control's question, if there is one; bounded work. Once a turn.
    void answer_mail() noexcept;
    /// Control's ends of it.
    Mailbox& mailbox() noexcept { return *mailbox_; }
    ExpectMail& expect_mail() noexcept { return expect_mail_; }
    RestoreMail& restore_mail() noexcept { return *restore_mail_; }
    /// What happens to connections, told while somebody listens. Control reads it, and says whether
    /// anybody does; the worker takes notice in its next turn.
    EventRing<ConnEvent>& events() noexcept { return events_; }
    void listen(bool on) noexcept { listened_.store(on, std::memory_order_relaxed); }
    /// Of the helpers that control has removed, those that no connection here has any more. Acquire
    /// pairs with the worker's release: what was theirs has ended.
    std::uint64_t helpers_gone() const noexcept {
        return helpers_gone_.load(std::memory_order_acquire);
    }

    // --- for stages ---
    const Plan& plan() const noexcept { return *plan_; }
    Batch& batch() noexcept { return batch_; }
    ConnTable& conns() noexcept { return *conns_; }
    ExpectOwner& expect() noexcept { return *expect_; }
    ExpectTable& expectations() noexcept { return *expectations_; }
    HelperEngine& helpers() noexcept { return *helpers_; }
    Reassembly& reassembly() noexcept { return *reassembly_; }
    WorkerCounters& counters() noexcept { return counters_; }
    const WorkerCounters& counters() const noexcept { return counters_; }
    WorkerId id() const noexcept { return id_; }
    ExpectTurn expect_turn() const noexcept { return {batch_.now, batch_.cookie}; }
    /// Pending expectations of a helped connection; the slot is Conn::helper_slot.
    MasterExpectations& master_of(std::uint32_t helper_slot) noexcept {
        return masters_[helper_slot];
    }
    /// Gives packet i to its home worker; false when that one's ring is full.
    bool hand_off(unsigned i, WorkerId home) noexcept;
    /// Finds the connections of the burst and tracks its packets, oldest first, each before the
    /// next is looked up: what it ends is not found any more. Sets the masks hit and miss.
    void find_and_track() noexcept;
    /// Tracks packet i, whose connection, just looked up, info.conn is: accepts or drops it, or,
    /// when its connection is over, puts it among the misses.
    void track_hit(unsigned i) noexcept {
        if (telling_) [[unlikely]]
            return track_and_tell(i);
        track_one(i);
    }
    /// Looks which of the misses were expected: sets their match and ct state. Claims nothing.
    void find_expectations() noexcept;
    /// Claims what find_expectations() saw. False when it is gone.
    bool claim(unsigned i) noexcept;
    /// Verdicts about these misses.
    void ask_policy(Mask which) noexcept;
    /// Whether packet i may begin a connection as far as limits go; `none`, or why not. Asked once
    /// for each connection that policy lets in. Expected ones are not asked.
    DropReason admit(unsigned i) noexcept;
    /// A slot for the connection of packet i, ending a less valuable one if need be; 0: none.
    std::uint32_t make_connection(unsigned i, bool expected) noexcept;
    /// Packet i begins an expected GRE call: the expectation knows its sender's call id, which the
    /// answers will carry. A connection that was made of such answers before the call was expected
    /// ends. False: the table is full.
    bool pair_call(unsigned i, std::uint32_t slot) noexcept;
    /// Takes make_connection() back.
    void abandon(std::uint32_t slot) noexcept;
    /// Gives a connection its helper, if one can be had.
    void attach_helper(std::uint32_t slot, HelperId helper) noexcept;
    /// Files what a connection expects by its rule. False: not all could be, and its first packet
    /// should not pass, so that it is repeated.
    bool expect_by_rule(std::uint32_t slot, const RuleExpect& wish) noexcept;
    /// Shows the packets of helped connections to their helpers and files what these expect; may
    /// drop some.
    void run_helpers() noexcept;
    /// Ends a connection: its pending expectations, its helper's state, its slot.
    void end_connection(std::uint32_t slot, ConnEnd why) noexcept;
    /// Tells listeners, if there are any, what has just happened to a connection.
    void tell(ConnEventType type, std::uint32_t slot, ConnEnd end = ConnEnd::expired) noexcept {
        if (telling_) [[unlikely]]
            put_event(type, slot, end);
    }

    std::array<TxBuffer, kMaxPorts>& tx() noexcept { return tx_; }

  private:
    // Helpers in other processes: userspace.cc.
    bool resume_waiting(Tick now, std::uint64_t cookie) noexcept;
    /// Shows packet i to a helper in another process, or lets it wait. `front`: it has waited.
    void run_remote_helper(unsigned i, Conn& conn, HelperConn* hc, bool front) noexcept;
    void hear_answer(const Answer& answer) noexcept;
    void look_for_late_answers() noexcept;
    void go_on(std::uint32_t helper_slot) noexcept;
    void hold(unsigned i, const Conn& conn, bool front) noexcept;
    unsigned put_back(const UserspaceDesk::Held& held) noexcept;
    void drop_waiting(std::uint32_t helper_slot, HelperId helper) noexcept;
    void count(HelperId helper, UserspaceCounter what, std::uint64_t n = 1) noexcept {
        helpers_->counters(helper).own(static_cast<unsigned>(what)).add(n);
    }

    // Once a turn: housekeeping.cc.
    /// A child has been active lately: its master must not end by silence, wherever it lives.
    void tell_master(ConnId master, Tick now) noexcept;
    void keep_master(ConnId master, Tick now) noexcept;
    void hear_of_children(Tick now) noexcept;
    void tell_to_end(const Tuple& child, CtZone ct_zone) noexcept;
    /// Takes removed helpers away from their connections, some slots a turn.
    void drop_removed_helpers() noexcept;
    void detach_helper(std::uint32_t slot, ExpectEnd why) noexcept;

    // What control asks: mail.cc.
    void answer_expect_mail() noexcept;
    void answer_restore_mail() noexcept;
    RestoreMail::Outcome restore(RestoreMail& mail) noexcept;

    void put_event(ConnEventType type, std::uint32_t slot, ConnEnd end) noexcept;
    void track_one(unsigned i) noexcept;
    void track_and_tell(unsigned i) noexcept;
    /// Accepted packet i as the fragments it came in; false when there is no room for them.
    bool send_fragments(unsigned i, TxBuffer& out) noexcept;
    Bytes payload_of(unsigned i) noexcept;
    /// Whether packet i's payload lies in one piece: then it is linear_payload_of().
    bool is_linear(unsigned i) const noexcept;
    Bytes linear_payload_of(unsigned i) const noexcept;
    TcpSegment segment_of(unsigned i) const noexcept;
    void run_helper(unsigned i, Conn& conn, HelperConn* hc) noexcept;
    /// Gives a connection what its helper keeps, with nothing pending.
    void set_helper_slot(Conn& conn, const HelperConn* hc) noexcept;
    /// Shows packet i's payload to the engine.
    void read_payload(unsigned i, HelperConn* hc) noexcept;
    /// What a helper asked for besides expectations.
    void act(const EmitAction& action, const Conn& conn) noexcept;
    /// Raises its time to what its helper asked for by Emit::master_timeout().
    void keep_patience(Conn& conn) noexcept {
        if (conn.patient) [[unlikely]]
            raise_timeout(conn);
    }
    void raise_timeout(Conn& conn) noexcept;
    static void raise_timeout(Conn& conn, std::uint16_t least_s) noexcept;
    /// Ends what the helper's state of a connection hangs on.
    void release_helper(Conn& conn, ExpectEnd why) noexcept;
    InsertOutcome file(const PinHole& hole, const Conn& conn, std::uint32_t slot) noexcept;

    /// Whether the connection's rule expects others, with or without a helper.
    bool expects_by_rule(const Conn& conn) const noexcept {
        return conn.rule < plan_->effects.size() && plan_->effects[conn.rule].expects != 0;
    }
    /// Answered and confirmed: it does not count as half-open (any more).
    static bool is_settled(const Conn& conn) noexcept {
        return conn.has(conn.protocol() == proto::tcp ? conn_flag::assured : conn_flag::seen_reply);
    }
    /// Half-open for its source, until settle(): it is settled, or over.
    void count_half_open(Conn& conn) noexcept;
    void settle(Conn& conn) noexcept;

    const Plan* plan_;
    WorkerId id_;
    std::unique_ptr<ConnTable> conns_;
    ExpectOwner* expect_;
    ExpectTable* expectations_;
    std::unique_ptr<HelperEngine> helpers_;
    std::unique_ptr<Reassembly> reassembly_;
    std::unique_ptr<UserspaceDesk> desk_;  ///< null: no helper lives in another process
    unsigned after_helpers_ = 0;           ///< place of the stage that follows the helper stage
    Tick looked_;                          ///< when late answers were last looked for
    std::array<rte_ring*, kMaxWorkers> handoff_;
    std::array<rte_ring*, kMaxWorkers> activity_;
    std::array<rte_ring*, kMaxWorkers> endings_;
    std::unique_ptr<MasterExpectations[]> masters_;
    SourceTable sources_;
    std::array<std::uint32_t, kMaxZones> zone_limits_;
    bool zones_limited_;  ///< else nobody counts: an end would have to read the second line
    std::array<std::uint32_t, kMaxZones> zone_count_{};
    std::array<TxBuffer, kMaxPorts> tx_{};
    bool telling_ = false;  ///< somebody listens; looked up once a turn
    alignas(64) WorkerCounters counters_;
    Batch batch_;
    std::unique_ptr<Mailbox> mailbox_ = std::make_unique<Mailbox>();
    ExpectMail expect_mail_;
    std::unique_ptr<RestoreMail> restore_mail_ = std::make_unique<RestoreMail>();
    const std::atomic<std::uint64_t>* removed_helpers_;  // control: w, workers: r
    std::uint64_t removed_ = 0;                          ///< as this worker saw it last
    std::uint32_t sweep_ = 0;  ///< next helper slot to look at; 0 = nothing to do
    EventRing<ConnEvent> events_;
    std::atomic<bool> listened_{false};  // control: w, worker: r, relaxed: a switch, guards nothing
    std::atomic<std::uint64_t> helpers_gone_{0};  // worker: w, control: r
    Emit emit_;
    Emit parting_;  ///< of a connection that ends, perhaps while emit_ is being worked on
    /// Payload of a packet in several segments, put together for its helper.
    std::unique_ptr<std::uint8_t[]> linear_;
};

}  // namespace postern
