// SPDX-License-Identifier: BSD-3-Clause
// The effect of one packet on one connection, for all protocols. Called by the conntrack and commit
// stages; touches the Conn and the packet's transport header, nothing else.
#pragma once

#include <array>

#include "base/drop_reason.h"
#include "conntrack/conn.h"
#include "conntrack/timeouts.h"
#include "net/packet.h"

namespace postern {

struct TrackConfig {
    /// Profiles; [0] is the default, Conn::timeouts selects one. An array, not a vector, which
    /// saves a load for each packet.
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
    renewed,    ///< accept it; its sender and the other side, at TcpLast::seq, reopen
    unbounded,  ///< accept it; its payload was not compared with any window
    // Of a restored connection that learns its numbers (tcp_relearn.h):
    learning,    ///< accept it; it agrees with what is known of both sides
    relearning,  ///< accept it; the numbers of both sides are anew those that it shows
    learned,     ///< accept it; the numbers of both sides are known from here on
    invalid,     ///< drop it; the connection is unchanged, but may expire sooner
    reopen,      ///< end this connection, then treat the packet as one without
    end          ///< accept it, then end the connection
};

/// ICMP that never begins a connection: policy judges each packet by itself if it belongs to none.
/// Answers to a query that went to a group, or took another path; errors about untracked packets;
/// messages.
constexpr bool stays_alone(const PacketInfo& info) noexcept {
    constexpr auto bit_of = [](L4Kind kind) { return 1u << static_cast<unsigned>(kind); };
    constexpr unsigned kAlone =
        bit_of(L4Kind::icmp_message) | bit_of(L4Kind::icmp_reply) | bit_of(L4Kind::icmp_error);
    return (kAlone >> static_cast<unsigned>(info.kind) & 1) != 0;
}

/// Whether policy may accept the packet although it belongs to no connection: a connection may
/// begin with it, or it stays_alone().
bool may_start(const PacketInfo& info, const std::uint8_t* data,
               const TrackConfig& config) noexcept;

/// Initialises the tracker's part of `conn` by its first packet, which may_start() and does not
/// stays_alone(). The caller has set key, flags, timeouts and start before. A `sloppy` connection
/// accepts any packet, so the check is here: false if such a packet cannot begin it.
bool start_tracking(Conn& conn, const PacketInfo& info, const std::uint8_t* data, Tick now,
                    const TrackConfig& config) noexcept;

/// Tracks a later packet, in direction `dir`. Sets info.ct. On accept updates last_seen, timeout
/// and flags; the caller compares the timeouts before and after. For a TCP segment whose connection
/// has a helper, reduces info.tcp_flags and info.pay_len to the parts that the receiver accepts.
TrackResult track(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir, Tick now,
                  const TrackConfig& config) noexcept;

/// Whether a packet from other zones, in direction `dir`, may not replace the connection. It may
/// replace a connection that was never answered. Without a tracker it may also replace one whose
/// direction has been silent for its unreplied timeout (a helper's or an expected connection: for
/// its whole timeout), or whose direction begins at no address or ends at many, since hosts of
/// every zone send the same there. Otherwise one forged packet would block an honest tuple, or a
/// peer whose path has moved would be excluded for as long as the other end sends.
bool is_shielded(const Conn& conn, Direction dir, Tick now, const TrackConfig& config) noexcept;

/// The timeout of the connection in its present state: the value that track() would have set with
/// these timeouts after the last packet that changed its state. For code that changes an input of
/// the timeout.
std::uint32_t timeout_of(Conn& conn, const TrackConfig& config) noexcept;

/// track_fast() for TCP. A separate function: inlined, its values and its caller's do not fit into
/// the registers.
[[gnu::noinline]] bool track_fast_tcp(Conn& conn, const PacketInfo& info, const std::uint8_t* data,
                                      const Timeouts& timeouts) noexcept;

/// The fast path of track(), for nearly all packets: UDP of a stream, and TCP's next segment of an
/// established connection. True for such a packet: it is accepted, as established, with the same
/// changes as by track(). Otherwise false, without changes.
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
