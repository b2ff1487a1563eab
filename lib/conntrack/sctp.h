// SPDX-License-Identifier: BSD-3-Clause
// The SCTP tracker (RFC 9260): the state of an association as a middlebox sees it, and whether a
// packet can belong to it, by its chunks and its verification tag.
//
// A pure function over a connection's SCTP part and one packet, like tcp.h. The states are those of
// the association, not of an end: both ends are merged into one. Each path of a multi-homed
// association is a connection of its own; a secondary one begins with a HEARTBEAT. The behaviour is
// meant to be that of Linux's conntrack; the differences are listed in NOTES.md.
//
// Cost: one walk over the packet's chunks, which is one step for most.
#pragma once

#include <array>
#include <cstdint>

#include "base/types.h"
#include "net/cursor.h"

namespace postern {

enum class SctpState : std::uint8_t {
    none = 0,
    closed,             ///< INIT seen, or the end of an association
    cookie_wait,        ///< INIT ACK seen
    cookie_echoed,      ///< COOKIE ECHO seen
    established,        ///< COOKIE ACK seen, or a HEARTBEAT was acknowledged
    shutdown_sent,      ///< SHUTDOWN from the side that opened
    shutdown_recd,      ///< SHUTDOWN from the side that answered
    shutdown_ack_sent,  ///< and the SHUTDOWN ACK to it
    heartbeat_sent,     ///< a path that began with a HEARTBEAT
    kCount
};
inline constexpr unsigned kSctpStates = static_cast<unsigned>(SctpState::kCount);
constexpr const char* to_string(SctpState s) noexcept {
    constexpr const char* kNames[] = {
        "none",          "closed",        "cookie_wait",       "cookie_echoed", "established",
        "shutdown_sent", "shutdown_recd", "shutdown_ack_sent", "heartbeat_sent"};
    return kNames[static_cast<unsigned>(s)];
}

/// State of an association. Tags are as on the wire. Trivial, for a union: begins as all zeros,
/// SctpTrack{}.
struct SctpTrack {
    std::array<std::uint32_t, 2> tag;  ///< required in packets of this Direction; 0: unknown
    /// The same of an association that an INIT proposes instead of this one. It replaces this one
    /// when its cookie returns, and not before (section 5.2). 0: unknown.
    std::array<std::uint32_t, 2> offered;
    std::array<bool, 2> init;           ///< an INIT of this Direction waits for its COOKIE ACK
    bool strange_heartbeat;             ///< one with an unknown tag was let through
    std::uint8_t strange_heartbeat_of;  ///< its Direction
};
static_assert(sizeof(SctpTrack) == 20);

enum class SctpAction : std::uint8_t {
    accept,
    pass,    ///< let through, without extending the timeout
    invalid  ///< it cannot belong to the association, which is unchanged
};

struct SctpResult {
    SctpAction action = SctpAction::invalid;
    SctpState state = SctpState::none;
};

/// Whether an association may begin with this packet (RFC 9260 section 8.4). `packet` begins with
/// the common header, and may be cut short after a chunk's header.
bool sctp_may_start(Bytes packet) noexcept;
/// The first packet of an association. `action` is accept or invalid.
SctpResult sctp_start(SctpTrack& track, Bytes packet) noexcept;
/// Any later one.
SctpResult sctp_track(SctpTrack& track, SctpState state, Direction dir, Bytes packet) noexcept;

/// Whether an ICMP error may quote this packet of `sender`: it carries the association's tag, or is
/// the INIT that requested it (RFC 9260 section 10). `quoted`: at least eight bytes.
bool sctp_has_sent(const SctpTrack& track, SctpState state, Direction sender,
                   Bytes quoted) noexcept;

}  // namespace postern
