// SPDX-License-Identifier: BSD-3-Clause
// The DCCP tracker (RFC 4340): the state of a connection as a middlebox sees it, and whether a
// packet can belong to it, by its type and its sender.
//
// A pure function over a connection's DCCP part and one packet, like tcp.h. Client and server may
// do different things, and may swap roles when a finished connection is reopened from the other
// side. Modelled on Linux's tracker, until 6.15.
#pragma once

#include <cstdint>
#include <optional>

#include "base/types.h"
#include "net/cursor.h"

namespace postern {

enum class DccpState : std::uint8_t {
    none = 0,
    request,   ///< Request seen
    respond,   ///< Response seen
    partopen,  ///< the client has acknowledged it (section 8.1.5)
    open,      ///< and the server has sent more
    closereq,  ///< the server requests the end (section 8.3)
    closing,   ///< Close seen
    timewait,  ///< Reset seen
    kCount
};
inline constexpr unsigned kDccpStates = static_cast<unsigned>(DccpState::kCount);
constexpr const char* to_string(DccpState s) noexcept {
    constexpr const char* kNames[] = {"none", "request",  "respond", "partopen",
                                      "open", "closereq", "closing", "timewait"};
    return kNames[static_cast<unsigned>(s)];
}

/// Trivial, for a union: begins as all zeros, DccpTrack{}. Aligned to four bytes, as its place in a
/// connection.
struct [[gnu::packed, gnu::aligned(4)]] DccpTrack {
    std::uint64_t response_seq;  ///< of the Response to be acknowledged
    std::uint8_t client;         ///< Direction of the client's packets
    std::uint8_t last_dir;       ///< of the last packet, and its type
    std::uint8_t last_type;
    std::uint8_t pad;
};
static_assert(sizeof(DccpTrack) == 12);

/// The generic header (section 5.1) and the acknowledgement number after it (section 5.2).
struct DccpHeader {
    std::uint8_t type = 0;
    std::uint64_t seq = 0;             ///< 24 or 48 bits
    std::optional<std::uint64_t> ack;  ///< of the types that carry one
};
/// Nullopt if the bytes cannot be a DCCP packet: too short for its type, data offset or checksum
/// coverage beyond its `length` bytes, or a reserved type. `packet` may be cut short after them.
std::optional<DccpHeader> read_dccp(Bytes packet, std::size_t length) noexcept;

enum class DccpAction : std::uint8_t {
    accept,
    pass,     ///< let through without effect on the state
    invalid,  ///< it cannot belong to the connection
    end       ///< accepted, and the connection has ended: it was never answered except with a Reset
};

struct DccpResult {
    DccpAction action = DccpAction::invalid;
    DccpState state = DccpState::none;
    bool assured = false;  ///< this packet proves that both sides have confirmed the connection
};

/// Only a Request begins a connection.
bool dccp_may_start(const DccpHeader& header) noexcept;
DccpResult dccp_start(DccpTrack& track, const DccpHeader& header) noexcept;
/// `seen_reply`: before this packet.
DccpResult dccp_track(DccpTrack& track, DccpState state, Direction dir, bool seen_reply,
                      const DccpHeader& header) noexcept;

}  // namespace postern
