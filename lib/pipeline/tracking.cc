// SPDX-License-Identifier: BSD-3-Clause
// The path of packets, from the look-up to the end of a connection. find_and_track() and the
// functions it calls are in one translation unit: they are inlined into each other. Restoring is
// restore.cc.
#include "pipeline/tracking.h"

#include <bit>

#include <rte_mbuf.h>

#include "pipeline/ask_policy.h"
#include "pipeline/zones.h"

namespace postern {
namespace {

constexpr unsigned kActivityBudget = 32;  ///< masters extended in a turn
constexpr unsigned kOrdersBudget = 16;    ///< children ended or adopted a turn

/// Whether the packet of a helped connection, after track(), may matter to a helper.
bool concerns_helper(const PacketInfo& info) noexcept {
    constexpr std::uint8_t kEnds = tcp_flag::syn | tcp_flag::fin | tcp_flag::rst;
    return info.pay_len != 0 || (info.tcp_flags & kEnds) != 0;
}

/// Makes the compiler keep a loop's variable in a register here. In memory, each iteration would
/// wait for the store of the one before: 7 cycles a packet.
[[gnu::always_inline]] inline void keep_in_register(Mask& value) noexcept {
    asm("" : "+r"(value));
}

}  // namespace

inline void Tracking::account(Conn& conn, unsigned i) noexcept {
    const PacketInfo& info = batch_.info[i];
    if (conn.account(info.dir, rte_pktmbuf_pkt_len(batch_.pkt[i]))) [[unlikely]]
        rules_.end_round(info.conn, info.dir);
}

inline bool Tracking::track_found(Batch& b, unsigned i, ConnTable::Found found) noexcept {
    PacketInfo& info = b.info[i];
    Conn& conn = found.for_next_segment();
    const std::uint32_t timeout_before = conn.timeout_ms;
    if (!track_fast(conn, info, b.data[i], b.now, b.plan->track)) {
        if (found.checked(info, b.data[i]) == nullptr) [[unlikely]]
            return false;
        b[MaskId::hit] |= bit(i);
        track_hit(i);
        return false;
    }
    account(conn, i);
    if (conn.has(conn_flag::helped)) {
        // A packet without payload does not matter to its helper. Otherwise the helper's state of
        // the connection is prefetched while other packets are tracked. No branch: both cases are
        // equally likely.
        const bool has_payload = info.pay_len != 0;
        helping_.prefetch(has_payload ? conn.helper_slot : 0);
        b.show_helper(i, conn, has_payload);
        helping_.keep_min_timeout(conn);
    }
    conns_.arm_if_shorter(info.conn, timeout_before, conn.timeout_ms);
    info.ct = CtState::established;
    return true;
}

void Tracking::find_and_track() noexcept {
    Batch& b = batch_;
    ConnTable& conns = conns_;
    const Mask ip = b[MaskId::ip] &= b[MaskId::live];  // a stage before may have decided
    Mask to_guess = ip & ~b.guessed, slow = 0;
    b[MaskId::hit] = 0;
    for_each(ip, [&](unsigned i) {
        // The last of the burst: its lines of the index have arrived.
        keep_in_register(to_guess);
        if (to_guess != 0) {
            conns.prefetch_conn(b.info[static_cast<unsigned>(std::countr_zero(to_guess))]);
            to_guess &= to_guess - 1;
        }
        PacketInfo& info = b.info[i];
        const ConnTable::Found found = conns.lookup(info, b.data[i]);
        const bool fast =
            found ? track_found(b, i, found) : conns.may_be_another(info) && track_another(i);
        if (!fast) [[unlikely]]
            slow |= bit(i);
    });
    const Mask fast = ip & ~slow;
    b[MaskId::live] &= ~fast;
    b[MaskId::accept] |= fast;
    b[MaskId::hit] |= fast;
    b[MaskId::miss] = ip & ~b[MaskId::hit];
}

bool Tracking::track_another(unsigned i) noexcept {
    PacketInfo& info = batch_.info[i];
    Conn* const conn = conns_.lookup_one(info, batch_.data[i]);
    if (conn == nullptr) return false;
    if (between_its_zones(*conn, info, batch_.plan->edges))
        return track_found(batch_, i, ConnTable::Found(conn));
    refuse_zones(i);
    return false;
}

void Tracking::refuse_zones(unsigned i) noexcept {
    Batch& b = batch_;
    if (may_replace(i)) {
        b.contested |= bit(i);
        return;
    }
    b[MaskId::hit] |= bit(i);
    b.drop(i, DropReason::wrong_zone);
}

void Tracking::put_event(ConnEventType type, std::uint32_t slot, ConnEnd why) noexcept {
    ConnEvent* event = events_.reserve();
    if (event == nullptr) return;
    event->type = type;
    event->end = why;
    event->worker = conns_.worker();
    event->slot = slot;
    event->at = batch_.now;
    event->conn = conns_.at(slot);
    events_.publish();
}

/// track_one(), with a check for changes that emit an event.
void Tracking::track_and_emit(unsigned i) noexcept {
    constexpr std::uint8_t kReported = conn_flag::seen_reply | conn_flag::assured;
    PacketInfo& info = batch_.info[i];
    const std::uint32_t slot = info.conn;
    const std::uint16_t generation = conns_.at(slot).generation;
    const std::uint8_t state = conns_.at(slot).state, flags = conns_.at(slot).flags;
    track_one(i);
    const Conn& conn = conns_.at(slot);
    if (!conn.alive() || conn.generation != generation) return;
    if (conn.state != state || ((conn.flags ^ flags) & kReported) != 0)
        emit_event(ConnEventType::update, slot);
}

void Tracking::track_one(unsigned i) noexcept {
    Batch& b = batch_;
    PacketInfo& info = b.info[i];
    const std::uint32_t slot = info.conn;
    Conn& conn = conns_.at(slot);
    // The first packet of this direction, or one outside the connection: the zones do not show yet
    // that the source is there.
    if ((info.kind == L4Kind::icmp_error ||
         (info.dir == Direction::reply && !conn.has(conn_flag::seen_reply))) &&
        is_spoofed(b, i)) [[unlikely]]
        return b.drop(i, DropReason::spoofed);
    const std::uint32_t timeout_before = conn.timeout_ms;
    const std::uint8_t state_before = conn.state;
    const bool steady_before = conn.steady();
    const bool duty = Helping::has_duty(conn);
    const Helping::Opening before = duty ? Helping::opening_of(conn) : Helping::Opening{};
    const TrackResult result = track(conn, info, b.data[i], info.dir, b.now, batch_.plan->track);
    if (conn.steady() != steady_before) conns_.note_steady(info.hash, slot, !steady_before);
    switch (result) {
        case TrackResult::invalid:
            // By the last accepted packet, possibly long ago: it may expire at once.
            if (conn.timeout_ms < timeout_before) conns_.arm(slot);
            b.drop(i, info.why);
            return;
        case TrackResult::reopen:
            end(slot, ConnEnd::reopened);
            info.conn = 0;
            b[MaskId::hit] &= ~bit(i);
            b[MaskId::miss] |= bit(i);
            return;
        case TrackResult::end:
            account(conn, i);
            b.accept(i);
            end(slot, ConnEnd::closed);
            return;
        case TrackResult::renewed:
            if (conn.has(conn_flag::helped)) helping_.renew(slot, !info.dir);
            break;
        case TrackResult::learning:
        case TrackResult::relearning:
        case TrackResult::learned: helping_.learn(i, conn, result); break;
        case TrackResult::unbounded:
        case TrackResult::accept: break;
    }
    if (info.kind == L4Kind::icmp_error && !rules_let_error(i)) return;
    check_half_open(conn);
    if (duty && info.kind != L4Kind::icmp_error) [[unlikely]]
        helping_.await(i, before);
    if (result == TrackResult::unbounded && conn.has(conn_flag::helped))
        helping_.cut_to_own_window(i, conn);
    if (conn.has(conn_flag::helped)) {
        helping_.keep_min_timeout(conn);
        if (conn.state != state_before && conn.protocol() == proto::tcp && conn.closing())
            helping_.end_session(conn);
    }
    if (info.kind != L4Kind::icmp_error) account(conn, i);
    conns_.arm_if_shorter(slot, timeout_before, conn.timeout_ms);
    b.accept(i);
    if (conn.has(conn_flag::helped) && info.kind != L4Kind::icmp_error)
        b.show_helper(i, conn, concerns_helper(info));
}

bool Tracking::rules_let_error(unsigned i) noexcept {
    if (!batch_.plan->policy->judges_errors()) return true;
    Batch& b = batch_;
    ask_policy(b, bit(i));
    const PolicyVerdict& verdict = b.verdict[i];
    b.judge(i, verdict.rule);
    if (verdict.action == PolicyAction::accept) {
        rules_.judged(verdict.rule, 1, rte_pktmbuf_pkt_len(b.pkt[i]), b.now);
        return true;
    }
    // A rejected error is not answered (RFC 1122 section 3.2.2).
    b.drop(i, verdict.action == PolicyAction::reject ? DropReason::reject : DropReason::policy);
    return false;
}

bool Tracking::is_call_taken(unsigned i) const noexcept {
    const PacketInfo& info = batch_.info[i];
    const ExpectMatch& match = batch_.match[i];
    if (info.kind != L4Kind::gre_call || match.sport_mask.raw() == 0) return false;
    const std::uint32_t holder =
        conns_.holder_of(*tuple_of(batch_.data[i], info), info.key.ct_zone, match.sport);
    if (holder == 0) return false;
    const Conn& conn = conns_.at(holder);
    const Edges& edges = batch_.plan->edges;
    if (same_ends(conn, edges.side_of(info.zones.from), edges.side_of(info.zones.to), edges))
        return false;
    return is_shielded(conn, Direction::original, batch_.now, batch_.plan->track) ||
           is_shielded(conn, Direction::reply, batch_.now, batch_.plan->track);
}

void Tracking::end(std::uint32_t slot, ConnEnd why) noexcept {
    if (telling_ != ConnEvents::none || helping_.notes_known()) [[unlikely]]
        tell_end(slot, why);
    Conn& conn = conns_.at(slot);
    rules_.end(conn, slot);
    counters_.connections_ended.add();
    release(conn, slot);
}

void Tracking::tell_end(std::uint32_t slot, ConnEnd why) noexcept {
    emit_event(ConnEventType::destroy, slot, why);
    if (why != ConnEnd::control) helping_.note_known(conns_.at(slot));
}

void Tracking::refuse(std::uint32_t slot, ConnEnd why) noexcept {
    const Conn& conn = conns_.at(slot);
    const ConnId id = conns_.id_of(slot);
    const bool is_master = conn.has(conn_flag::has_helper_slot) || conn.helper != kNoHelper;
    // What it still expects ends with it, so nobody claims it after the others were told.
    end(slot, why);
    if (!is_master) return;
    ChildOrder order{};
    order.all = true;
    order.by = id;
    peers_.broadcast(order);
}

void Tracking::discard(std::uint32_t slot) noexcept {
    release(conns_.at(slot), slot);
}

inline void Tracking::release(Conn& conn, std::uint32_t slot) noexcept {
    if (conn.has(conn_flag::has_helper_slot)) helping_.release(slot);
    limits_.ended(conn, batch_.plan->edges);
    conns_.remove(slot);
}

std::uint32_t Tracking::expire(std::uint32_t budget) noexcept {
    const Tick now = batch_.now;
    return conns_.expire(
        now, budget,
        [this](std::uint32_t slot) {
            if (keep_lasting(slot)) return;
            counters_.connections_expired.add();
            end(slot, ConnEnd::expired);
        },
        [this, now](std::uint32_t slot) {
            const Conn& child = conns_.at(slot);
            const auto silent_ms = static_cast<std::uint32_t>(now - child.last_seen());
            if (child.master && silent_ms <= conns_.visit_ms()) notify_master(child.master);
        });
}

/// A master may have grants beyond its min_timeout, by an answer in another connection, on another
/// worker.
bool Tracking::keep_lasting(std::uint32_t slot) noexcept {
    Conn& conn = conns_.at(slot);
    if (!conn.has(conn_flag::has_helper_slot) || conn.protocol() != proto::udp) return false;
    if (!helping_.has_lasting(conn)) return false;
    conn.last_seen_ms = batch_.now.ms;
    conns_.arm(slot);
    return true;
}

void Tracking::notify_master(ConnId master) noexcept {
    if (master.worker == conns_.worker()) return keep_master(master);
    peers_.notify_active(master);
}

void Tracking::keep_master(ConnId master) noexcept {
    Conn* conn = conns_.find(master);
    if (conn == nullptr) return;
    // One that is being closed keeps its short timeout.
    if (conn->protocol() == proto::tcp && conn->tcp_state() != TcpState::established) return;
    conn->last_seen_ms = batch_.now.ms;
    counters_.masters_kept.add();
}

void Tracking::handle_peers() noexcept {
    if (peers_.is_quiet()) return;
    ConnId masters[kActivityBudget];
    const unsigned active = peers_.take_active(masters, kActivityBudget);
    for (unsigned i = 0; i < active; ++i)
        keep_master(masters[i]);
    ChildOrder orders[kOrdersBudget];
    // Full of refused masters, it leaves the rest in the ring until a pass over the table has ended
    // the children of these.
    const unsigned told =
        peers_.take_orders(orders, std::min(kOrdersBudget, refused_masters_.room()));
    for (unsigned i = 0; i < told; ++i)
        apply(orders[i]);
}

/// Orders of several masters about one child may arrive in another order than they were given: an
/// old master's end before a new one's adoption. Then the child begins anew, by the new master's
/// expectation.
void Tracking::apply(const ChildOrder& order) noexcept {
    if (order.all) return refused_masters_.add(order.by);
    // In GRE only calls are distinguished by more than their addresses.
    const std::uint32_t slot =
        conns_.find(order.tuple, order.ct_zone,
                    order.tuple.protocol == proto::gre ? kGreCall : std::uint8_t{0});
    if (slot == 0) return;
    Conn& child = conns_.at(slot);
    // A call is found by the id of one side; with another id of the other side it is another call.
    const Tuple have = child.tuple();
    if (have != order.tuple && have.reversed() != order.tuple) return;
    if (!same_ends(child, order.sides[0], order.sides[1], batch_.plan->edges)) return;
    if (!order.adopt) {
        if (child.master != order.by) return;
        counters_.children_ended.add();
        end(slot, ConnEnd::parent);
    } else if (child.master && child.master != order.by) {
        child.master = order.by;
        counters_.children_adopted.add();
    }
}

}  // namespace postern
