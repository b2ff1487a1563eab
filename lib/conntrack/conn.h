// SPDX-License-Identifier: BSD-3-Clause
// Conn: one tracked connection, three cache lines.
//
// Owned by one worker's ConnTable; no other thread reads or writes it. The next packet on the fast
// path touches the first line only. It touches the second too with a helper, for the comparison of
// IPv6 ends, or once in 128 packets for the counts. All other packets touch the first and the
// third.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "conntrack/dccp.h"
#include "conntrack/sctp.h"
#include "conntrack/tcp.h"
#include "conntrack/timeouts.h"
#include "net/addr.h"
#include "net/packet.h"

namespace postern {

namespace conn_flag {
inline constexpr std::uint8_t seen_reply = 0x01,  ///< a packet of the reply direction was accepted
    assured = 0x02,                               ///< not displaced when the table is full
    expected = 0x04,         ///< an expectation's child; `master` names its parent
    swapped = 0x08,          ///< the original sender is the key's high end
    liberal = 0x20,          ///< TCP windows are not enforced (by rule)
    has_helper_slot = 0x10,  ///< `helper_slot` is not 0
    half_open = 0x40,        ///< counted as half-open for its source
    helped = 0x80;           ///< has a helper, and a slot
}  // namespace conn_flag

/// A GRE call is found by two keys once both ids are known, see ConnTable::pair().
struct GreTrack {
    std::uint32_t second_key;  ///< its number in the table; 0 = none
};

/// How a connection's first packet came, for rules that match it, see PolicyLink. Of an expected
/// one nothing is kept: its first packet is judged once.
struct FirstLink {
    std::uint32_t vlan : 12;
    std::uint32_t dscp : 6;
    std::uint32_t in_port : 8;  ///< PortId plus 1; 0: not known
    std::uint32_t limited : 1;  ///< counted for the limits of its rule, see RuleLimits
};

/// In place of TcpNear: for every packet of a connection without a tracker of its own.
struct PlainNear {
    std::uint32_t seen_ms[2];  ///< Tick of the last packet by Direction; before its first: that of
                               ///< the connection's first
};

// Many methods: each reads or sets one field, or bits of one that several share.
struct alignas(64) Conn {
    // --- line 0: every packet ---
    FlowKey key{};                   ///< family 0: the slot is free
    std::uint32_t last_seen_ms = 0;  ///< Tick of the last accepted packet
    std::uint32_t timeout_ms = 0;    ///< silence after which it expires, by its state
    std::uint32_t recent[2] = {};    ///< packets and bytes by Direction, see account()
    union {
        TcpNear tcp_near{};
        PlainNear plain;  ///< of protocols other than TCP, SCTP and DCCP
    };
    TcpMarks tcp_marks{};
    std::uint8_t flags = 0;  ///< of conn_flag
    /// Low four bits: index into TrackConfig::timeouts. High ones: PacketInfo::zone_tag of its
    /// packets, or ZonePair::kFurtherOn.
    std::uint8_t timeouts_and_tag = 0;

    // --- line 1: its ends, its helper, its counts ---
    std::uint8_t src[16] = {};  ///< original direction; IPv4 in the first four bytes
    std::uint8_t dst[16] = {};
    Be16 sport;  ///< GRE version 1: the source's call id, 0 if not known
    Be16 dport;
    std::uint32_t helper_slot : 25 = 0;  ///< HelperConn of the worker's engine; 0 = none. Also with
                                         ///< a rule's `expect`, without a helper
    std::uint32_t has_min_timeout : 1 = 0;  ///< its helper may have set a min_timeout
    std::uint32_t from_edge : 6 = 0;        ///< input edge of its original direction
    std::uint64_t bytes_before[2] = {};     ///< of full rounds; and see kBytesBits
    std::uint32_t rounds_before[2] = {};    ///< full ones, of kRound packets each

    // --- line 2: its state, and rarely used fields ---
    union {
        TcpFar tcp_far{};
        SctpTrack sctp;
        DccpTrack dccp;
        GreTrack gre;
    };
    std::uint8_t tcp_flags[2] = {};  ///< of tcp_side, by Direction of the side; TCP's like tcp_far
    std::uint16_t generation = 0;    ///< changes each time the slot is reused
    std::uint32_t start_ms = 0;
    std::uint8_t state : 4 = 0;      ///< of its protocol; without one 0 = unreplied, 1 = replied
    std::uint8_t key_class : 4 = 0;  ///< as in PacketInfo
    std::uint8_t to_edge : 6 = 0;    ///< output edge of its original direction
    std::uint8_t sloppy : 1 = 0;     ///< states from the packets seen (by rule), see sloppy.h
    std::uint8_t learning : 1 = 0;   ///< TCP, restored: its numbers are learned, see tcp_relearn.h
    HelperId helper = kNoHelper;
    HelperId expected_by = kNoHelper;
    ConnId master;  ///< the connection whose helper expected it
    std::uint32_t mark = 0;
    std::uint32_t label = 0;
    union {
        std::uint32_t visit_ms = 0;  ///< of an expected child: time of the next visit by its timer
        FirstLink first;             ///< of all others
    };
    RuleId rule = kNoRule;  ///< the rule that accepted it

    // Limits of the bit-fields above.
    static constexpr std::uint8_t kTimeoutsMask = 0x0f, kTagMask = 0xf0, kEdgeMask = 0x3f,
                                  kStateMask = 0x0f;
    static constexpr std::uint32_t kHelperSlotMask =
        0x1ffffff;  ///< limits.helped_connections: 2^24
    static_assert(kMaxTimeoutProfiles <= kTimeoutsMask + 1 && kMaxEdges <= kEdgeMask + 1);

    /// An entry of `recent` is a count of less than kRound packets above the sum of their bytes:
    /// one addition a packet, which overflows when the round is full.
    static constexpr unsigned kRecentBytesBits = 25;
    static constexpr std::uint32_t kRecentBytesMask = (1u << kRecentBytesBits) - 1;
    static constexpr std::uint32_t kRound = 1u << (32 - kRecentBytesBits);
    static constexpr std::uint32_t kMaxFrame = (1u << kRecentBytesBits) / kRound - 1;
    static_assert(kMaxFrame > 65535 + 100, "a whole datagram, and what is around it");
    /// Above this number of bits, `bytes_before` has the high bits of `rounds_before`: 72 PB are
    /// two months of 100 Gb/s.
    static constexpr unsigned kBytesBits = 56;
    static constexpr std::uint64_t kMaxBytes = (std::uint64_t{1} << kBytesBits) - 1;
    static constexpr std::uint64_t kMaxPackets = (std::uint64_t{kRound} << (96 - kBytesBits)) - 1;

    /// Counts one packet of this direction; `frame_bytes` at most kMaxFrame. True: its round is
    /// full, and end_round() must follow.
    [[nodiscard]] bool account(Direction d, std::uint32_t frame_bytes) noexcept {
        std::uint32_t& sum = recent[index(d)];
        return __builtin_add_overflow(sum, (1u << kRecentBytesBits) + frame_bytes, &sum);
    }
    void end_round(Direction d) noexcept {
        const unsigned i = index(d);
        fold_bytes(d);
        if (++rounds_before[i] == 0) bytes_before[i] += kMaxBytes + 1;
    }
    /// Moves the bytes of `recent` to those before, for RuleCounts. The counts stay the same.
    void fold_bytes(Direction d) noexcept {
        const unsigned i = index(d);
        bytes_before[i] += recent_bytes(d);
        recent[i] &= ~kRecentBytesMask;
    }
    std::uint32_t recent_packets(Direction d) const noexcept {
        return recent[index(d)] >> kRecentBytesBits;
    }
    std::uint32_t recent_bytes(Direction d) const noexcept {
        return recent[index(d)] & kRecentBytesMask;
    }
    /// Packets of this direction, and the bytes of their frames.
    std::uint64_t packets(Direction d) const noexcept {
        const unsigned i = index(d);
        const std::uint64_t rounds = bytes_before[i] >> kBytesBits << 32 | rounds_before[i];
        return rounds * kRound + recent_packets(d);
    }
    std::uint64_t bytes(Direction d) const noexcept {
        return (bytes_before[index(d)] & kMaxBytes) + recent_bytes(d);
    }
    /// At most kMaxPackets and kMaxBytes.
    void set_counts(Direction d, std::uint64_t packets, std::uint64_t bytes) noexcept {
        const unsigned i = index(d);
        const std::uint64_t rounds = packets / kRound;
        bytes_before[i] = bytes | rounds >> 32 << kBytesBits;
        rounds_before[i] = static_cast<std::uint32_t>(rounds);
        recent[i] = static_cast<std::uint32_t>(packets % kRound) << kRecentBytesBits;
    }

    // For TCP.
    TcpSideRef tcp_side(unsigned d) noexcept {
        TcpNear::Side& n = tcp_near.side[d];
        return {n.end, n.max_end, n.max_ack, tcp_far.max_win[d], tcp_marks.of[d], tcp_flags[d]};
    }
    bool tcp_data_unacked() const noexcept {
        return ((tcp_marks.of[0] | tcp_marks.of[1]) & tcp_mark::data_unacked) != 0;
    }
    /// Rebuilds TcpLast after fast-path segments; sequence and window stay unknown.
    void recall_last() noexcept {
        if (((tcp_marks.of[0] | tcp_marks.of[1]) & tcp_mark::brief) == 0) return;
        const unsigned d = (tcp_marks.of[1] & tcp_mark::brief) != 0 ? 1 : 0;
        // It ended at its side's end, and acknowledged no less than earlier segments.
        tcp_far.last.ack = tcp_near.side[d].max_ack;
        tcp_far.last.end = tcp_near.side[d].end;
        tcp_far.last.win = 1;  // not zero
        tcp_far.last.dir = static_cast<std::uint8_t>(d);
        tcp_far.last.kind = TcpKind::ack;
        tcp_far.last.retransmits = 0;
        tcp_far.last.vague = true;
        tcp_marks.of[d] &= static_cast<std::uint8_t>(~tcp_mark::brief);
    }
    /// Call after setting TcpLast.
    void mark_latest() noexcept {
        const unsigned d = tcp_far.last.dir;
        tcp_marks.of[d] |= tcp_mark::latest;
        tcp_marks.of[1 - d] &= static_cast<std::uint8_t>(~tcp_mark::latest);
    }
    /// Keeps all segments off the fast path from now on.
    void forbid_shortcuts() noexcept { tcp_near.cover[0] = tcp_near.cover[1] = 0; }
    /// Lets the next segment in order take the fast path from now on.
    void allow_shortcuts() noexcept {
        for (unsigned d = 0; d < 2; ++d) {
            const std::uint32_t covered = tcp_far.max_win[d] >> (tcp_marks.of[d] & tcp_mark::scale);
            tcp_near.cover[d] = static_cast<std::uint16_t>(std::min(covered, 0xffffu));
        }
    }
    /// Whether its next segment in order may take the fast path.
    bool tcp_steady() const noexcept { return (tcp_near.cover[0] | tcp_near.cover[1]) != 0; }
    /// Whether most of its packets will not need its state.
    bool steady() const noexcept {
        return protocol() == proto::tcp ? tcp_steady() : has(conn_flag::assured);
    }

    bool alive() const noexcept { return key.family != 0; }
    /// Whether its tracker keeps states (and TcpNear is not PlainNear).
    bool has_tracker() const noexcept {
        return protocol() == proto::tcp || protocol() == proto::sctp || protocol() == proto::dccp;
    }

    /// Input edge of packets of this direction.
    EdgeId edge(Direction d) const noexcept {
        return EdgeId(d == Direction::original ? from_edge : to_edge);
    }
    /// Sets the edges, by a packet of the original direction. `swapped` is set.
    void set_edges(const ZonePair& zones) noexcept {
        from_edge = zones.from.number() & kEdgeMask;
        to_edge = zones.to.number() & kEdgeMask;
        const std::uint8_t tag = zones.tags[has(conn_flag::swapped) ? 1 : 0];
        set_tag(tag == ZonePair::kNoTag ? ZonePair::kFurtherOn : tag);
    }
    void set_tag(std::uint8_t tag) noexcept {
        timeouts_and_tag = static_cast<std::uint8_t>((timeouts_and_tag & kTimeoutsMask) | tag);
    }
    /// Number of the pair of sides of its tag, see ZonePair; no pair has that of kFurtherOn.
    unsigned sides_number() const noexcept { return timeouts_and_tag >> (ZonePair::kTagShift + 1); }
    /// Whether a packet with its key travels between its zones. False: by the short tags; for
    /// kFurtherOn the edges decide.
    bool joins(const PacketInfo& info) const noexcept {
        return ((timeouts_and_tag ^ info.zone_tag) & kTagMask) == 0;
    }
    /// Index into TrackConfig::timeouts.
    unsigned timeouts() const noexcept { return timeouts_and_tag & kTimeoutsMask; }
    void set_timeouts(unsigned profile) noexcept {
        timeouts_and_tag =
            static_cast<std::uint8_t>((timeouts_and_tag & kTagMask) | (profile & kTimeoutsMask));
    }
    std::uint8_t protocol() const noexcept { return key.protocol; }
    Family family() const noexcept { return static_cast<Family>(key.family); }
    CtZone ct_zone() const noexcept { return key.ct_zone; }
    Tick last_seen() const noexcept { return Tick{last_seen_ms}; }
    Tick deadline() const noexcept { return Tick{last_seen_ms} + timeout_ms; }
    bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
    /// Sets the state of its protocol's tracker.
    void set_state(auto tracker_state) noexcept {
        state = static_cast<std::uint8_t>(tracker_state) & kStateMask;
    }
    TcpState tcp_state() const noexcept { return static_cast<TcpState>(state); }
    SctpState sctp_state() const noexcept { return static_cast<SctpState>(state); }
    DccpState dccp_state() const noexcept { return static_cast<DccpState>(state); }
    /// Whether one side has begun to close.
    bool closing() const noexcept {
        switch (protocol()) {
            case proto::tcp:
                return tcp_state() >= TcpState::fin_wait && tcp_state() <= TcpState::close;
            case proto::sctp:
                return sctp_state() >= SctpState::shutdown_sent &&
                       sctp_state() <= SctpState::shutdown_ack_sent;
            case proto::dccp: return dccp_state() >= DccpState::closereq;
            default: return false;
        }
    }
    /// The name of its protocol's state; null without a tracker.
    const char* state_name() const noexcept {
        switch (protocol()) {
            case proto::tcp: return to_string(tcp_state());
            case proto::sctp: return to_string(sctp_state());
            case proto::dccp: return to_string(dccp_state());
            default: return nullptr;
        }
    }
    Tuple tuple() const noexcept {
        Tuple t;
        for (unsigned i = 0; i < 16; ++i) {
            t.src.bytes[i] = src[i];
            t.dst.bytes[i] = dst[i];
        }
        t.src.family = t.dst.family = family();
        t.sport = sport;
        t.dport = dport;
        t.protocol = protocol();
        return t;
    }
};
static_assert(sizeof(Conn) == 192 && offsetof(Conn, src) == 64 && offsetof(Conn, tcp_far) == 128 &&
              sizeof(Conn::rule) == 4);

}  // namespace postern
