// SPDX-License-Identifier: BSD-3-Clause
// Helping: helpers of a worker's connections, their input and their requests.
//
// What: assigns helpers to connections, passes packets to them, files their expectations, and
// detaches them again. It owns the helper engine and, by helper slot, the pending expectations.
// helping.cc is the path of packets; pools.cc assigns helper slots and decides when a connection is
// proven; userspace.cc serves helpers in other processes.
// Used by: the stages and Tracking of the same worker; once a turn the worker itself.
// Synchronisation: everything is private to the worker except the rings to helpers' processes.
// Cost: connections without a helper touch nothing here.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "conntrack/conn_table.h"
#include "conntrack/track.h"
#include "helper/engine.h"
#include "metrics/metric.h"
#include "pipeline/batch.h"
#include "pipeline/drop_counters.h"
#include "pipeline/expecting.h"
#include "pipeline/held_packets.h"
#include "pipeline/helper_questions.h"
#include "pipeline/known_flows.h"
#include "pipeline/peers.h"
#include "pipeline/reassembly.h"
#include "userspace/counters.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_HELPING_METRICS(X)                                                 \
    X(helper_waits, gauge, packets, "frames that wait for a helper's process now") \
    X(helper_pool_empty, counter, connections,                                     \
      "connections without their helper: all helper slots in use")                 \
    X(helper_slots_displaced, counter, connections,                                \
      "connections that lost their helper slot to another connection")             \
    X(unproven_expired, counter, connections,                                      \
      "connections that lost their helper: their peer did not answer")             \
    X(helpers_not_assigned, counter, connections,                                  \
      "connections to a helper's port accepted by a rule without the helper")      \
    X(helpers_detached, counter, connections,                                      \
      "connections that lost their helper because it was removed")                 \
    X(announced_unexpected, counter, events,                                       \
      "announcements that passed without an expectation: it could not be filed")

struct HelpingCounters {
    POSTERN_METRICS(POSTERN_HELPING_METRICS)
};
/// Many methods: one for each step of a connection with a helper that Tracking takes.
class Helping {
  public:
    /// References to objects that outlive it, except the engine, which it owns.
    struct Parts {
        std::unique_ptr<HelperEngine> engine;
        /// Null if no helper is in another process.
        UserspaceLink* userspace = nullptr;
        WorkerId worker;  ///< the worker whose rings it uses
        const HashSecret& secret;
        Batch& batch;
        ConnTable& conns;
        Expecting& expecting;
        Peers& peers;
        const Reassembly& reassembly;
        DropCounters& drops;
        HelpingCounters& counters;
    };
    explicit Helping(Parts parts);

    // --- the path of packets ---
    /// Assigns its helper to the new connection of packet i: at once, if the packet may have
    /// payload for it. Else it waits for the peer's answer, see await().
    void begin(unsigned i, std::uint32_t slot, HelperId helper) noexcept;
    /// Files the expectations of a connection's rule. False: not all could be filed, and its first
    /// packet must not pass, so that it is repeated.
    bool expect_by_rule(std::uint32_t slot, const RuleExpect& wish) noexcept;
    /// A connection before a packet: the numbers at which its streams begin, while no payload has
    /// been sent.
    struct Opening {
        std::array<std::uint32_t, 2> end{};  ///< by Direction
        bool answered = false;               ///< end[1] is known
    };
    static Opening opening_of(const Conn& conn) noexcept {
        if (conn.protocol() != proto::tcp) return {};
        return {{conn.tcp_near.side[0].end, conn.tcp_near.side[1].end},
                conn.has(conn_flag::seen_reply) && conn.tcp_state() != TcpState::syn_sent};
    }
    /// Whether a connection has a helper, waits for one, or has pending expectations of its rule.
    static bool has_duty(const Conn& conn) noexcept {
        return conn.helper != kNoHelper || conn.has(conn_flag::has_helper_slot);
    }
    /// Packet i was accepted: it may be the first that its connection's helper reads, and it may
    /// prove the connection.
    void await(unsigned i, const Opening& before) noexcept;
    /// Packet i was accepted on a restored TCP connection that learns its numbers, with `result`.
    /// Removes payload from it that its helper must not read.
    void learn(unsigned i, Conn& conn, TrackResult result) noexcept;
    /// The two ends have reopened a connection with a helper; `opener` did so by TcpLast::seq.
    void renew(std::uint32_t slot, Direction opener) noexcept;
    /// Windows are not enforced on packet i's connection, which has a helper: cuts its payload to
    /// the part that the acknowledgements in the helper's streams allow.
    void cut_to_own_window(unsigned i, Conn& conn) noexcept;
    /// The TCP connection's session has ended: ends everything that does not outlive it.
    void end_session(const Conn& conn) noexcept;
    /// Raises its timeout to its helper's Emit::min_timeout().
    void keep_min_timeout(Conn& conn) noexcept {
        if (conn.has_min_timeout) [[unlikely]]
            apply_min_timeout(conn, engine_->at(conn.helper_slot)->min_timeout_s);
    }
    /// Prefetches a helper's state of a connection.
    [[gnu::always_inline]] void prefetch(std::uint32_t helper_slot) noexcept {
        engine_->prefetch(helper_slot);
    }
    /// Passes the packets in `helped` to their helpers and files the expectations; may drop some.
    void run() noexcept;

    // --- ends ---
    /// Remembers a connection of a helper with `pick_up`, if it was seen from its first packet on.
    /// After it is forgotten, its packets must not be picked up in mid-stream.
    bool notes_known() const noexcept { return notes_known_; }
    void note_known(const Conn& conn) noexcept {
        if (notes_known_) [[unlikely]]
            note_if_known(conn);
    }
    /// Whether a connection with a slot has grants that outlive its timeout.
    bool has_lasting(const Conn& conn) noexcept { return expecting_.has_lasting(conn.helper_slot); }
    /// A connection with a helper slot ends: ends everything that depends on the slot.
    void release(std::uint32_t slot) noexcept;
    /// The plan does not serve the helper of a connection: detaches it.
    void take_away(std::uint32_t slot) noexcept;
    /// Removes packets of this burst from the input of a connection's helper.
    void forget_shown(std::uint32_t slot) noexcept;
    /// Frees the packets held for helpers' processes.
    void release_held() noexcept;

    // --- once a turn ---
    /// Handles replies of helper processes and expires overdue questions. True: held packets
    /// continue; they are the batch now. Bounded work.
    bool resume() noexcept { return questions_ != nullptr && resume_waiting(); }
    void look_at_unproven() noexcept;
    /// The worker has taken another plan, with these helpers. See HelperEngine::adopt().
    void adopt(const HelperSet& set, const Scratch& scratch) noexcept;

    // --- control, by the worker ---
    /// Raises a connection's timeout to at least `least_s` seconds, if its state allows that.
    static void apply_min_timeout(Conn& conn, std::uint16_t least_s) noexcept;
    /// Assigns its helper to a restored connection. False: no slot is left.
    bool restore(std::uint32_t slot, const HelperImage& image) noexcept;
    /// The same for a restored TCP connection whose helper waits for the first payload: its streams
    /// begin at the saved numbers.
    void begin_restored(std::uint32_t slot) noexcept;
    HelperEngine& engine() noexcept { return *engine_; }

    // --- control ---
    /// Before a plan is published of which a helper picks up: sets aside what its worker notes
    /// known connections in, if that has not been done yet. It stays when that helper goes.
    void prepare_known_flows() {
        if (known_flows_ == nullptr) known_flows_ = std::make_unique<KnownFlows>();
    }
    bool has_known_flows() const noexcept { return known_flows_ != nullptr; }

  private:
    // The path of packets: helping.cc.
    Bytes payload_of(unsigned i) noexcept;
    /// Whether packet i's payload is contiguous: then it is linear_payload_of().
    bool is_linear(unsigned i) const noexcept;
    Bytes linear_payload_of(unsigned i) const noexcept;
    /// Sequence number of packet i, a TCP segment.
    std::uint32_t seq_of(unsigned i) const noexcept;
    /// Whether the receiver of packet i, which a helper is to read, will find its checksums right.
    /// Counts wrong ones.
    bool sums_hold(unsigned i, const HelperConn& hc) noexcept;
    /// `skim`: the engine's result for packet i.
    void run_one(unsigned i, Conn& conn, HelperConn* hc, Skim skim) noexcept;
    /// Passes packet i's payload to the engine.
    void read_payload(unsigned i, HelperConn* hc, Skim skim = Skim::not_asked) noexcept;
    /// Carries out a helper's requests besides expectations.
    void act(const EmitAction& action, const Conn& conn) noexcept;
    void order_child(const Conn& master, const Tuple& child, bool adopt) noexcept;
    InsertOutcome file(const PinHole& hole, const Conn& conn) noexcept {
        return expecting_.file(hole, conn, conns_.id_of(conns_.slot_of(conn)));
    }
    /// An announcement of a packet could not be filed. Returns whether to drop the packet, so that
    /// its sender repeats it: over TCP, once.
    bool may_refuse(const PacketInfo& info, const std::uint8_t* data,
                    const HelperConn* hc) const noexcept;
    void note_refused(const PacketInfo& info, const std::uint8_t* data,
                      const HelperConn* hc) noexcept;
    /// It passes nevertheless.
    void count_unexpected(const HelperConn* hc) noexcept;

    // Helper slots and their standing: pools.cc.
    using Positions = std::array<std::uint32_t, 2>;
    /// By Direction: the next byte that a helper has not read, after the packets of this burst.
    Positions positions_of(const HelperConn& hc) noexcept;
    ZoneId zone_of(const Conn& conn) const noexcept {
        return batch_.plan->edges.zone_of(conn.edge(Direction::original));
    }
    void note_if_known(const Conn& conn) noexcept;
    /// The helpers of the engine are others.
    void look_for_known_flows() noexcept;
    /// Whether the helper may read the connection, which was picked up in mid-stream; counts it if
    /// not.
    bool may_pick_up(const Conn& conn, HelperId helper) noexcept;
    /// The helper reads its connection in mid-stream, from packet i on.
    void pick_up(unsigned i, HelperConn* hc) noexcept;
    /// Whether packet i proves the peer of its connection.
    bool proves(unsigned i, const Conn& conn, std::uint32_t reply_end) const noexcept;
    /// Takes a slot for the connection, with its helper; displaces another connection, if
    /// necessary.
    HelperConn* take_slot(std::uint32_t slot, HelperId helper, Standing standing) noexcept;
    /// Sets up the helper's state of a connection, with nothing pending.
    void set_slot(Conn& conn, const HelperConn* hc) noexcept;
    void promote(Conn& conn) noexcept;
    /// Makes room for an applicant by displacing another connection.
    void make_room(const Applicant& applicant) noexcept;
    /// The connection loses its helper. UDP gets it again with its next packet; a TCP stream with
    /// unread bytes cannot be read any more.
    void lose(std::uint32_t slot) noexcept;
    void detach(std::uint32_t slot, ExpectEnd why) noexcept;
    /// Ends everything that depends on the helper's state of a connection.
    void release_state(Conn& conn, ExpectEnd why) noexcept;

    // Helpers in other processes: userspace.cc.
    bool resume_waiting() noexcept;
    /// Passes packet i to a helper in another process, or holds it. `front`: it was held before.
    void run_remote(unsigned i, Conn& conn, HelperConn* hc, bool front) noexcept;
    /// Whether the helper's parser is another process.
    bool is_remote(HelperId helper) const noexcept {
        return questions_ != nullptr && questions_->serves(helper);
    }
    void handle_reply(const Answer& answer) noexcept;
    void expire_overdue() noexcept;
    /// Continues the packets of a connection that waited.
    void resume_one(std::uint32_t helper_slot) noexcept;
    void hold(unsigned i, const Conn& conn, bool front) noexcept;
    unsigned put_back(const HeldPackets::Held& held) noexcept;
    void drop_waiting(std::uint32_t helper_slot, HelperId helper) noexcept;
    void count(HelperId helper, UserspaceCounter what, std::uint64_t n = 1) noexcept {
        engine_->counters(helper).own(static_cast<unsigned>(what)).add(n);
    }

    std::unique_ptr<HelperEngine> engine_;
    // Null: no helper is in another process.
    std::unique_ptr<HelperQuestions> questions_;
    std::unique_ptr<HeldPackets> held_;
    Batch& batch_;
    ConnTable& conns_;
    Expecting& expecting_;
    Peers& peers_;
    const Reassembly& reassembly_;
    DropCounters& drops_;
    HelpingCounters& counters_;
    /// By helper slot: the end of the last TCP segment that was dropped because an expectation
    /// could not be filed. A segment that ends no later is not dropped again.
    struct Refused {
        std::array<std::uint32_t, 2> end{};  ///< by Direction
        std::array<bool, 2> any{};
    };
    std::unique_ptr<Refused[]> refused_;
    const HashSecret& secret_;
    /// Null until a plan needs it. Control sets it before it publishes that plan, and never again;
    /// the worker looks here when it takes such a plan.
    std::unique_ptr<KnownFlows> known_flows_;
    KnownFlows* known_ = nullptr;  ///< the worker's own pointer to it
    bool notes_known_ = false;     ///< some helper of the plan picks up
    Tick looked_;                  ///< time of the last check for late answers
    Emit emit_;
    Emit parting_;  ///< requests of a connection that ends, possibly while emit_ is in use
    /// Payload of a packet in several segments, linearised for its helper.
    std::unique_ptr<std::uint8_t[]> linear_;
};

}  // namespace postern
