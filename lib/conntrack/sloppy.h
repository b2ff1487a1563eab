// SPDX-License-Identifier: BSD-3-Clause
// Tracking of connections of which possibly one direction is seen only (rules with `track:
// sloppy`): states from the packets seen, whichever side sends them. Numbers, windows and tags are
// not compared, and a connection may begin with any packet. Called by track.cc in place of the
// trackers of TCP, SCTP and DCCP; pure functions over a state and one packet.
#pragma once

#include <cstdint>
#include <optional>

#include "conntrack/dccp.h"
#include "conntrack/sctp.h"
#include "conntrack/tcp.h"
#include "net/cursor.h"

namespace postern {

/// The FINs that a connection has seen: bits by Direction.
using FinsSeen = std::uint8_t;

/// The state after a segment with these flags; nullopt: it begins another connection. `fins`: of
/// both sides, updated. `one_way`: no reply was ever seen.
std::optional<TcpState> sloppy_tcp(TcpState state, Direction dir, std::uint8_t flags, bool one_way,
                                   FinsSeen& fins) noexcept;
/// `packet` begins with the common header, at least 12 bytes; only its first chunk is read.
std::optional<SctpState> sloppy_sctp(SctpState state, Direction dir, Bytes packet) noexcept;
std::optional<DccpState> sloppy_dccp(DccpState state, Direction dir, Bytes packet) noexcept;

}  // namespace postern
