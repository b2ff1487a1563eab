// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/track.h"

#include <algorithm>
#include <cassert>

#include "conntrack/sloppy.h"
#include "conntrack/tcp_relearn.h"
#include "conntrack/tcp_window.h"
#include "conntrack/track_parts.h"
#include "net/bytes.h"

namespace postern {
namespace {

constexpr std::uint32_t kStreamAfterMs = 2000;

/// From the transport header to the end of the contiguous bytes.
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
    // The first segment after the other side's first makes it assured, with a timeout of days.
    if (state == TcpState::established && !conn.has(conn_flag::assured))
        return t.tcp(state, TcpTimeout::unacknowledged);
    // A FIN or RST that was not believed. Only this shows whether it was the second, which
    // shortened the timeout; the next accepted packet will set it anew.
    if (state == TcpState::established && (last == TcpKind::fin || last == TcpKind::rst))
        return std::min(conn.timeout_ms, t.tcp(state, TcpTimeout::by_state));
    return t.tcp(state, tcp_timeout(conn, last, config.tcp_of(conn)));
}

TrackResult refuse(PacketInfo& info) noexcept {
    info.ct = CtState::invalid;
    info.why = DropReason::ct_invalid;
    return TrackResult::invalid;
}

/// Transport header of the packet that an ICMP error quotes, as far as it is available.
Bytes quoted_transport(const PacketInfo& info, const std::uint8_t* data) noexcept {
    const std::size_t end = std::size_t{info.pay_off} + info.pay_len;
    return end > info.quoted_l4_off ? Bytes{data + info.quoted_l4_off, end - info.quoted_l4_off}
                                    : Bytes{};
}

/// Whether a TCP segment with this number, sent by side `d`, may still be in flight (RFC 5927
/// section 4.1). A connection that was never answered needs no protection. If windows are not
/// enforced the numbers may differ from the tracked ones.
bool is_in_flight(const Conn& conn, unsigned d, std::uint32_t seq,
                  const TcpOptions& options) noexcept {
    const unsigned peer = 1 - d;
    if (options.liberal || ((conn.tcp_flags[0] | conn.tcp_flags[1]) & tcp_side::liberal) != 0)
        return true;
    if (conn.learning) return tcp_was_seen(conn, d, seq);
    if ((conn.tcp_flags[peer] & tcp_side::max_ack_set) == 0) return true;
    // A keep-alive, and a probe of a closed window, has the last acknowledged number.
    if (!seq_before(seq, conn.tcp_near.side[peer].max_ack - 1) &&
        !seq_after(seq, conn.tcp_near.side[d].end))
        return true;
    // A SYN that was let through.
    const TcpLast& last = conn.tcp_far.last;
    return last.kind == TcpKind::syn && last.dir == d && last.seq == seq;
}

/// Whether an ICMP error may be about a packet of the connection: any host can send one, but it
/// does not know the numbers of a connection that it does not see. `dir`: of the error.
bool error_fits(const Conn& conn, const PacketInfo& info, const std::uint8_t* data, Direction dir,
                const TrackConfig& config) noexcept {
    if (info.kind != L4Kind::icmp_error) return true;
    if (conn.protocol() != proto::tcp && conn.protocol() != proto::sctp) return true;
    if (conn.sloppy) return true;  // nothing is known to compare with
    const Bytes quoted = quoted_transport(info, data);
    if (quoted.size() < 8) return false;  // RFC 792: that much is there
    if (conn.protocol() == proto::sctp)
        return sctp_has_sent(conn.sctp, conn.sctp_state(), !dir, quoted);
    return is_in_flight(conn, index(!dir), wire::be32(quoted.data() + 4), config.tcp_of(conn));
}

TrackResult track_sctp(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir,
                       Tick now, const TrackConfig& config) noexcept {
    const SctpResult r = sctp_track(conn.sctp, conn.sctp_state(), dir, transport_of(info, data));
    if (r.action == SctpAction::invalid) return refuse(info);
    if (r.state == SctpState::established && conn.sctp_state() != r.state)
        conn.flags |= conn_flag::assured;
    conn.set_state(r.state);
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
        conn.set_state(r.state);
        conn.timeout_ms = config.timeouts_of(conn).dccp(r.state);
        conn.last_seen_ms = now.ms;
    }
    belongs(conn, info, dir);
    return r.action == DccpAction::end ? TrackResult::end : TrackResult::accept;
}

/// A host without an address yet.
bool is_nobody(const IpAddr& address) noexcept {
    return address.bytes == IpAddr{}.bytes;
}
/// A group, or all hosts of a link.
bool is_for_many(const IpAddr& address) noexcept {
    if (address.family == Family::ipv6) return address.bytes[0] == 0xff;
    return (address.bytes[0] & 0xf0) == 0xe0 || address == IpAddr::v4(255, 255, 255, 255);
}

/// A sloppy connection. It has its full timeout, and is assured, once both directions were seen.
std::uint32_t sloppy_timeout_ms(const Conn& conn, const Timeouts& t) noexcept {
    switch (conn.protocol()) {
        case proto::tcp:
            return t.tcp(conn.tcp_state(), conn.has(conn_flag::assured)
                                               ? TcpTimeout::by_state
                                               : TcpTimeout::unacknowledged);
        case proto::sctp: return t.sctp(conn.sctp_state());
        default: return t.dccp(conn.dccp_state());
    }
}

TrackResult track_sloppy(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir,
                         Tick now, const TrackConfig& config) noexcept {
    const bool one_way = dir == Direction::original && !conn.has(conn_flag::seen_reply);
    bool open = false;
    const auto go_to = [&](auto state, auto established) {
        if (!state) return false;
        conn.set_state(*state);
        open = *state == established;
        return true;
    };
    bool same = false;
    switch (conn.protocol()) {
        case proto::tcp: {
            std::uint8_t* flags = conn.tcp_flags;
            FinsSeen fins = 0;
            for (unsigned d = 0; d < 2; ++d)
                fins |= static_cast<FinsSeen>((flags[d] & tcp_side::close_init) != 0 ? 1u << d : 0);
            same = go_to(sloppy_tcp(conn.tcp_state(), dir, info.tcp_flags, one_way, fins),
                         TcpState::established);
            for (unsigned d = 0; d < 2; ++d)
                if ((fins >> d & 1) != 0) flags[d] |= tcp_side::close_init;
            break;
        }
        case proto::sctp:
            same = go_to(sloppy_sctp(conn.sctp_state(), dir, transport_of(info, data)),
                         SctpState::established);
            break;
        default:
            same = go_to(sloppy_dccp(conn.dccp_state(), dir, transport_of(info, data)),
                         DccpState::open);
    }
    if (!same) return TrackResult::reopen;
    belongs(conn, info, dir);
    if (open && conn.has(conn_flag::seen_reply)) conn.flags |= conn_flag::assured;
    conn.last_seen_ms = now.ms;
    conn.timeout_ms = sloppy_timeout_ms(conn, config.timeouts_of(conn));
    return TrackResult::accept;
}

}  // namespace

bool may_start(const PacketInfo& info, const std::uint8_t* data,
               const TrackConfig& config) noexcept {
    switch (info.kind) {
        case L4Kind::icmp_nd: return false;
        case L4Kind::tcp: return tcp_may_start(info.tcp_flags, config.tcp);
        case L4Kind::sctp: return sctp_may_start(transport_of(info, data));
        case L4Kind::dccp: {
            const auto header = read_dccp(transport_of(info, data), info.l4_len);
            return header && dccp_may_start(*header);
        }
        // ICMP of the other family: its types are not known.
        case L4Kind::other: return info.protocol != proto::icmp && info.protocol != proto::icmpv6;
        default: return true;
    }
}

namespace {

/// start_tracking() for all but TCP whose windows are tracked.
[[gnu::noinline]] bool start_other(Conn& conn, const PacketInfo& info, const std::uint8_t* data,
                                   Tick now, const TrackConfig& config) noexcept {
    if (conn.sloppy && conn.has_tracker()) [[unlikely]] {
        if (info.kind == L4Kind::sctp) conn.sctp = {};
        if (info.kind == L4Kind::dccp) conn.dccp = {};
        conn.set_state(0u);
        PacketInfo first = info;
        return track_sloppy(conn, first, data, Direction::original, now, config) ==
               TrackResult::accept;
    }
    if (info.kind == L4Kind::sctp) {
        conn.sctp = {};
        const SctpResult r = sctp_start(conn.sctp, transport_of(info, data));
        conn.set_state(r.state);
        conn.timeout_ms = config.timeouts_of(conn).sctp(r.state);
        return true;
    }
    if (info.kind == L4Kind::dccp) {
        conn.dccp = {};
        const DccpResult r =
            dccp_start(conn.dccp, *read_dccp(transport_of(info, data), info.l4_len));
        conn.set_state(r.state);
        conn.timeout_ms = config.timeouts_of(conn).dccp(r.state);
        return true;
    }
    conn.state = 0;
    conn.plain = {{now.ms, now.ms}};
    conn.timeout_ms = plain_timeout_ms(conn, false, config.timeouts_of(conn));
    return true;
}

}  // namespace

bool start_tracking(Conn& conn, const PacketInfo& info, const std::uint8_t* data, Tick now,
                    const TrackConfig& config) noexcept {
    conn.last_seen_ms = now.ms;
    assert((conn.sloppy && conn.has_tracker()) ||
           (!stays_alone(info) && may_start(info, data, config)));
    if (info.kind == L4Kind::tcp && !conn.sloppy) [[likely]]
        return start_tcp(conn, info, data, config);
    return start_other(conn, info, data, now, config);
}

bool is_shielded(const Conn& conn, Direction dir, Tick now, const TrackConfig& config) noexcept {
    if (conn.has_tracker()) return conn.has(conn_flag::seen_reply);
    // Hosts of every zone send the same there: DHCP's first messages, routers' hellos.
    const Tuple tuple = conn.tuple();
    if (is_nobody(tuple.src) || is_for_many(tuple.dst)) return false;
    const std::uint32_t keeps_ms = conn.has(conn_flag::helped) || conn.has(conn_flag::expected)
                                       ? conn.timeout_ms
                                       : plain_timeout_ms(conn, false, config.timeouts_of(conn));
    return !reached(Tick{conn.plain.seen_ms[index(dir)]} + keeps_ms, now);
}

std::uint32_t timeout_of(Conn& conn, const TrackConfig& config) noexcept {
    if (conn.sloppy && conn.has_tracker()) return sloppy_timeout_ms(conn, config.timeouts_of(conn));
    switch (conn.protocol()) {
        case proto::tcp: return tcp_timeout_of(conn, config);
        case proto::sctp: return config.timeouts_of(conn).sctp(conn.sctp_state());
        case proto::dccp: return config.timeouts_of(conn).dccp(conn.dccp_state());
        default:
            return plain_timeout_ms(conn, conn.has(conn_flag::assured), config.timeouts_of(conn));
    }
}

bool track_fast_tcp(Conn& conn, const PacketInfo& info, const std::uint8_t* data,
                    const Timeouts& timeouts) noexcept {
    bool unacked;
    if (!tcp_in_order(conn.tcp_near, conn.tcp_marks, info.dir, read_segment(data, info), unacked))
        return false;
    conn.timeout_ms = timeouts.tcp(TcpState::established,
                                   unacked ? TcpTimeout::unacknowledged : TcpTimeout::by_state);
    return true;
}

namespace {

/// track() for all but TCP whose windows are tracked.
[[gnu::noinline]] TrackResult track_other(Conn& conn, PacketInfo& info, const std::uint8_t* data,
                                          Direction dir, Tick now,
                                          const TrackConfig& config) noexcept {
    if (info.kind == L4Kind::icmp_error) {  // about the connection, not part of it
        if (!error_fits(conn, info, data, dir, config)) return refuse(info);
        info.ct = CtState::related;
        return TrackResult::accept;
    }
    if (conn.has_tracker() && conn.sloppy) [[unlikely]]
        return track_sloppy(conn, info, data, dir, now, config);
    if (info.kind == L4Kind::sctp) return track_sctp(conn, info, data, dir, now, config);
    if (info.kind == L4Kind::dccp) return track_dccp(conn, info, data, dir, now, config);
    const bool replied = conn.has(conn_flag::seen_reply);
    info.ct = state_of(conn, dir);
    conn.last_seen_ms = conn.plain.seen_ms[index(dir)] = now.ms;
    if (dir == Direction::reply && !replied) {
        conn.flags |= conn_flag::seen_reply;
        conn.state = 1;
    }
    // Packets both ways more than two seconds after the first: a stream. A query and its answer
    // (DNS) never become one, and expire soon.
    if (!conn.has(conn_flag::assured) && conn.has(conn_flag::seen_reply) &&
        info.kind == L4Kind::ports && reached(Tick{conn.start_ms} + kStreamAfterMs, now))
        conn.flags |= conn_flag::assured;
    // A tunnel becomes a stream when its answer was answered.
    if (replied && conn.protocol() == proto::gre) conn.flags |= conn_flag::assured;
    conn.timeout_ms =
        plain_timeout_ms(conn, conn.has(conn_flag::assured), config.timeouts_of(conn));
    return TrackResult::accept;
}

}  // namespace

TrackResult track(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir, Tick now,
                  const TrackConfig& config) noexcept {
    // Nothing else here: another path's registers would be saved for this one too.
    if (info.kind == L4Kind::tcp && !conn.sloppy) [[likely]]
        return track_tcp(conn, info, data, dir, now, config);
    return track_other(conn, info, data, dir, now, config);
}

}  // namespace postern
