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

    const Timeouts& timeouts_of(const Conn& conn) const noexcept {
        return timeouts[conn.timeouts()];
    }
    const TcpOptions& tcp_of(const Conn& conn) const noexcept {
        return conn.has(conn_flag::liberal) ? tcp_liberal : tcp;
    }
};

enum class TrackResult : std::uint8_t {
    accept,
    renewed,    ///< accept it; its sender and the other one, at TcpLast::seq, begin anew
    unbounded,  ///< accept it; its payload was not compared with any window
    invalid,    ///< drop it; the connection is as it was, but may end sooner
    reopen,     ///< end this connection, then treat the packet as one without
    end         ///< accept it, then end the connection
};

/// ICMP that never begins a connection: policy judges each packet by itself when it belongs to
/// none. Answers to a question that went to a group, or another way; errors of what is not tracked;
/// messages.
constexpr bool stays_alone(const PacketInfo& info) noexcept {
    constexpr auto bit_of = [](L4Kind kind) { return 1u << static_cast<unsigned>(kind); };
    constexpr unsigned kAlone =
        bit_of(L4Kind::icmp_message) | bit_of(L4Kind::icmp_reply) | bit_of(L4Kind::icmp_error);
    return (kAlone >> static_cast<unsigned>(info.kind) & 1) != 0;
}

/// Whether the packet is such that policy can let it in although it belongs to no connection: one
/// may begin with it, or it stays_alone().
bool may_start(const PacketInfo& info, const std::uint8_t* data,
               const TrackConfig& config) noexcept;

/// Initialises the tracker's part of `conn` by its first packet, which may_start() and does not
/// stays_alone(). The caller has set key, flags, timeouts and start before. A connection that is
/// `sloppy` takes any packet, and is asked here: false when such a packet cannot start it.
bool start_tracking(Conn& conn, const PacketInfo& info, const std::uint8_t* data, Tick now,
                    const TrackConfig& config) noexcept;

/// A later packet, going `dir`. Sets info.ct. On accept: last_seen, timeout and flags are brought
/// up to date; whoever calls compares the timeouts before and after. Of a TCP segment whose
/// connection has a helper, info.tcp_flags and info.pay_len then say what the receiver heeds.
TrackResult track(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir, Tick now,
                  const TrackConfig& config) noexcept;

/// Whether the connection keeps its place against a packet from other zones that would go `dir`.
/// Not what was never answered; nor, without a tracker, where that direction has been silent for
/// its unreplied timeout (a helper's or an expected connection: for its whole timeout), or where it
/// begins at no address or ends at many, as hosts of every zone say the same to everybody. Else one
/// forged packet would block an honest tuple, or a peer whose path has moved would be shut out for
/// as long as the other end talks.
bool is_shielded(const Conn& conn, Direction dir, Tick now, const TrackConfig& config) noexcept;

/// How long the connection as it stands may be silent: what track() would have set with these
/// timeouts after the last packet that changed its state. For whoever changes what a connection's
/// time depends on.
std::uint32_t timeout_of(Conn& conn, const TrackConfig& config) noexcept;

/// track_fast() for TCP. A function of its own: inlined, its values and its caller's do not fit
/// into the registers.
[[gnu::noinline]] bool track_fast_tcp(Conn& conn, const PacketInfo& info, const std::uint8_t* data,
                                      const Timeouts& timeouts) noexcept;

/// The fast path of track(), for what nearly all packets are: UDP of a stream, and TCP's next
/// segment of an established connection. True when it was such a packet; it is accepted, as
/// established, and what track() would have changed is changed. Else false, and nothing is.
[[gnu::always_inline]] inline bool track_fast(Conn& conn, const PacketInfo& info,
                                              const std::uint8_t* data, Tick now,
                                              const TrackConfig& config) noexcept {
    constexpr std::uint8_t kConfirmed = conn_flag::seen_reply | conn_flag::assured;
    if ((conn.flags & (kConfirmed | conn_flag::half_open)) != kConfirmed) return false;
    if (info.kind == L4Kind::tcp) {
        if (!track_fast_tcp(conn, info, data, config.timeouts_of(conn))) return false;
    } else if (info.kind != L4Kind::ports) {
        return false;
    } else {
        conn.plain.seen_ms[index(info.dir)] = now.ms;
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
