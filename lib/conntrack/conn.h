// SPDX-License-Identifier: BSD-3-Clause
// Conn: one tracked connection, three cache lines.
//
// Owned by one worker's ConnTable; nobody else reads or writes it. An established packet touches
// the first line, one of TCP or with a helper the second too. The third is cold: read when a
// connection is made or listed, and to verify IPv6 look-ups.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "conntrack/dccp.h"
#include "conntrack/sctp.h"
#include "conntrack/tcp.h"
#include "net/addr.h"
#include "net/packet.h"

namespace postern {

namespace conn_flag {
inline constexpr std::uint8_t seen_reply = 0x01,  ///< a packet of the reply direction was accepted
    assured = 0x02,                               ///< worth keeping under pressure
    expected = 0x04,   ///< an expectation's child; `master` names its parent
    swapped = 0x08,    ///< the original sender is the key's high end
    liberal = 0x20,    ///< TCP windows are not enforced (by rule)
    alias = 0x10,      ///< only the other key of `gre.twin`, which is the connection
    half_open = 0x40,  ///< counted as half-open for its source
    helped = 0x80;     ///< has a helper: `helper_slot` is set
}  // namespace conn_flag

/// A GRE call is found by two keys, see ConnTable::pair(): the slot that holds the other one, and
/// back. 0 = none.
struct GreTrack {
    std::uint32_t twin;
};

struct alignas(64) Conn {
    // --- line 0: every packet ---
    FlowKey key{};                      ///< family 0: the slot is free
    std::uint32_t last_seen_ms = 0;     ///< Tick of the last accepted packet
    std::uint32_t timeout_ms = 0;       ///< silence after which it ends, by its state
    std::uint16_t generation = 0;       ///< changes each time the slot is reused
    std::uint8_t from = 0;              ///< security zone it was opened from
    std::uint8_t timeouts = 0;          ///< index into TrackConfig::timeouts
    RuleId rule = kNoRule;              ///< that accepted it
    std::uint8_t state = 0;             ///< of its protocol; without one 0 = unreplied, 1 = replied
    std::uint8_t flags = 0;             ///< of conn_flag
    std::uint64_t packets[2] = {0, 0};  ///< by Direction
    std::uint64_t bytes[2] = {0, 0};    ///< by Direction; whole frames

    // --- line 1: every packet of TCP, SCTP, DCCP and GRE calls, and with a helper ---
    union {
        TcpTrack tcp{};
        SctpTrack sctp;
        DccpTrack dccp;
        GreTrack gre;
    };
    TcpLast tcp_last;
    std::uint32_t helper_slot : 31 = 0;  ///< HelperConn of the worker's engine; 0 = none. Also
                                         ///< with a rule that expects, without a helper
    std::uint32_t patient : 1 = 0;       ///< its helper may have asked for a least timeout

    // --- line 2: cold ---
    std::uint8_t src[16] = {};  ///< original direction; IPv4 in the first four bytes
    std::uint8_t dst[16] = {};
    Be16 sport;  ///< GRE version 1: the source's call id, 0 if not known
    Be16 dport;
    std::uint32_t start_ms = 0;
    ConnId master;  ///< whose helper expected it
    std::uint32_t mark = 0;
    HelperId helper = kNoHelper;
    HelperId expected_by = kNoHelper;
    std::uint8_t key_class = 0;  ///< as in PacketInfo
    std::uint8_t pad2 = 0;
    std::uint32_t visit_ms = 0;  ///< of an expected child: when its timer looks in
    std::uint32_t label = 0;

    bool alive() const noexcept { return key.family != 0 && !has(conn_flag::alias); }
    std::uint8_t protocol() const noexcept { return key.protocol; }
    Family family() const noexcept { return static_cast<Family>(key.family); }
    std::uint16_t zone() const noexcept { return key.zone; }  ///< conntrack zone
    Tick last_seen() const noexcept { return Tick{last_seen_ms}; }
    Tick deadline() const noexcept { return Tick{last_seen_ms} + timeout_ms; }
    bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
    TcpState tcp_state() const noexcept { return static_cast<TcpState>(state); }
    SctpState sctp_state() const noexcept { return static_cast<SctpState>(state); }
    DccpState dccp_state() const noexcept { return static_cast<DccpState>(state); }
    /// One side has said goodbye.
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
    /// What its protocol's tracker calls its state; null when it has none.
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
        for (unsigned i = 0; i < 16; ++i)
            t.src.bytes[i] = src[i], t.dst.bytes[i] = dst[i];
        t.src.family = t.dst.family = family();
        t.sport = sport;
        t.dport = dport;
        t.protocol = protocol();
        return t;
    }
};
static_assert(sizeof(Conn) == 192 && offsetof(Conn, tcp) == 64 && offsetof(Conn, src) == 128);

}  // namespace postern
