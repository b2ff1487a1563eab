// SPDX-License-Identifier: BSD-3-Clause
// What track.cc shares with tcp.cc; private to lib/conntrack.
#pragma once

#include <cstdint>

#include "conntrack/track.h"

namespace postern {

/// The effect of every packet on its connection.
inline void belongs(Conn& conn, PacketInfo& info, Direction dir) noexcept {
    info.ct = state_of(conn, dir);
    if (dir == Direction::reply) conn.flags |= conn_flag::seen_reply;
}

/// start_tracking() for TCP, after the last_seen is set.
bool start_tcp(Conn& conn, const PacketInfo& info, const std::uint8_t* data,
               const TrackConfig& config) noexcept;
/// track() for TCP segments. Both are in tcp.cc, where the state machine is inlined into them:
/// between two functions, segment and result would go through memory.
TrackResult track_tcp(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir,
                      Tick now, const TrackConfig& config) noexcept;

}  // namespace postern
