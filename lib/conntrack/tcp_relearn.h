// SPDX-License-Identifier: BSD-3-Clause
// Learning: the sequence numbers of a restored TCP connection.
//
// What: a saved connection's numbers are those of the save. Its peers may have sent any amount
// since. So a restored connection learns its numbers from the segments of both sides, and no
// segment is dropped for its numbers meanwhile. A segment that contradicts those learned so far
// begins the learning anew with its own numbers. Learning is complete when each side has
// acknowledged a number that the other one was seen to send. Only a peer that receives the other
// side's segments can do that.
//
// Kept from the save: state, window scale, SACK, largest windows.
// Layout: while it learns, TcpNear::Side::max_end is the lowest number seen of the side; tcp_side
// has two flags for it.
// Used by: tcp.cc for each segment of a learning connection; Tracking::restore() begins it.
#pragma once

#include <cstdint>

#include "conntrack/conn.h"
#include "conntrack/tcp.h"

namespace postern {

/// Begins the learning of a restored TCP connection. The first segment may continue at the saved
/// numbers, or anywhere.
void tcp_begin_learning(Conn& conn) noexcept;

/// Learns from a segment of side `d` with an acknowledgement; `end` is one past its last number, a
/// FIN included. With Learning::complete the connection's windows are valid, and `fins` has a bit
/// (1 << side) for each side whose FIN was seen before this segment.
Learning tcp_relearn(Conn& conn, unsigned d, const TcpSegment& s, std::uint32_t end,
                     unsigned& fins) noexcept;

/// Whether a number of side `d` was seen since its connection was restored.
bool tcp_was_seen(const Conn& conn, unsigned d, std::uint32_t seq) noexcept;

}  // namespace postern
