// SPDX-License-Identifier: BSD-3-Clause
// Tracking: the connections of one worker.
//
// What: finds and tracks the packets of known connections, creates connections (by NewConnection),
// ends them, and emits their events. A connection that ends releases what it holds of the other
// parts: its helper, and its share of the limits.
// Used by: the stages of its worker; once a turn the worker itself. Synchronisation: everything is
// private to the worker except the ring of events, which control reads, and its switch. Cost:
// find_and_track() is the path of every packet; the functions that it calls for the usual ones are
// inlined.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "conntrack/conn_table.h"
#include "conntrack/event.h"
#include "metrics/metric.h"
#include "pipeline/batch.h"
#include "pipeline/control_requests.h"
#include "pipeline/helping.h"
#include "pipeline/peers.h"
#include "pipeline/refused_masters.h"
#include "pipeline/rule_counts.h"
#include "pipeline/worker_limits.h"
#include "table/event_ring.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_TRACKING_METRICS(X)                                                             \
    X(window_scales_limited, counter, packets,                                                  \
      "SYNs with a window scale above 14, which is limited to 14")                              \
    X(connections_created, counter, connections, "connections begun")                           \
    X(connections_expected, counter, connections, "of these, children of an expectation")       \
    X(connections_sloppy, counter, connections,                                                 \
      "of these, accepted by a rule with `track: sloppy`")                                      \
    X(connections_ended, counter, connections, "connections ended, for all reasons")            \
    X(connections_expired, counter, connections, "of these, expired by silence")                \
    X(early_dropped, counter, connections, "connections ended early to make room for new ones") \
    X(table_full, counter, packets, "packets dropped because the connection table was full")    \
    X(masters_kept, counter, events, "times a child's activity extended its master's timeout")  \
    X(children_ended, counter, connections,                                                     \
      "running connections ended because their helper said so, or a new plan refused their "    \
      "master")                                                                                 \
    X(connections_refused, counter, connections,                                                \
      "running connections ended because the rules of a new plan refuse them")                  \
    X(children_adopted, counter, connections, "running connections adopted by another master")

struct TrackingCounters {
    POSTERN_METRICS(POSTERN_TRACKING_METRICS)
};

class Tracking {
  public:
    /// `events`: capacity for connection events until control reads them; 0: no events. All
    /// references outlive it.
    Tracking(ConnTable& conns, Batch& batch, Limits& limits, Helping& helping, Peers& peers,
             RuleCounts& rules, TrackingCounters& counters, std::uint32_t events)
        : conns_(conns),
          batch_(batch),
          limits_(limits),
          helping_(helping),
          peers_(peers),
          rules_(rules),
          counters_(counters),
          events_(events) {}

    // --- the path of packets ---
    /// Finds the connections of the burst and tracks its packets, oldest first, each before the
    /// next is looked up: a connection that it ends is not found any more. Sets the masks hit and
    /// miss.
    void find_and_track() noexcept;
    /// Tracks packet i, whose connection was just looked up (info.conn). Accepts or drops it, or
    /// moves it to the misses if its connection has ended.
    void track_hit(unsigned i) noexcept {
        if (telling_ == ConnEvents::all) [[unlikely]]
            return track_and_emit(i);
        track_one(i);
    }
    /// Packet i matches info.conn by its tuple, but not by its zones. Returns whether it may
    /// replace that connection.
    bool may_replace(unsigned i) const noexcept {
        const PacketInfo& info = batch_.info[i];
        return info.kind != L4Kind::icmp_error &&
               !is_shielded(conns_.at(info.conn), info.dir, batch_.now, batch_.plan->track);
    }
    /// Packet i begins an expected GRE call. Returns whether its answers would be those of a
    /// running call between other zones, which stays.
    bool is_call_taken(unsigned i) const noexcept;

    // --- ends ---
    /// Ends a connection: its pending expectations, its helper's state, its slot.
    void end(std::uint32_t slot, ConnEnd why) noexcept;

    /// The rules refuse a running connection: ends it, and has all workers end its children, where
    /// there may be any.
    void refuse(std::uint32_t slot, ConnEnd why) noexcept;
    /// Whether refuse() of so many connections will reach all workers.
    bool may_refuse(unsigned n) const noexcept { return peers_.has_room_for_orders(n); }
    /// Those that were told of, for the sweep.
    RefusedMasters& refused_masters() noexcept { return refused_masters_; }

    // --- once a turn ---
    void begin_turn() noexcept {
        telling_ = events_.enabled() ? listened_.load(std::memory_order_relaxed) : ConnEvents::none;
    }
    /// Ends connections whose timeout has passed, and notifies masters of active children. Returns
    /// the number visited; at most `budget`.
    std::uint32_t expire(std::uint32_t budget) noexcept;
    /// Handles messages of other workers: extends masters whose children were active, ends and
    /// hands over children at helpers' requests.
    void handle_peers() noexcept;

    // --- control, by the worker ---
    /// Connections emit the events that somebody listens for. Control reads the events, and says
    /// which; the worker notices it in its next turn.
    EventRing<ConnEvent>& events() noexcept { return events_; }
    void listen(ConnEvents which) noexcept { listened_.store(which, std::memory_order_relaxed); }
    void emit_event(ConnEventType type, std::uint32_t slot,
                    ConnEnd why = ConnEnd::expired) noexcept {
        if (is_among(type, telling_)) [[unlikely]]
            put_event(type, slot, why);
    }
    /// Creates a saved connection again; changes the request.
    RestoreReply restore(RestoreRequest& request) noexcept;

    ConnTable& table() noexcept { return conns_; }
    RuleCounts& rules() noexcept { return rules_; }
    TrackingCounters& counters() noexcept { return counters_; }

    /// Answered and confirmed: a connection does not count as half-open (any more).
    static bool is_confirmed(const Conn& conn) noexcept {
        // For a connection seen in one direction, the first packet that is not part of a handshake
        // suffices.
        if (conn.sloppy) [[unlikely]]
            return conn.protocol() != proto::tcp || conn.tcp_state() >= TcpState::established;
        return conn.has(conn.protocol() == proto::tcp ? conn_flag::assured : conn_flag::seen_reply);
    }
    /// Takes a connection out of those half-open once it is confirmed.
    void check_half_open(Conn& conn) noexcept {
        if (conn.has(conn_flag::half_open) && is_confirmed(conn))
            limits_.no_longer_half_open(conn, batch_.plan->edges);
    }

    /// A running connection has another rule now.
    void give_rule(Conn& conn, RuleId rule) noexcept {
        if (conn.rule == rule) return;
        if (Limits::counts_for_rule(conn)) limits_.leave_rule(conn, batch_.plan->edges);
        conn.rule = rule;
        join_rule(conn);
    }
    /// Counts it for the limit of its rule, if this plan has one.
    void join_rule(Conn& conn) noexcept { limits_.join_rule(conn, *batch_.plan); }

  private:
    friend class NewConnection;

    /// Counts packet i for its connection.
    [[gnu::always_inline]] void account(Conn& conn, unsigned i) noexcept;
    void put_event(ConnEventType type, std::uint32_t slot, ConnEnd why) noexcept;
    /// Tracks packet i of the connection that was found. True: on the fast path, and the caller
    /// accepts it. False: this function has decided about the packet.
    [[gnu::always_inline]] bool track_found(Batch& b, unsigned i, ConnTable::Found found) noexcept;
    /// The same for packet i whose connection is not the guessed one or has no tag. False also if
    /// there is none, or one between other zones.
    [[gnu::noinline]] bool track_another(unsigned i) noexcept;
    /// Packet i matches a connection by its tuple, but not by its zones: drops it, or leaves it
    /// among the misses, contested.
    void refuse_zones(unsigned i) noexcept;
    void track_one(unsigned i) noexcept;
    void track_and_emit(unsigned i) noexcept;
    /// Returns whether rules that name its type accept packet i, an error about a connection; drops
    /// it if not.
    bool rules_let_error(unsigned i) noexcept;
    [[gnu::noinline]] void tell_end(std::uint32_t slot, ConnEnd why) noexcept;
    /// Removes a connection and releases what it holds.
    void discard(std::uint32_t slot) noexcept;
    [[gnu::always_inline]] void release(Conn& conn, std::uint32_t slot) noexcept;
    /// A child was active: its master, on any worker, must not expire.
    void notify_master(ConnId master) noexcept;
    void keep_master(ConnId master) noexcept;
    bool keep_lasting(std::uint32_t slot) noexcept;
    void apply(const ChildOrder& order) noexcept;

    ConnTable& conns_;
    Batch& batch_;
    Limits& limits_;
    Helping& helping_;
    Peers& peers_;
    RuleCounts& rules_;
    TrackingCounters& counters_;
    RefusedMasters refused_masters_;
    ConnEvents telling_ = ConnEvents::none;  ///< `listened_` of this turn
    EventRing<ConnEvent> events_;
    // control: w, worker: r, relaxed: a switch, guards nothing
    std::atomic<ConnEvents> listened_{ConnEvents::none};
};

}  // namespace postern
