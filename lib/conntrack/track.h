// SPDX-License-Identifier: BSD-3-Clause
// What one packet does to one connection, whatever its protocol. Called by the conntrack and commit
// stages; touches the Conn and the packet's transport header, nothing else.
#pragma once

#include <array>

#include "base/drop_reason.h"
#include "conntrack/conn.h"
#include "conntrack/timeouts.h"
#include "net/packet.h"

namespace postern {

struct TrackConfig {
    /// Profiles; [0] is the default, Conn::timeouts chooses. In place, not a vector: no packet pays
    /// for one more load.
    std::array<Timeouts, kMaxTimeoutProfiles> timeouts = {Timeouts::linux_profile()};
    TcpOptions tcp;
    TcpOptions tcp_liberal{.liberal = true};  ///< of connections with conn_flag::liberal

    const Timeouts& timeouts_of(const Conn& conn) const noexcept { return timeouts[conn.timeouts]; }
    const TcpOptions& tcp_of(const Conn& conn) const noexcept {
        return conn.has(conn_flag::liberal) ? tcp_liberal : tcp;
    }
};

enum class TrackResult : std::uint8_t {
    accept,
    invalid,  ///< drop it; the connection is as it was, but may end sooner
    reopen,   ///< end this connection, then treat the packet as one without
    end       ///< accept it, then end the connection
};

/// Whether the packet is such that a connection may begin with it.
bool may_start(const PacketInfo& info, const std::uint8_t* data,
               const TrackConfig& config) noexcept;

/// Whether the packet may start a connection; initialises the tracker's part of `conn` if so. The
/// caller has set key, flags, timeouts and start before.
bool start_tracking(Conn& conn, const PacketInfo& info, const std::uint8_t* data, Tick now,
                    const TrackConfig& config) noexcept;

/// A later packet, going `dir`. Sets info.ct. On accept: last_seen, timeout and flags are brought
/// up to date; whoever calls compares the timeouts before and after.
TrackResult track(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir, Tick now,
                  const TrackConfig& config) noexcept;

/// How long the connection as it stands may be silent: what track() would have set with these
/// timeouts after the last packet that changed its state. For whoever changes what a connection's
/// time depends on.
std::uint32_t timeout_of(Conn& conn, const TrackConfig& config) noexcept;

/// track_settled() for TCP. A function of its own: inlined, its values and its caller's do not fit
/// into the registers.
[[gnu::noinline]] bool track_settled_tcp(Conn& conn, const PacketInfo& info,
                                         const std::uint8_t* data,
                                         const Timeouts& timeouts) noexcept;

/// The short way of track(), for what nearly all packets are: UDP of a stream, and TCP's next
/// segment of an established connection. True when it was such a packet; it is accepted, as
/// established, and what track() would have changed is changed. Else false, and nothing is.
[[gnu::always_inline]] inline bool track_settled(Conn& conn, const PacketInfo& info,
                                                 const std::uint8_t* data, Tick now,
                                                 const TrackConfig& config) noexcept {
    constexpr std::uint8_t kSettled = conn_flag::seen_reply | conn_flag::assured;
    if ((conn.flags & (kSettled | conn_flag::half_open)) != kSettled) return false;
    if (info.kind == L4Kind::tcp) {
        if (!track_settled_tcp(conn, info, data, config.timeouts_of(conn))) return false;
    } else if (info.kind != L4Kind::ports) {
        return false;
    }
    conn.last_seen_ms = now.ms;
    return true;
}

/// ct state of an accepted packet, by the connection before the packet is counted.
inline CtState state_of(const Conn& conn, Direction dir) noexcept {
    if (dir == Direction::reply || conn.has(conn_flag::seen_reply)) return CtState::established;
    return conn.has(conn_flag::expected) ? CtState::related : CtState::fresh;
}

}  // namespace postern
