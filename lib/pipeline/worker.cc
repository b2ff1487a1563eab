// SPDX-License-Identifier: BSD-3-Clause
// The path of packets, from begin() to finish(), helpers included.
#include "pipeline/worker.h"

#include <algorithm>

#include <rte_mbuf.h>
#include <rte_ring.h>

namespace postern {
namespace {

constexpr std::uint32_t kMaxDatagram = 65536;

}  // namespace

Worker::Worker(Parts parts)
    : plan_(parts.plan),
      id_(parts.id),
      conns_(std::move(parts.conns)),
      expect_(parts.expect),
      expectations_(parts.expectations),
      helpers_(std::move(parts.helpers)),
      reassembly_(std::move(parts.reassembly)),
      desk_(std::move(parts.userspace)),
      handoff_(parts.handoff),
      activity_(parts.activity),
      endings_(parts.endings),
      masters_(new MasterExpectations[helpers_->conns_free() + 1]),
      sources_(parts.source_limits, parts.plan->secret),
      zone_limits_(parts.zone_limits),
      zones_limited_(std::ranges::any_of(zone_limits_, [](auto limit) { return limit != 0; })),
      removed_helpers_(parts.removed_helpers),
      events_(parts.event_ring),
      linear_(new std::uint8_t[kMaxDatagram]) {
    if (desk_ == nullptr) return;
    for (const StageDesc* stage : plan_->stages) {
        ++after_helpers_;
        if ((stage->provides & fact::announced) != 0) break;
    }
    helpers_->ask_by(
        [](void* desk, Direction direction, Bytes message) noexcept {
            static_cast<UserspaceDesk*>(desk)->message(direction, message);
        },
        desk_.get());
}

void Worker::begin(rte_mbuf* const* pkts, unsigned n, Tick now, std::uint64_t cookie) noexcept {
    Batch& b = batch_;
    b.n = n;
    b.now = now;
    b.cookie = cookie;
    b.masks = {};
    b[MaskId::live] = first_n(n);
    std::uint64_t bytes = 0, flags = 0;
    for (unsigned i = 0; i < n; ++i) {
        b.pkt[i] = pkts[i];
        b.data[i] = rte_pktmbuf_mtod(pkts[i], std::uint8_t*);
        __builtin_prefetch(b.data[i]);
        b.info[i].in_port = static_cast<PortIndex>(pkts[i]->port);
        bytes += rte_pktmbuf_pkt_len(pkts[i]);
        flags |= pkts[i]->ol_flags;
    }
    b.flags = flags;
    b.guessed = 0;
    b.scale_limited = 0;
    b.expected = 0;
    b.chains = reassembly_->is_chain(flags);
    counters_.rx_packets.add(n);
    counters_.rx_bytes.add(bytes);
    counters_.turns.add();
}

void Worker::run_stages() noexcept {
    for (const StageDesc* stage : plan_->stages)
        if (batch_[stage->on] != 0) stage->run(*this, batch_);
}

void Worker::finish() noexcept {
    Batch& b = batch_;
    for_each(b[MaskId::live], [&](unsigned i) {
        b.drop(i, (b[MaskId::fragment] & bit(i)) ? DropReason::fragment : DropReason::policy);
    });
    std::uint64_t tx_packets = 0, tx_bytes = 0;
    for_each(b[MaskId::accept], [&](unsigned i) {
        TxBuffer& out = tx_[b.info[i].out_port];
        if (!b.chains || !reassembly_->is_chain(b.pkt[i])) {
            out.pkt[out.n++] = b.pkt[i];
            ++tx_packets;
            tx_bytes += rte_pktmbuf_pkt_len(b.pkt[i]);
            return;
        }
        const unsigned before = out.n;
        if (!send_fragments(i, out)) return b.drop(i, DropReason::tx_full);
        tx_packets += out.n - before;
        for (unsigned k = before; k < out.n; ++k)
            tx_bytes += rte_pktmbuf_pkt_len(out.pkt[k]);
    });
    counters_.tx_packets.add(tx_packets);
    counters_.tx_bytes.add(tx_bytes);
    if (b[MaskId::drop] == 0) return;
    unsigned n = 0, frames = 0;
    rte_mbuf* dead[kMaxBurst];
    for_each(b[MaskId::drop], [&](unsigned i) {
        const unsigned of_this = b.chains ? reassembly_->frames_of(b.pkt[i]) : 1;
        counters_.drops[static_cast<unsigned>(b.info[i].why)].add(of_this);
        frames += of_this;
        dead[n++] = b.pkt[i];
    });
    counters_.dropped.add(frames);
    rte_pktmbuf_free_bulk(dead, n);
}

bool Worker::send_fragments(unsigned i, TxBuffer& out) noexcept {
    rte_mbuf* m = batch_.pkt[i];
    // What is beyond is for the packets of this burst that are one frame each.
    if (out.n + reassembly_->frames_of(m) > TxBuffer::kFragments) return false;
    out.n += reassembly_->take_apart(m, batch_.info[i], out.pkt.data() + out.n);
    return true;
}

unsigned Worker::take_handoff(rte_mbuf** out) noexcept {
    rte_ring* ring = handoff_[id_];
    if (ring == nullptr) return 0;
    const unsigned n =
        rte_ring_sc_dequeue_burst(ring, reinterpret_cast<void**>(out), kMaxBurst, nullptr);
    if (n != 0) counters_.taken_over.add(n);
    return n;
}

bool Worker::hand_off(unsigned i, WorkerId home) noexcept {
    if (rte_ring_mp_enqueue(handoff_[home], batch_.pkt[i]) != 0) return false;
    counters_.handed_off.add();
    return true;
}

void Worker::find_and_track() noexcept {
    Batch& b = batch_;
    ConnTable& conns = *conns_;
    const Mask ip = b[MaskId::ip];
    Mask to_guess = ip & ~b.guessed, settled = 0;
    b[MaskId::hit] = 0;
    for_each(ip, [&](unsigned i) {
        // The last of the burst, whose lines of the index are here by now.
        if (to_guess != 0) {
            conns.prefetch_conn(b.info[static_cast<unsigned>(std::countr_zero(to_guess))]);
            to_guess &= to_guess - 1;
        }
        PacketInfo& info = b.info[i];
        const ConnTable::Found found = conns.lookup(info, b.data[i]);
        if (!found) return;
        Conn& conn = found.for_next_segment();
        const std::uint32_t timeout_before = conn.timeout_ms;
        if (!track_settled(conn, info, b.data[i], b.now, plan_->track)) {
            if (found.checked(info, b.data[i]) == nullptr) [[unlikely]]
                return;
            b[MaskId::hit] |= bit(i);
            return track_hit(i);
        }
        conn.account(info.dir, rte_pktmbuf_pkt_len(b.pkt[i]));
        if (conn.has(conn_flag::helped)) {
            // What carries nothing says nothing to its helper. Else what that knows of the
            // connection is on its way while the others are tracked. No branch: who can tell.
            const bool says = info.pay_len != 0;
            helpers_->prefetch(says ? conn.helper_slot : 0);
            b.show_helper(i, conn, says);
            keep_patience(conn);
        }
        conns.arm_if_shorter(info.conn, timeout_before, conn.timeout_ms);
        info.ct = CtState::established;
        settled |= bit(i);
    });
    b[MaskId::live] &= ~settled;
    b[MaskId::accept] |= settled;
    b[MaskId::hit] |= settled;
    b[MaskId::miss] = ip & ~b[MaskId::hit];
}

void Worker::put_event(ConnEventType type, std::uint32_t slot, ConnEnd end) noexcept {
    ConnEvent* event = events_.reserve();
    if (event == nullptr) return;
    event->type = type;
    event->end = end;
    event->worker = id_;
    event->slot = slot;
    event->at = batch_.now;
    event->conn = conns_->at(slot);
    events_.publish();
}

/// track_one(), and a look whether that changed what listeners are told of.
void Worker::track_and_tell(unsigned i) noexcept {
    constexpr std::uint8_t kTold = conn_flag::seen_reply | conn_flag::assured;
    PacketInfo& info = batch_.info[i];
    const std::uint32_t slot = info.conn;
    const std::uint16_t generation = conns_->at(slot).generation;
    const std::uint8_t state = conns_->at(slot).state, flags = conns_->at(slot).flags;
    track_one(i);
    const Conn& conn = conns_->at(slot);
    if (!conn.alive() || conn.generation != generation) return;
    if (conn.state != state || ((conn.flags ^ flags) & kTold) != 0)
        tell(ConnEventType::update, slot);
}

void Worker::track_one(unsigned i) noexcept {
    Batch& b = batch_;
    PacketInfo& info = b.info[i];
    const std::uint32_t slot = info.conn;
    Conn& conn = conns_->at(slot);
    const std::uint32_t timeout_before = conn.timeout_ms;
    const bool steady_before = conn.steady();
    const TrackResult result = track(conn, info, b.data[i], info.dir, b.now, plan_->track);
    if (conn.steady() != steady_before) conns_->note_steady(info.hash, slot, !steady_before);
    switch (result) {
        case TrackResult::invalid:
            // By the last packet that was accepted, perhaps long ago: it may be over at once.
            if (conn.timeout_ms < timeout_before) conns_->arm(slot);
            b.drop(i, info.why);
            return;
        case TrackResult::reopen:
            end_connection(slot, ConnEnd::reopened);
            info.conn = 0;
            b[MaskId::hit] &= ~bit(i);
            b[MaskId::miss] |= bit(i);
            return;
        case TrackResult::end:
            conn.account(info.dir, rte_pktmbuf_pkt_len(b.pkt[i]));
            b.accept(i);
            end_connection(slot, ConnEnd::closed);
            return;
        case TrackResult::accept: break;
    }
    if (conn.has(conn_flag::half_open) && is_settled(conn)) settle(conn);
    if (conn.has(conn_flag::helped)) keep_patience(conn);
    if (info.kind != L4Kind::icmp_error) conn.account(info.dir, rte_pktmbuf_pkt_len(b.pkt[i]));
    conns_->arm_if_shorter(slot, timeout_before, conn.timeout_ms);
    b.accept(i);
    if (conn.has(conn_flag::helped) && info.kind != L4Kind::icmp_error) b.show_helper(i, conn);
}

void Worker::find_expectations() noexcept {
    Batch& b = batch_;
    if (expectations_->live() == 0) return;
    const Mask may_begin = b.sound_misses();
    // What the first loop asks memory for is there in the second.
    for_each(may_begin, [&](unsigned i) {
        const PacketInfo& info = b.info[i];
        b.probe[i] = expectations_->probe(info.key.zone, tuple_of(b.data[i], info),
                                          info.kind == L4Kind::gre_call);
    });
    for_each(may_begin, [&](unsigned i) {
        PacketInfo& info = b.info[i];
        if (!expectations_->peek(b.probe[i], tuple_of(b.data[i], info), b.now, b.match[i])) return;
        b.expected |= bit(i);
        info.ct = CtState::related;
    });
}

bool Worker::claim(unsigned i) noexcept {
    const ExpectMatch& match = batch_.match[i];
    if (!expect_->take(match, expect_turn())) return false;
    const PacketInfo& info = batch_.info[i];
    if (info.kind == L4Kind::gre_call && match.sport_mask.raw() != 0) {
        // The other direction of the pair is expected, too; it is this connection's now.
        Tuple call = tuple_of(batch_.data[i], info);
        call.sport = match.sport;
        const Tuple answer = call.reversed();
        ExpectInfo other;
        if (expectations_->find(expectations_->probe(match.zone, answer), answer, batch_.now,
                                other) &&
            other.master == match.master)
            expect_->remove(other.id, ExpectEnd::paired, expect_turn());
    }
    return true;
}

bool Worker::pair_call(unsigned i, std::uint32_t slot) noexcept {
    const Be16 sender = batch_.match[i].sport;
    if (const std::uint32_t holder = conns_->holder_of(slot, sender); holder != 0)
        end_connection(holder, ConnEnd::reopened);
    return conns_->pair(slot, sender);
}

void Worker::ask_policy(Mask which) noexcept {
    Batch& b = batch_;
    b.queries.clear();
    for_each(which, [&](unsigned i) {
        const PacketInfo& info = b.info[i];
        const PortPlan& port = plan_->ports[info.in_port];
        PolicyContext context{.from = port.zone, .to = port.beyond, .state = info.ct};
        if ((b.expected & bit(i)) != 0) [[unlikely]] {
            context.related_by = b.match[i].helper;
            context.mark = b.match[i].mark;
        }
        if (has_plain_ends(info)) {
            b.queries.add(i, info.family, info.protocol,
                          addresses_in(b.data[i] + info.l3_off, info.family),
                          b.data[i] + info.l4_off, context);
            return;
        }
        PolicyQuery query{tuple_of(b.data[i], info), context};
        if (info.protocol == proto::icmp || info.protocol == proto::icmpv6) {
            const std::uint8_t* icmp = b.data[i] + info.l4_off;
            query.tuple.dport = icmp_port(icmp[0], icmp[1]);
        }
        b.queries.add(i, query);
    });
    plan_->policy->classify(b.queries, b.verdict.data());
}

void Worker::set_helper_slot(Conn& conn, const HelperConn* hc) noexcept {
    conn.helper_slot = helpers_->index_of(hc) & Conn::kHelperSlotMask;
    conn.has_helper_slot = true;
    conn.patient = hc->min_timeout_s != 0;
    masters_[conn.helper_slot] = {};
}

void Worker::attach_helper(std::uint32_t slot, HelperId helper) noexcept {
    if ((removed_ >> helper & 1) != 0) return;
    Conn& conn = conns_->at(slot);
    HelperConn* hc = helpers_->attach(helper, conn.tuple(), slot);
    if (hc == nullptr) {
        counters_.helper_pool_empty.add();
        return;
    }
    conn.helper = helper;
    set_helper_slot(conn, hc);
    conn.flags |= conn_flag::helped;
    conns_->note_helper(slot, true);
}

bool Worker::expect_by_rule(std::uint32_t slot, const RuleExpect& wish) noexcept {
    Conn& conn = conns_->at(slot);
    const Tuple tuple = conn.tuple();
    if (!conn.has_helper_slot) {
        const HelperConn* hc = helpers_->reserve(tuple, slot);
        if (hc == nullptr) return counters_.rule_expectations_failed.add(), false;
        set_helper_slot(conn, hc);
    }
    ExpectRequest r;
    r.zone = conn.zone();
    r.protocol = wish.protocol;
    r.src = wish.to_server ? tuple.src : tuple.dst;
    r.dst = wish.to_server ? tuple.dst : tuple.src;
    r.master = conns_->id_of(slot);
    r.master_tuple = tuple;
    r.mark = conn.mark;
    r.label = conn.label;
    r.rule = conn.rule;
    r.class_max = wish.class_max;
    r.flags = wish.permanent ? expect_flag::permanent : std::uint8_t{0};
    r.timeout_ms = wish.timeout_ms;
    for (unsigned port = wish.first_port; port <= wish.last_port; ++port) {
        r.dport = Be16::from_host(static_cast<std::uint16_t>(port));
        if (!ok(expect_->insert(r, &masters_[conn.helper_slot], expect_turn()).outcome))
            return counters_.rule_expectations_failed.add(), false;
    }
    return true;
}

inline bool Worker::is_linear(unsigned i) const noexcept {
    const PacketInfo& info = batch_.info[i];
    return info.pay_off + info.pay_len <= rte_pktmbuf_data_len(batch_.pkt[i]);
}

inline Bytes Worker::linear_payload_of(unsigned i) const noexcept {
    const PacketInfo& info = batch_.info[i];
    return {batch_.data[i] + info.pay_off, info.pay_len};
}

inline TcpSegment Worker::segment_of(unsigned i) const noexcept {
    return read_segment(batch_.data[i], batch_.info[i]);
}

Bytes Worker::payload_of(unsigned i) noexcept {
    const PacketInfo& info = batch_.info[i];
    if (is_linear(i)) return linear_payload_of(i);
    const void* p = rte_pktmbuf_read(batch_.pkt[i], info.pay_off, info.pay_len, linear_.get());
    return p == nullptr ? Bytes{} : Bytes{static_cast<const std::uint8_t*>(p), info.pay_len};
}

InsertOutcome Worker::file(const PinHole& hole, const Conn& conn, std::uint32_t slot) noexcept {
    const HelperPlan::Class& cls = plan_->helpers[conn.helper - 1u].classes[hole.class_index];
    ExpectRequest r;
    r.zone = conn.zone();
    r.protocol = hole.protocol;
    if (!hole.any_src()) {
        r.src = hole.src.address;
        r.src_prefix = hole.src.length;
    }
    if (!hole.any_sport) {
        r.sport = hole.sport;
        r.sport_mask = Be16::from_raw(0xffff);
    }
    r.dst = hole.dst;
    r.master = conns_->id_of(slot);
    r.master_tuple = conn.tuple();
    r.helper = conn.helper;
    r.child_helper = hole.child_helper;
    r.mark = conn.mark;
    r.label = conn.label;
    r.rule = conn.rule;
    r.class_index = hole.class_index;
    r.class_max = cls.max_expected;
    r.tag = hole.tag;
    r.flags = hole.flags & (PinHole::kPermanent | PinHole::kInactive);
    r.skip_master = (hole.flags & PinHole::kSkipMaster) != 0;
    r.beside = (hole.flags & PinHole::kBeside) != 0;
    r.timeout_ms = hole.timeout_s != 0 ? hole.timeout_s * 1000 : cls.timeout_ms;
    InsertOutcome outcome = InsertOutcome::created;
    for (unsigned n = 0; n <= hole.more_ports; ++n) {
        r.dport = Be16::from_host(static_cast<std::uint16_t>(hole.dport.host() + n));
        const auto one = expect_->insert(r, &masters_[conn.helper_slot], expect_turn()).outcome;
        if (!ok(one)) outcome = one;
    }
    return outcome;
}

void Worker::read_payload(unsigned i, HelperConn* hc) noexcept {
    const PacketInfo& info = batch_.info[i];
    if (info.kind != L4Kind::tcp) return helpers_->on_datagram(hc, info.dir, payload_of(i), emit_);
    const TcpSegment s = segment_of(i);
    helpers_->on_segment(hc, info.dir, s.seq, s.flags, payload_of(i), emit_);
}

void Worker::run_helpers() noexcept {
    Batch& b = batch_;
    for_each(b[MaskId::helped], [&](unsigned i) {
        const PacketInfo& info = b.info[i];
        HelperConn* const hc = helpers_->at(b.helper_slot[i]);
        if (info.kind == L4Kind::tcp && is_linear(i)) {
            const TcpSegment s = segment_of(i);
            if (helpers_->skim(*hc, info.dir, s.seq, s.flags, linear_payload_of(i))) return;
        }
        run_helper(i, conns_->at(info.conn), hc);
    });
}

void Worker::run_helper(unsigned i, Conn& conn, HelperConn* hc) noexcept {
    Batch& b = batch_;
    const PacketInfo& info = b.info[i];
    if (desk_ != nullptr && desk_->serves(conn.helper))
        return run_remote_helper(i, conn, hc, false);
    const std::uint16_t patience_s = hc->min_timeout_s;
    read_payload(i, hc);
    if (hc->min_timeout_s < patience_s && info.kind == L4Kind::ports) {
        // TCP's packets set their time anew each; those of a UDP stream do not.
        conn.timeout_ms = timeout_of(conn, plan_->track);
        keep_patience(conn);
        conns_->arm(info.conn);
    }
    conn.patient = hc->min_timeout_s != 0;
    if (emit_.empty()) return keep_patience(conn);
    const auto actions = emit_.actions();
    unsigned acted = 0, filed = 0;
    const auto act_now = [&] {
        for (; acted < actions.size() && actions[acted].after <= filed; ++acted)
            act(actions[acted], conn);
    };
    for (const PinHole& hole : emit_.requests()) {
        act_now();
        ++filed;
        if (ok(file(hole, conn, info.conn))) continue;
        counters_.expectations_failed.add();
        if (hole.more_ports != 0) continue;  // most of a range is better than no session
        // Without its pin-hole the announcement is worth nothing: let the sender repeat it, when
        // there may be room. (The receiver never sees it, so nothing is half done.)
        if (helpers_->undo(hc)) {
            conn.patient = hc->min_timeout_s != 0;
            b.drop(i, DropReason::helper);
            return keep_patience(conn);
        }
    }
    act_now();
    keep_patience(conn);
}

void Worker::act(const EmitAction& action, const Conn& conn) noexcept {
    MasterExpectations& pending = masters_[conn.helper_slot];
    switch (action.kind) {
        case EmitAction::Kind::activate:
            return expect_->activate(pending, action.class_index, action.tag,
                                     action.timeout_s * 1000, expect_turn());
        case EmitAction::Kind::remove:
            static_assert(Emit::kAnyClass == kAnyExpectClass);
            return expect_->remove(pending, action.class_index, action.tag, ExpectEnd::retracted,
                                   expect_turn(), action.mask);
        case EmitAction::Kind::end_child: return tell_to_end(action.child, conn.zone());
    }
}

void Worker::raise_timeout(Conn& conn) noexcept {
    raise_timeout(conn, helpers_->at(conn.helper_slot)->min_timeout_s);
}

void Worker::raise_timeout(Conn& conn, std::uint16_t least_s) noexcept {
    const std::uint32_t least_ms = least_s * 1000u;
    if (conn.timeout_ms >= least_ms) return;
    if (conn.protocol() == proto::tcp && !conn.tcp_steady() &&
        conn.tcp_state() != TcpState::established)
        return;
    conn.timeout_ms = least_ms;
}

DropReason Worker::admit(unsigned i) noexcept {
    const PacketInfo& info = batch_.info[i];
    const ZoneId zone = plan_->ports[info.in_port].zone;
    if (zone_limits_[zone] != 0 && zone_count_[zone] >= zone_limits_[zone])
        return DropReason::zone_full;
    if (!sources_.enabled()) return DropReason::none;
    switch (sources_.admit(tuple_of(batch_.data[i], info).src, batch_.now)) {
        case SourceTable::Answer::too_fast: return DropReason::source_rate;
        case SourceTable::Answer::too_many_half_open: return DropReason::source_half_open;
        case SourceTable::Answer::ok: break;
    }
    return DropReason::none;
}

std::uint32_t Worker::make_connection(unsigned i, bool expected) noexcept {
    const PacketInfo& info = batch_.info[i];
    std::uint32_t slot = conns_->create_conn(info, batch_.data[i], batch_.now, expected);
    if (slot == 0) {
        const std::uint32_t victim = conns_->find_victim(batch_.now);
        if (victim == 0) return 0;
        counters_.early_dropped.add();
        end_connection(victim, ConnEnd::early_drop);
        slot = conns_->create_conn(info, batch_.data[i], batch_.now, expected);
        if (slot == 0) return 0;
    }
    Conn& conn = conns_->at(slot);
    conn.from = plan_->ports[info.in_port].zone & Conn::kFromMask;
    if (zones_limited_) ++zone_count_[conn.from];
    if (sources_.enabled() && !expected) count_half_open(conn);
    return slot;
}

void Worker::count_half_open(Conn& conn) noexcept {
    sources_.opened(conn.tuple().src);
    conn.flags |= conn_flag::half_open;
}

void Worker::settle(Conn& conn) noexcept {
    sources_.closed(conn.tuple().src);
    conn.flags &= static_cast<std::uint8_t>(~conn_flag::half_open);
}

void Worker::release_helper(Conn& conn, ExpectEnd why) noexcept {
    expect_->remove_all(masters_[conn.helper_slot], why, expect_turn());
    if (desk_ != nullptr && desk_->serves(conn.helper)) drop_waiting(conn.helper_slot, conn.helper);
    helpers_->detach(helpers_->at(conn.helper_slot), parting_);
    for (const EmitAction& action : parting_.actions())
        if (action.kind == EmitAction::Kind::end_child) tell_to_end(action.child, conn.zone());
}

void Worker::end_connection(std::uint32_t slot, ConnEnd why) noexcept {
    Conn& conn = conns_->at(slot);
    tell(ConnEventType::destroy, slot, why);
    if (conn.has_helper_slot) {
        release_helper(conn, ExpectEnd::master_end);
        // Packets of the same burst, before this one, that it was to see.
        Batch& b = batch_;
        for_each(b[MaskId::helped], [&](unsigned i) {
            if (b.info[i].conn == slot) b[MaskId::helped] &= ~bit(i);
        });
    }
    abandon(slot);
    counters_.connections_ended.add();
}

void Worker::abandon(std::uint32_t slot) noexcept {
    Conn& conn = conns_->at(slot);
    if (conn.has(conn_flag::half_open)) settle(conn);
    if (zones_limited_) --zone_count_[conn.from];
    conns_->remove(slot);
}

}  // namespace postern
