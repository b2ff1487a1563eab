// SPDX-License-Identifier: BSD-3-Clause
// Helper slots and the standing of their connections: see "Pools" in lib/helper/NOTES.md.
//
// A connection is proven once its peer has shown that it receives: by TCP's third segment, by an
// answer over UDP, or by a child that claimed an expectation. Until then its helper's slot, stream
// buffers and expectations come from pools that proven connections never use, so that forged
// packets displace only each other.
#include <algorithm>

#include "pipeline/helping.h"

namespace postern {
namespace {

constexpr unsigned kStaleBudget = 32;  ///< unproven slots that end in a turn

/// Nothing but the handshake of TCP so far.
bool is_opening(TcpState state) noexcept {
    return state == TcpState::syn_sent || state == TcpState::syn_recv ||
           state == TcpState::syn_sent2;
}

/// The next packet too: the fast path checks for no helper and proves nothing.
void stay_off_fast_path(Conn& conn) noexcept {
    conn.flags &= static_cast<std::uint8_t>(~conn_flag::assured);
}

/// Picked up without its SYN: the tracker never enforces the windows of both sides.
bool is_midstream(const Conn& conn) noexcept {
    return (conn.tcp_flags[0] & conn.tcp_flags[1] & tcp_side::liberal) != 0;
}

/// Whether a segment of side `d` begins exactly at the next byte of its stream, or was read
/// before, and acknowledges nothing that was not read.
bool continues(const TcpSegment& s, unsigned d, const std::array<std::uint32_t, 2>& next) noexcept {
    constexpr std::uint32_t kBehind = 65535;
    const std::uint32_t behind = next[d] - s.seq;
    const bool read_before = behind <= kBehind && s.payload_len <= behind;
    return (behind == 0 || read_before) && next[1 - d] - s.ack <= kBehind;
}

}  // namespace

void Helping::begin(unsigned i, std::uint32_t slot, HelperId helper) noexcept {
    if (!batch_.plan->serves(helper)) return;
    Conn& conn = conns_.at(slot);
    const PacketInfo& info = batch_.info[i];
    conn.helper = helper;
    if (info.kind == L4Kind::tcp) {
        const bool midstream = is_midstream(conn);
        if (midstream && !may_pick_up(conn, helper)) {
            conn.helper = kNoHelper;
            return;
        }
        if (info.pay_len == 0) return;
        if (midstream) {
            HelperConn* hc = take_slot(slot, helper, Standing::unproven);
            if (hc != nullptr) pick_up(i, hc);
            return;
        }
    }
    take_slot(slot, helper, Standing::unproven);
}

void Helping::look_for_known_flows() noexcept {
    notes_known_ = engine_->set().picks_up();
    // Without such a helper control may just be about to set it.
    if (notes_known_) known_ = known_flows_.get();
}

void Helping::note_if_known(const Conn& conn) noexcept {
    if (conn.helper == kNoHelper || conn.protocol() != proto::tcp) return;
    if (conn.has(conn_flag::seen_reply) && !is_midstream(conn) && engine_->picks_up(conn.helper))
        known_->note(hash_of(conn.key, secret_));
}

bool Helping::may_pick_up(const Conn& conn, HelperId helper) noexcept {
    if (engine_->picks_up(helper)) {
        const std::uint32_t hash = hash_of(conn.key, secret_);
        if (!known_->knows(hash)) return true;
        known_->note(hash);
    }
    // Nothing of it can be proven.
    engine_->counters(helper)[HelperCounter::blind_midstream].add();
    return false;
}

bool Helping::proves(unsigned i, const Conn& conn, std::uint32_t reply_end) const noexcept {
    const PacketInfo& info = batch_.info[i];
    if (info.kind != L4Kind::tcp) return info.dir == Direction::reply;
    // The tracker accepts acknowledgements within a window of 64 KiB, which can be guessed.
    // While the connection learns, its numbers may be those of a forged segment.
    return info.dir == Direction::original && conn.has(conn_flag::assured) && !conn.learning &&
           (info.tcp_flags & tcp_flag::ack) != 0 &&
           read_segment(batch_.data[i], info).ack == reply_end;
}

void Helping::await(unsigned i, const Opening& before) noexcept {
    const PacketInfo& info = batch_.info[i];
    Conn& conn = conns_.at(info.conn);
    const bool proven = proves(i, conn, before.end[index(Direction::reply)]);
    if (conn.has(conn_flag::has_helper_slot)) {
        HelperConn& hc = *engine_->at(conn.helper_slot);
        if (hc.stranger && proven) promote(conn);
        if (hc.stranger && hc.picked_up) stay_off_fast_path(conn);
        if (conn.has(conn_flag::helped) || conn.helper == kNoHelper) return;
    }
    const bool tcp = info.kind == L4Kind::tcp;
    if (tcp && info.pay_len == 0 && is_opening(conn.tcp_state())) return;
    if (tcp && (info.tcp_flags & tcp_flag::rst) != 0) return;
    if (conn.helper == kNoHelper) return;
    note_known(conn);
    const Standing standing =
        proven || (!tcp && conn.has(conn_flag::seen_reply)) ? Standing::proven : Standing::unproven;
    HelperConn* hc = take_slot(info.conn, conn.helper, standing);
    if (hc == nullptr || !tcp) return;
    if (is_midstream(conn)) {
        pick_up(i, hc);
        if (hc->stranger) stay_off_fast_path(conn);
        return;
    }
    engine_->on_syn(hc, Direction::original, before.end[0] - 1);
    if (before.answered) engine_->on_syn(hc, Direction::reply, before.end[1] - 1);
}

void Helping::pick_up(unsigned i, HelperConn* hc) noexcept {
    // Earlier bytes are not read: the other stream begins where this segment's acknowledgement
    // ends.
    const PacketInfo& info = batch_.info[i];
    const TcpSegment s = read_segment(batch_.data[i], info);
    if (info.dir == Direction::original)
        engine_->pick_up(hc, s.seq, s.ack);
    else
        engine_->pick_up(hc, s.ack, s.seq);
}

void Helping::set_slot(Conn& conn, const HelperConn* hc) noexcept {
    const std::uint32_t slot = engine_->index_of(hc);
    conn.helper_slot = slot & Conn::kHelperSlotMask;
    conn.flags |= conn_flag::has_helper_slot;
    conn.has_min_timeout = hc->min_timeout_s != 0 && !hc->stranger;
    expecting_.begin(slot, hc->stranger);
    refused_[slot] = {};
}

HelperConn* Helping::take_slot(std::uint32_t slot, HelperId helper, Standing standing) noexcept {
    Conn& conn = conns_.at(slot);
    if (!batch_.plan->serves(helper)) {
        conn.helper = kNoHelper;
        return nullptr;
    }
    HelperConn* hc;
    if (conn.has(conn_flag::has_helper_slot)) {
        hc = engine_->at(conn.helper_slot);
        engine_->assign(*hc, helper);
    } else {
        const Tuple tuple = conn.tuple();
        const Applicant applicant{helper, tuple, slot, standing, zone_of(conn), batch_.now};
        if (!engine_->has_room(standing)) make_room(applicant);
        hc = engine_->attach(applicant);
        if (hc == nullptr) {
            counters_.helper_pool_empty.add();
            conn.helper = kNoHelper;
            return nullptr;
        }
        set_slot(conn, hc);
    }
    if (helper == kNoHelper) return hc;
    conn.helper = helper;
    conn.flags |= conn_flag::helped;
    conns_.note_helper(slot, true);
    return hc;
}

void Helping::promote(Conn& conn) noexcept {
    HelperConn& hc = *engine_->at(conn.helper_slot);
    if (!engine_->has_room(Standing::proven)) {
        const Applicant applicant{hc.helper,        hc.original,   hc.owner,
                                  Standing::proven, zone_of(conn), batch_.now};
        make_room(applicant);
    }
    engine_->promote(hc, batch_.now);
    expecting_.promote(conn.helper_slot);
    conn.has_min_timeout = hc.min_timeout_s != 0;
    keep_min_timeout(conn);
}

void Helping::make_room(const Applicant& applicant) noexcept {
    const std::uint32_t taken = engine_->victim(applicant, [this](std::uint32_t candidate) {
        return conns_.at(engine_->at(candidate)->owner).last_seen();
    });
    if (taken == 0) return;
    counters_.helper_slots_displaced.add();
    lose(engine_->at(taken)->owner);
}

void Helping::lose(std::uint32_t slot) noexcept {
    Conn& conn = conns_.at(slot);
    const HelperId helper = conn.helper;
    const bool reads_stream = conn.protocol() == proto::tcp && conn.has(conn_flag::helped);
    const std::uint32_t helper_slot = conn.helper_slot;
    // Packets of the same burst for this helper.
    Batch& b = batch_;
    for_each(b[MaskId::helped], [&](unsigned i) {
        if (b.helper_slot[i] == helper_slot) b[MaskId::helped] &= ~bit(i);
    });
    detach(slot, ExpectEnd::displaced);
    conn.has_min_timeout = false;
    const std::uint32_t before_ms = conn.timeout_ms;
    conn.timeout_ms = std::min(before_ms, timeout_of(conn, batch_.plan->track));
    conns_.arm_if_shorter(slot, before_ms, conn.timeout_ms);
    if (helper == kNoHelper || reads_stream) return;
    conn.helper = helper;
    stay_off_fast_path(conn);
}

void Helping::look_at_unproven() noexcept {
    if (known_ != nullptr) known_->age(batch_.now);
    expecting_.for_each_claimed(
        [this](std::uint32_t helper_slot) { promote(conns_.at(engine_->at(helper_slot)->owner)); });
    for (unsigned n = 0; n < kStaleBudget; ++n) {
        const std::uint32_t stale = engine_->stale_unproven(batch_.now);
        if (stale == 0) return;
        const HelperConn& hc = *engine_->at(stale);
        if (expecting_.of(stale).claimed) {
            promote(conns_.at(hc.owner));
            continue;
        }
        engine_->counters(hc.helper)[HelperCounter::unproven_timeout].add();
        counters_.unproven_expired.add();
        lose(hc.owner);
    }
}

bool Helping::restore(std::uint32_t slot, const HelperImage& image) noexcept {
    Conn& conn = conns_.at(slot);
    const Tuple tuple = conn.tuple();
    const bool proven =
        conn.has(conn.protocol() == proto::tcp ? conn_flag::assured : conn_flag::seen_reply);
    const Applicant applicant{
        image.conn.helper, tuple,     slot, proven ? Standing::proven : Standing::unproven,
        zone_of(conn),     batch_.now};
    const HelperConn* hc = engine_->resume(image, applicant);
    if (hc == nullptr) return false;
    set_slot(conn, hc);
    conn.helper = hc->helper;
    if (conn.helper != kNoHelper) {
        conn.flags |= conn_flag::helped;
        conns_.note_helper(slot, true);
    }
    return true;
}

Helping::Positions Helping::positions_of(const HelperConn& hc) noexcept {
    const std::uint32_t helper_slot = engine_->index_of(&hc);
    Positions next{hc.stream[0].next_seq, hc.stream[1].next_seq};
    for_each(batch_[MaskId::helped], [&](unsigned j) {
        if (batch_.helper_slot[j] != helper_slot) return;
        const PacketInfo& shown = batch_.info[j];
        const std::uint32_t end = read_segment(batch_.data[j], shown).seq + shown.pay_len;
        std::uint32_t& at = next[index(shown.dir)];
        if (seq_after(end, at)) at = end;
    });
    return next;
}

void Helping::learn(unsigned i, Conn& conn, TrackResult result) noexcept {
    PacketInfo& info = batch_.info[i];
    if (!conn.has(conn_flag::helped)) {
        // It waits for its first payload, whose numbers are not known.
        if (info.pay_len == 0 || conn.helper == kNoHelper) return;
        engine_->counters(conn.helper)[HelperCounter::blind_restored].add();
        conn.helper = kNoHelper;
        return;
    }
    HelperConn& hc = *engine_->at(conn.helper_slot);
    const unsigned d = index(info.dir);
    const TcpSegment s = read_segment(batch_.data[i], info);
    const Positions next = positions_of(hc);
    bool missed = hc.resumed ? result == TrackResult::relearning
                             : info.pay_len != 0 && !continues(s, d, next);
    if (result == TrackResult::learned) {
        hc.learning = false;
        for (unsigned side = 0; side < 2 && !hc.resumed; ++side) {
            const std::uint32_t acked = conn.tcp_near.side[1 - side].max_ack;
            const std::uint32_t open = conn.tcp_near.side[side].end - acked;
            missed = missed || next[side] - acked > open;
        }
    } else if (missed && !hc.resumable) {
        // Until the numbers are known it may be anybody's.
        info.pay_len = 0;
        info.tcp_flags &= static_cast<std::uint8_t>(~tcp_flag::fin);
        return;
    }
    if (missed) {
        forget_shown(info.conn);  // they belong to the streams as they were
        engine_->resynchronise(hc, info.dir, s.seq, s.ack);
    } else if (info.pay_len != 0 && next[d] == hc.stream[d].next_seq) {
        engine_->align(hc, info.dir, s.seq);
    }
}

void Helping::begin_restored(std::uint32_t slot) noexcept {
    Conn& conn = conns_.at(slot);
    if (conn.helper == kNoHelper || conn.has(conn_flag::has_helper_slot)) return;
    if (conn.protocol() != proto::tcp || conn.tcp_state() != TcpState::syn_recv) return;
    HelperConn* hc = take_slot(slot, conn.helper, Standing::unproven);
    if (hc == nullptr) return;
    hc->learning = true;
    for (const Direction d : {Direction::original, Direction::reply})
        engine_->on_syn(hc, d, conn.tcp_near.side[index(d)].end - 1);
}

bool Helping::may_refuse(const PacketInfo& info, const std::uint8_t* data,
                         const HelperConn* hc) const noexcept {
    if (info.kind != L4Kind::tcp) return false;
    // Without its expectation the announcement is useless: let the sender repeat it, when there may
    // be room. (The receiver does not get it, so both ends agree.) But only once: the connection is
    // worth more than its announcement.
    const Refused& refused = refused_[engine_->index_of(hc)];
    const unsigned d = index(info.dir);
    const std::uint32_t end = read_segment(data, info).seq + info.pay_len;
    return !refused.any[d] || static_cast<std::int32_t>(end - refused.end[d]) > 0;
}

void Helping::note_refused(const PacketInfo& info, const std::uint8_t* data,
                           const HelperConn* hc) noexcept {
    Refused& refused = refused_[engine_->index_of(hc)];
    const unsigned d = index(info.dir);
    refused.end[d] = read_segment(data, info).seq + info.pay_len;
    refused.any[d] = true;
}

void Helping::count_unexpected(const HelperConn* hc) noexcept {
    engine_->counters(hc->helper)[HelperCounter::announced_unexpected].add();
    counters_.announced_unexpected.add();
}

}  // namespace postern
