// SPDX-License-Identifier: BSD-3-Clause
// The DCCP tracker (RFC 4340): which state a connection is in, as seen from the middle, and whether
// a packet can belong to it, by its type and by who sent it.
//
// A pure function over a connection's DCCP part and one packet, like tcp.h. Client and server may
// do different things, and may swap roles when a finished connection is opened again from the other
// side. Modelled on the tracker that Linux had until 6.15.
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
    open,      ///< and the server has said more
    closereq,  ///< the server asks the client to close (section 8.3)
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

/// Trivial, to live in a union: begins as all zeros, DccpTrack{}. Aligned to four bytes, as its
/// place in a connection is.
struct [[gnu::packed, gnu::aligned(4)]] DccpTrack {
    std::uint64_t response_seq;  ///< of the Response that must be acknowledged
    std::uint8_t client;         ///< Direction of the client's packets
    std::uint8_t last_dir;       ///< of the last packet, and its type
    std::uint8_t last_type;
    std::uint8_t pad;
};
static_assert(sizeof(DccpTrack) == 12);

/// The generic header (section 5.1) and the acknowledgement number behind it (section 5.2).
struct DccpHeader {
    std::uint8_t type = 0;
    std::uint64_t seq = 0;             ///< 24 or 48 bits
    std::optional<std::uint64_t> ack;  ///< of the types that bear one
};
/// Nullopt when the bytes cannot be a DCCP packet: too short for its type, data offset or checksum
/// coverage beyond its `length` bytes, or a reserved type. `packet` may be cut short behind them.
std::optional<DccpHeader> read_dccp(Bytes packet, std::size_t length) noexcept;

enum class DccpAction : std::uint8_t {
    accept,
    pass,     ///< let through, but nothing was learnt from it
    invalid,  ///< it cannot belong to the connection
    end       ///< accepted, and the connection is over: nobody ever answered but with a Reset
};

struct DccpResult {
    DccpAction action = DccpAction::invalid;
    DccpState state = DccpState::none;
    bool assured = false;  ///< this packet proves that both sides want the connection
};

/// Only a Request begins a connection.
bool dccp_may_start(const DccpHeader& header) noexcept;
DccpResult dccp_start(DccpTrack& track, const DccpHeader& header) noexcept;
/// `seen_reply`: as the connection stood before it.
DccpResult dccp_track(DccpTrack& track, DccpState state, Direction dir, bool seen_reply,
                      const DccpHeader& header) noexcept;

}  // namespace postern
