// SPDX-License-Identifier: BSD-3-Clause
// The path of packets: see helping.h.
#include "pipeline/helping.h"

#include <rte_mbuf.h>

#include "pipeline/checksum.h"

namespace postern {
namespace {

constexpr std::uint32_t kMaxDatagram = 65536;

}  // namespace

Helping::Helping(Parts parts)
    : engine_(std::move(parts.engine)),
      batch_(parts.batch),
      conns_(parts.conns),
      expecting_(parts.expecting),
      peers_(parts.peers),
      reassembly_(parts.reassembly),
      drops_(parts.drops),
      counters_(parts.counters),
      refused_(new Refused[engine_->capacity() + 1]),
      secret_(parts.secret),
      linear_(new std::uint8_t[kMaxDatagram]) {
    if (engine_->set().picks_up()) prepare_known_flows();
    look_for_known_flows();
    if (parts.userspace == nullptr) return;
    questions_ = std::make_unique<HelperQuestions>(*parts.userspace, parts.worker);
    held_ = std::make_unique<HeldPackets>(*parts.userspace, engine_->capacity());
    engine_->ask_by(
        [](void* questions, Direction direction, Bytes message) noexcept {
            static_cast<HelperQuestions*>(questions)->message(direction, message);
        },
        questions_.get());
}

void Helping::adopt(const HelperSet& set, const Scratch& scratch) noexcept {
    engine_->adopt(set, scratch);
    look_for_known_flows();
}

void Helping::renew(std::uint32_t slot, Direction opener) noexcept {
    Conn& conn = conns_.at(slot);
    const std::uint32_t isn = conn.tcp_far.last.seq;
    if (!engine_->is_untouched(*engine_->at(conn.helper_slot))) {
        // Earlier payload, in this burst too, belongs to another session.
        const HelperId helper = conn.helper;
        forget_shown(slot);
        detach(slot, ExpectEnd::master_end);
        conn.helper = helper;  // waits for the third segment, as at first
        return;
    }
    engine_->on_syn(engine_->at(conn.helper_slot), opener, isn);
}

void Helping::cut_to_own_window(unsigned i, Conn& conn) noexcept {
    PacketInfo& info = batch_.info[i];
    const TcpSegment s = read_segment(batch_.data[i], info);
    const auto receiver = [&conn](unsigned sender) noexcept {
        const unsigned r = 1 - sender;
        return HelperEngine::Receiver{conn.tcp_near.side[r].max_ack, conn.tcp_far.max_win[r]};
    };
    const std::uint32_t room = engine_->own_window(*engine_->at(conn.helper_slot), info.dir, s.seq,
                                                   s.ack, {receiver(0), receiver(1)});
    if (info.pay_len <= room) return;
    info.pay_len = static_cast<std::uint16_t>(room);
    info.tcp_flags &= static_cast<std::uint8_t>(~tcp_flag::fin);
}

void Helping::end_session(const Conn& conn) noexcept {
    if (const HelperInstance* helper = engine_->set().find(conn.helper); helper != nullptr)
        expecting_.end_session(conn, helper->desc->classes);
}

bool Helping::expect_by_rule(std::uint32_t slot, const RuleExpect& wish) noexcept {
    const Conn& conn = conns_.at(slot);
    if (!conn.has(conn_flag::has_helper_slot) &&
        take_slot(slot, kNoHelper, Standing::unproven) == nullptr) {
        expecting_.count_rule_failed();
        return false;
    }
    return expecting_.file_for_rule(wish, conn, conns_.id_of(slot));
}

inline bool Helping::is_linear(unsigned i) const noexcept {
    const PacketInfo& info = batch_.info[i];
    return info.pay_off + info.pay_len <= rte_pktmbuf_data_len(batch_.pkt[i]);
}

inline Bytes Helping::linear_payload_of(unsigned i) const noexcept {
    const PacketInfo& info = batch_.info[i];
    return {batch_.data[i] + info.pay_off, info.pay_len};
}

inline std::uint32_t Helping::seq_of(unsigned i) const noexcept {
    return read_segment(batch_.data[i], batch_.info[i]).seq;
}

Bytes Helping::payload_of(unsigned i) noexcept {
    const PacketInfo& info = batch_.info[i];
    if (is_linear(i)) return linear_payload_of(i);
    const void* p = rte_pktmbuf_read(batch_.pkt[i], info.pay_off, info.pay_len, linear_.get());
    return p == nullptr ? Bytes{} : Bytes{static_cast<const std::uint8_t*>(p), info.pay_len};
}

void Helping::read_payload(unsigned i, HelperConn* hc, Skim skim) noexcept {
    const PacketInfo& info = batch_.info[i];
    if (info.kind != L4Kind::tcp) return engine_->on_datagram(hc, info.dir, payload_of(i), emit_);
    // Only a receiver of TCP Fast Open (RFC 7413) accepts payload of a SYN; others get it again.
    const Bytes payload = (info.tcp_flags & tcp_flag::syn) != 0 ? Bytes{} : payload_of(i);
    engine_->on_segment(hc, info.dir, seq_of(i), info.tcp_flags, payload, emit_, skim);
}

bool Helping::sums_hold(unsigned i, const HelperConn& hc) noexcept {
    const Batch& b = batch_;
    const PacketInfo& info = b.info[i];
    const rte_mbuf* const m = b.pkt[i];
    // With `checksums: full`, wrong ones have been dropped.
    if (batch_.plan->believe_checksums ||
        batch_.plan->ports[info.in_port.number()].checksums == Checksums::full)
        return true;
    const bool whole = b.chains && reassembly_.is_chain(m);
    if (!whole && sums_vouched(m->ol_flags, info.family)) return true;
    const Sums sums = judge_sums(m, info, whole);
    if (sums == Sums::right) return true;
    engine_
        ->counters(hc.helper)[sums == Sums::partial ? HelperCounter::partial_checksum
                                                    : HelperCounter::bad_checksum]
        .add();
    return false;
}

void Helping::run() noexcept {
    Batch& b = batch_;
    for_each(b[MaskId::helped], [&](unsigned i) {
        const PacketInfo& info = b.info[i];
        HelperConn* const hc = engine_->at(b.helper_slot[i]);
        const bool vouched = !b.chains && sums_vouched(b.pkt[i]->ol_flags, info.family);
        if (!vouched && !sums_hold(i, *hc)) return;
        Skim skim = Skim::not_asked;
        if (info.kind == L4Kind::tcp && is_linear(i)) {
            const Bytes payload = linear_payload_of(i);
            skim = engine_->skim(*hc, info.dir, seq_of(i), info.tcp_flags, payload);
            if (skim == Skim::read) return;
        }
        run_one(i, conns_.at(info.conn), hc, skim);
    });
}

void Helping::run_one(unsigned i, Conn& conn, HelperConn* hc, Skim skim) noexcept {
    Batch& b = batch_;
    const PacketInfo& info = b.info[i];
    if (hc->stranger) [[unlikely]] {
        engine_->touch(*hc, b.now);
        // No other connection may lose its helper here: its packets may be among these.
        if (engine_->has_room(Standing::proven) &&
            proves(i, conn, opening_of(conn).end[index(Direction::reply)]))
            promote(conn);
    }
    if (is_remote(conn.helper)) return run_remote(i, conn, hc, false);
    const std::uint16_t before_s = hc->min_timeout_s;
    read_payload(i, hc, skim);
    if (hc->min_timeout_s < before_s && info.kind == L4Kind::ports) {
        // TCP's packets set their timeout anew each; those of a UDP stream do not.
        conn.timeout_ms = timeout_of(conn, batch_.plan->track);
        keep_min_timeout(conn);
        conns_.arm(info.conn);
    }
    conn.has_min_timeout = hc->min_timeout_s != 0 && !hc->stranger;
    if (emit_.empty()) return keep_min_timeout(conn);
    const auto actions = emit_.actions();
    unsigned acted = 0, filed = 0;
    const auto act_now = [&] {
        for (; acted < actions.size() && actions[acted].after <= filed; ++acted)
            act(actions[acted], conn);
    };
    for (const PinHole& hole : emit_.requests()) {
        act_now();
        ++filed;
        if (ok(file(hole, conn))) continue;
        if (hole.more_ports != 0) continue;  // most of a range is better than no session
        if (may_refuse(info, b.data[i], hc) && engine_->undo(hc)) {
            note_refused(info, b.data[i], hc);
            conn.has_min_timeout = hc->min_timeout_s != 0 && !hc->stranger;
            b.drop(i, DropReason::helper);
            return keep_min_timeout(conn);
        }
        count_unexpected(hc);
    }
    act_now();
    keep_min_timeout(conn);
}

void Helping::act(const EmitAction& action, const Conn& conn) noexcept {
    switch (action.kind) {
        case EmitAction::Kind::end_child: return order_child(conn, action.child, false);
        case EmitAction::Kind::adopt_child: return order_child(conn, action.child, true);
        default: return expecting_.act(action, conn);
    }
}

void Helping::apply_min_timeout(Conn& conn, std::uint16_t least_s) noexcept {
    const std::uint32_t least_ms = least_s * 1000u;
    if (conn.timeout_ms >= least_ms) return;
    if (conn.protocol() == proto::tcp && !conn.tcp_steady() &&
        conn.tcp_state() != TcpState::established)
        return;
    conn.timeout_ms = least_ms;
}

void Helping::release(std::uint32_t slot) noexcept {
    release_state(conns_.at(slot), ExpectEnd::master_end);
    forget_shown(slot);
}

void Helping::release_state(Conn& conn, ExpectEnd why) noexcept {
    expecting_.end_all(conn.helper_slot, why);
    if (is_remote(conn.helper)) drop_waiting(conn.helper_slot, conn.helper);
    engine_->detach(engine_->at(conn.helper_slot), parting_);
    for (const EmitAction& action : parting_.actions())
        if (action.kind == EmitAction::Kind::end_child) order_child(conn, action.child, false);
}

void Helping::forget_shown(std::uint32_t slot) noexcept {
    Batch& b = batch_;
    for_each(b[MaskId::helped], [&](unsigned i) {
        if (b.info[i].conn == slot) b[MaskId::helped] &= ~bit(i);
    });
}

void Helping::order_child(const Conn& master, const Tuple& child, bool adopt) noexcept {
    const Edges& edges = batch_.plan->edges;
    peers_.broadcast({child,
                      master.ct_zone(),
                      adopt,
                      {edges.side_of(master.edge(Direction::original)),
                       edges.side_of(master.edge(Direction::reply))},
                      conns_.id_of(conns_.slot_of(master))});
}

void Helping::take_away(std::uint32_t slot) noexcept {
    Conn& conn = conns_.at(slot);
    if (!conn.has(conn_flag::has_helper_slot)) {
        conn.helper = kNoHelper;
        return;
    }
    detach(slot, ExpectEnd::helper_removed);
    counters_.helpers_detached.add();
}

void Helping::detach(std::uint32_t slot, ExpectEnd why) noexcept {
    Conn& conn = conns_.at(slot);
    release_state(conn, why);
    conn.helper_slot = 0;
    conn.helper = kNoHelper;
    conn.flags &= static_cast<std::uint8_t>(~(conn_flag::helped | conn_flag::has_helper_slot));
    conns_.note_helper(slot, false);
}

}  // namespace postern
