// SPDX-License-Identifier: BSD-3-Clause
// Conn: one tracked connection, three cache lines.
//
// Owned by one worker's ConnTable; nobody else reads or writes it. The first line is all that an
// established packet must touch besides its counters in the second; the third is cold (tuple,
// master, rule), read when a connection is made, listed or ended, and to verify IPv6 look-ups.
#pragma once

#include <cstdint>

#include "base/types.h"
#include "conntrack/tcp.h"
#include "net/addr.h"
#include "table/timing_wheel.h"

namespace postern {

namespace conn_flag {
inline constexpr std::uint8_t seen_reply = 0x01,  ///< a packet of the reply direction was accepted
    assured = 0x02,                               ///< worth keeping under pressure
    expected = 0x04,   ///< an expectation's child; `master` names its parent
    swapped = 0x08,    ///< the original sender is the key's high end
    dying = 0x10,      ///< ended; its slot is about to be freed
    liberal = 0x20,    ///< TCP windows are not enforced (by rule)
    half_open = 0x40;  ///< counted as half-open for its source
}  // namespace conn_flag

struct alignas(64) Conn {
    // --- line 0: every packet ---
    std::uint32_t last_seen_ms = 0;  ///< Tick of the last accepted packet
    std::uint32_t timeout_ms = 0;    ///< silence after which it ends, by its state
    std::uint16_t generation = 0;    ///< changes each time the slot is reused
    std::uint8_t protocol = 0;
    std::uint8_t state = 0;  ///< TcpState; for others 0 = unreplied, 1 = replied
    std::uint8_t flags = 0;  ///< of conn_flag
    HelperId helper = kNoHelper;
    std::uint16_t zone = 0;         ///< conntrack zone
    std::uint32_t helper_slot = 0;  ///< HelperConn of the worker's engine; 0 = none
    TcpTrack tcp;
    std::uint32_t stream_from_ms = 0;  ///< UDP: from when on an answered exchange is a stream

    // --- line 1: every packet, written only ---
    std::uint64_t packets[2] = {0, 0};  ///< by Direction
    std::uint64_t bytes[2] = {0, 0};    ///< by Direction; whole frames
    TcpLast tcp_last;
    WheelLink wheel;
    union {
        std::uint32_t next_free = 0;  ///< while the slot is free: the next free one
        std::uint32_t visit_ms;  ///< of an expected child: when its timer looks in, see ConnTable
    };

    // --- line 2: cold ---
    std::uint8_t src[16] = {};  ///< original direction; IPv4 in the first four bytes
    std::uint8_t dst[16] = {};
    Be16 sport;
    Be16 dport;
    ConnId master;  ///< whose helper expected it
    std::uint32_t start_ms = 0;
    RuleId rule = kNoRule;  ///< that accepted it
    Family family = Family::none;
    std::uint8_t icmp_class = 0;  ///< part of the key of an ICMP query
    HelperId expected_by = kNoHelper;
    std::uint8_t from = 0;  ///< security zone it was opened from
    std::uint8_t pad[2] = {};
    std::uint32_t mark = 0;

    Tick last_seen() const noexcept { return Tick{last_seen_ms}; }
    Tick deadline() const noexcept { return Tick{last_seen_ms} + timeout_ms; }
    bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
    TcpState tcp_state() const noexcept { return static_cast<TcpState>(state); }
    Tuple tuple() const noexcept {
        Tuple t;
        for (unsigned i = 0; i < 16; ++i)
            t.src.bytes[i] = src[i], t.dst.bytes[i] = dst[i];
        t.src.family = t.dst.family = family;
        t.sport = sport;
        t.dport = dport;
        t.protocol = protocol;
        return t;
    }
};
static_assert(sizeof(Conn) == 192, "three cache lines; with its hash entry below 256 bytes");

}  // namespace postern
