// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/track.h"

#include <algorithm>

#include "conntrack/tcp_window.h"

namespace postern {
namespace {

constexpr std::uint32_t kStreamAfterMs = 2000;

/// From the transport header to the end of what can be read at once.
Bytes transport_of(const PacketInfo& info, const std::uint8_t* data) noexcept {
    return {data + info.l4_off,
            static_cast<std::size_t>(info.pay_off - info.l4_off) + info.pay_len};
}

/// Protocols without a state machine of their own: unreplied, then replied.
std::uint32_t plain_timeout_ms(const Conn& conn, bool replied, const Timeouts& t) noexcept {
    switch (conn.protocol()) {
        case proto::udp:
        case proto::udplite: return t.udp_ms[replied ? 1 : 0];
        case proto::gre:
            return (conn.has(conn_flag::expected) ? t.gre_expected_ms : t.gre_ms)[replied ? 1 : 0];
        case proto::icmp: return t.icmp_ms;
        case proto::icmpv6: return t.icmpv6_ms;
        default: return t.generic_ms;
    }
}

std::uint32_t tcp_timeout_of(Conn& conn, const TrackConfig& config) noexcept {
    const Timeouts& t = config.timeouts_of(conn);
    const TcpState state = conn.tcp_state();
    conn.recall_last();
    const TcpKind last = conn.tcp_far.last.kind;
    // The first segment after the other side's first makes it assured, and worth days.
    if (state == TcpState::established && !conn.has(conn_flag::assured))
        return t.tcp(state, TcpTimeout::unacknowledged);
    // A goodbye that was not believed. Whether it was the second, and shortened the time, only that
    // tells; the next packet that is accepted will set it anew.
    if (state == TcpState::established && (last == TcpKind::fin || last == TcpKind::rst))
        return std::min(conn.timeout_ms, t.tcp(state, TcpTimeout::by_state));
    return t.tcp(state, tcp_timeout(conn, last, config.tcp_of(conn)));
}

TrackResult refuse(PacketInfo& info) noexcept {
    info.ct = CtState::invalid;
    info.why = DropReason::ct_invalid;
    return TrackResult::invalid;
}

/// What every packet that belongs to the connection does to it.
void belongs(Conn& conn, PacketInfo& info, Direction dir) noexcept {
    info.ct = state_of(conn, dir);
    if (dir == Direction::reply) conn.flags |= conn_flag::seen_reply;
}

TrackResult track_sctp(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir,
                       Tick now, const TrackConfig& config) noexcept {
    const SctpResult r = sctp_track(conn.sctp, conn.sctp_state(), dir, transport_of(info, data));
    if (r.action == SctpAction::invalid) return refuse(info);
    if (r.state == SctpState::established && conn.sctp_state() != r.state)
        conn.flags |= conn_flag::assured;
    conn.state = static_cast<std::uint8_t>(r.state);
    if (r.action == SctpAction::accept) {
        conn.timeout_ms = config.timeouts_of(conn).sctp(r.state);
        conn.last_seen_ms = now.ms;
    }
    belongs(conn, info, dir);
    return TrackResult::accept;
}

TrackResult track_dccp(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir,
                       Tick now, const TrackConfig& config) noexcept {
    const auto header = read_dccp(transport_of(info, data), info.l4_len);
    if (!header) return refuse(info);
    const DccpResult r =
        dccp_track(conn.dccp, conn.dccp_state(), dir, conn.has(conn_flag::seen_reply), *header);
    if (r.action == DccpAction::invalid) return refuse(info);
    if (r.assured) conn.flags |= conn_flag::assured;
    if (r.action == DccpAction::accept) {
        conn.state = static_cast<std::uint8_t>(r.state);
        conn.timeout_ms = config.timeouts_of(conn).dccp(r.state);
        conn.last_seen_ms = now.ms;
    }
    belongs(conn, info, dir);
    return r.action == DccpAction::end ? TrackResult::end : TrackResult::accept;
}

}  // namespace

bool may_start(const PacketInfo& info, const std::uint8_t* data,
               const TrackConfig& config) noexcept {
    switch (info.kind) {
        case L4Kind::icmp_reply:
        case L4Kind::icmp_error:
        case L4Kind::icmp_nd: return false;
        case L4Kind::tcp: return tcp_may_start(info.tcp_flags, config.tcp);
        case L4Kind::sctp: return sctp_may_start(transport_of(info, data));
        case L4Kind::dccp: {
            const auto header = read_dccp(transport_of(info, data), info.l4_len);
            return header && dccp_may_start(*header);
        }
        // An ICMP message that neither asks, answers nor complains starts nothing.
        case L4Kind::other: return info.protocol != proto::icmp && info.protocol != proto::icmpv6;
        default: return true;
    }
}

bool start_tracking(Conn& conn, const PacketInfo& info, const std::uint8_t* data, Tick now,
                    const TrackConfig& config) noexcept {
    conn.last_seen_ms = now.ms;
    if (!may_start(info, data, config)) return false;
    if (info.kind == L4Kind::sctp) {
        conn.sctp = {};
        const SctpResult r = sctp_start(conn.sctp, transport_of(info, data));
        conn.state = static_cast<std::uint8_t>(r.state);
        conn.timeout_ms = config.timeouts_of(conn).sctp(r.state);
        return true;
    }
    if (info.kind == L4Kind::dccp) {
        conn.dccp = {};
        const DccpResult r =
            dccp_start(conn.dccp, *read_dccp(transport_of(info, data), info.l4_len));
        conn.state = static_cast<std::uint8_t>(r.state);
        conn.timeout_ms = config.timeouts_of(conn).dccp(r.state);
        return true;
    }
    if (info.kind == L4Kind::tcp) {
        const TcpResult r = tcp_start(conn, read_segment(data, info), config.tcp_of(conn));
        if (r.action == TcpAction::invalid) return false;
        conn.state = static_cast<std::uint8_t>(r.state);
        // Picked up in mid-stream: not worth five days until the other side is seen.
        conn.timeout_ms = config.timeouts_of(conn).tcp(r.state, r.state == TcpState::established
                                                                    ? TcpTimeout::unacknowledged
                                                                    : TcpTimeout::by_state);
        return true;
    }
    conn.state = 0;
    conn.timeout_ms = plain_timeout_ms(conn, false, config.timeouts_of(conn));
    return true;
}

std::uint32_t timeout_of(Conn& conn, const TrackConfig& config) noexcept {
    switch (conn.protocol()) {
        case proto::tcp: return tcp_timeout_of(conn, config);
        case proto::sctp: return config.timeouts_of(conn).sctp(conn.sctp_state());
        case proto::dccp: return config.timeouts_of(conn).dccp(conn.dccp_state());
        default:
            return plain_timeout_ms(conn, conn.has(conn_flag::assured), config.timeouts_of(conn));
    }
}

bool track_settled_tcp(Conn& conn, const PacketInfo& info, const std::uint8_t* data,
                       const Timeouts& timeouts) noexcept {
    bool unacked;
    if (!tcp_in_order(conn.tcp_near, conn.tcp_marks, info.dir, read_segment(data, info), unacked))
        return false;
    conn.timeout_ms = timeouts.tcp(TcpState::established,
                                   unacked ? TcpTimeout::unacknowledged : TcpTimeout::by_state);
    return true;
}

TrackResult track(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir, Tick now,
                  const TrackConfig& config) noexcept {
    if (info.kind == L4Kind::icmp_error) {  // speaks about the connection, is not part of it
        info.ct = CtState::related;
        return TrackResult::accept;
    }
    const bool replied = conn.has(conn_flag::seen_reply);
    TrackResult result = TrackResult::accept;
    if (info.kind == L4Kind::tcp) {
        const TcpResult r =
            tcp_track(conn, conn.tcp_state(), dir, replied, conn.has(conn_flag::assured),
                      read_segment(data, info), config.tcp_of(conn));
        switch (r.action) {
            case TcpAction::invalid:
                info.ct = CtState::invalid;
                info.why = DropReason::ct_invalid;
                conn.timeout_ms = std::min(
                    conn.timeout_ms, config.timeouts_of(conn).tcp(conn.tcp_state(), r.timeout));
                return TrackResult::invalid;
            case TcpAction::reopen: return TrackResult::reopen;
            case TcpAction::pass: break;
            case TcpAction::end: result = TrackResult::end; [[fallthrough]];
            case TcpAction::accept:
                conn.state = static_cast<std::uint8_t>(r.state);
                conn.timeout_ms = config.timeouts_of(conn).tcp(r.state, r.timeout);
                conn.last_seen_ms = now.ms;
                if (r.assured) conn.flags |= conn_flag::assured;
                break;
        }
        info.ct = state_of(conn, dir);
        if (dir == Direction::reply) conn.flags |= conn_flag::seen_reply;
        return result;
    }
    if (info.kind == L4Kind::sctp) return track_sctp(conn, info, data, dir, now, config);
    if (info.kind == L4Kind::dccp) return track_dccp(conn, info, data, dir, now, config);
    info.ct = state_of(conn, dir);
    conn.last_seen_ms = now.ms;
    if (dir == Direction::reply && !replied) {
        conn.flags |= conn_flag::seen_reply;
        conn.state = 1;
    }
    // Still talking two seconds after the first packet, both ways: a stream. A question and its
    // answer (DNS) never become one, and are forgotten soon.
    if (!conn.has(conn_flag::assured) && conn.has(conn_flag::seen_reply) &&
        info.kind == L4Kind::ports && reached(Tick{conn.start_ms} + kStreamAfterMs, now))
        conn.flags |= conn_flag::assured;
    // A tunnel is one once its answer was answered.
    if (replied && conn.protocol() == proto::gre) conn.flags |= conn_flag::assured;
    conn.timeout_ms =
        plain_timeout_ms(conn, conn.has(conn_flag::assured), config.timeouts_of(conn));
    return TrackResult::accept;
}

}  // namespace postern
