// SPDX-License-Identifier: BSD-3-Clause
// Timeout: all timeouts of silent connections in one table: name in the configuration, defaults,
// meaning.
//
// Used by: lib/config, which reads and documents the table; lib/conntrack, which stores the values
// by protocol and state. A row that names a state is that state's timeout.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace postern {

enum class Timeout : std::uint8_t {
    tcp_syn_sent,
    tcp_syn_recv,
    tcp_established,
    tcp_fin_wait,
    tcp_close_wait,
    tcp_last_ack,
    tcp_time_wait,
    tcp_close,
    tcp_syn_sent2,
    tcp_unacknowledged,
    tcp_retransmitted,
    sctp_closed,
    sctp_cookie_wait,
    sctp_cookie_echoed,
    sctp_established,
    sctp_shutdown_sent,
    sctp_shutdown_recd,
    sctp_shutdown_ack_sent,
    sctp_heartbeat_sent,
    dccp_request,
    dccp_respond,
    dccp_partopen,
    dccp_open,
    dccp_closereq,
    dccp_closing,
    dccp_timewait,
    udp_unreplied,
    udp_stream,
    gre_unreplied,
    gre_stream,
    gre_expected_unreplied,
    gre_expected_stream,
    icmp_request,
    icmpv6_request,
    generic_timeout,
    kCount
};
inline constexpr unsigned kTimeouts = static_cast<unsigned>(Timeout::kCount);

struct TimeoutRow {
    Timeout id;
    std::string_view protocol;  ///< mapping of the configuration with the key
    std::string_view key;
    std::uint32_t linux_s;  ///< seconds; Linux's default
    std::uint32_t rfc_s;    ///< seconds; of the profile `rfc`, see TimeoutSeconds::rfc()
    std::string_view help;
};

inline constexpr std::uint32_t kRfcTransitoryS = 4 * 60, kRfcEstablishedS = 2 * 3600 + 4 * 60;

/// In the order of the enumeration; the keys of a protocol lie together.
inline constexpr std::array<TimeoutRow, kTimeouts> kTimeoutTable{{
    {Timeout::tcp_syn_sent, "tcp", "syn_sent", 120, kRfcTransitoryS, "SYN seen"},
    {Timeout::tcp_syn_recv, "tcp", "syn_recv", 60, kRfcTransitoryS, "SYN answered by SYN+ACK"},
    {Timeout::tcp_established, "tcp", "established", 5 * 24 * 3600, kRfcEstablishedS,
     "open in both directions"},
    {Timeout::tcp_fin_wait, "tcp", "fin_wait", 120, kRfcTransitoryS, "FIN seen from one side"},
    {Timeout::tcp_close_wait, "tcp", "close_wait", 60, kRfcTransitoryS,
     "that FIN acknowledged by the other side"},
    {Timeout::tcp_last_ack, "tcp", "last_ack", 30, kRfcTransitoryS, "FIN seen from both sides"},
    {Timeout::tcp_time_wait, "tcp", "time_wait", 120, kRfcTransitoryS, "both FINs acknowledged"},
    {Timeout::tcp_close, "tcp", "close", 10, kRfcTransitoryS, "reset"},
    {Timeout::tcp_syn_sent2, "tcp", "syn_sent2", 120, kRfcTransitoryS, "simultaneous open"},
    {Timeout::tcp_unacknowledged, "tcp", "unacknowledged", 300, kRfcEstablishedS,
     "upper limit while sent data is not acknowledged"},
    {Timeout::tcp_retransmitted, "tcp", "retransmitted", 300, kRfcEstablishedS,
     "upper limit while the same packet is retransmitted"},
    {Timeout::sctp_closed, "sctp", "closed", 10, 10, "INIT seen, or the association has ended"},
    {Timeout::sctp_cookie_wait, "sctp", "cookie_wait", 3, 3, "INIT ACK seen"},
    {Timeout::sctp_cookie_echoed, "sctp", "cookie_echoed", 3, 3, "COOKIE ECHO seen"},
    {Timeout::sctp_established, "sctp", "established", 210, 210,
     "open; a heartbeat comes about every 30 seconds"},
    {Timeout::sctp_shutdown_sent, "sctp", "shutdown_sent", 3, 3,
     "SHUTDOWN from the side that opened"},
    {Timeout::sctp_shutdown_recd, "sctp", "shutdown_recd", 3, 3, "SHUTDOWN from the other side"},
    {Timeout::sctp_shutdown_ack_sent, "sctp", "shutdown_ack_sent", 3, 3, "SHUTDOWN ACK seen"},
    {Timeout::sctp_heartbeat_sent, "sctp", "heartbeat_sent", 30, 30,
     "a further path, not yet answered"},
    {Timeout::dccp_request, "dccp", "request", 4 * 60, 4 * 60, "Request seen"},
    {Timeout::dccp_respond, "dccp", "respond", 8 * 60, 8 * 60, "Response seen"},
    {Timeout::dccp_partopen, "dccp", "partopen", 8 * 60, 8 * 60, "Response acknowledged"},
    {Timeout::dccp_open, "dccp", "open", 12 * 3600, 12 * 3600, "open"},
    {Timeout::dccp_closereq, "dccp", "closereq", 64, 64, "CloseReq seen from the server"},
    {Timeout::dccp_closing, "dccp", "closing", 64, 64, "Close seen"},
    {Timeout::dccp_timewait, "dccp", "timewait", 4 * 60, 4 * 60, "Reset seen"},
    {Timeout::udp_unreplied, "udp", "unreplied", 30, 300,
     "seen in one direction, or answered once (DNS)"},
    {Timeout::udp_stream, "udp", "stream", 120, 300, "seen both ways for more than two seconds"},
    {Timeout::gre_unreplied, "gre", "unreplied", 30, 30, "seen in one direction"},
    {Timeout::gre_stream, "gre", "stream", 180, 180, "seen both ways"},
    {Timeout::gre_expected_unreplied, "gre", "expected_unreplied", 600, 600,
     "tunnel that a helper expected (PPTP), seen in one direction"},
    {Timeout::gre_expected_stream, "gre", "expected_stream", 18000, 18000,
     "tunnel that a helper expected, seen both ways"},
    {Timeout::icmp_request, "icmp", "request", 30, 60, "an echo or timestamp exchange"},
    {Timeout::icmpv6_request, "icmpv6", "request", 30, 60, "an echo exchange"},
    {Timeout::generic_timeout, "generic", "timeout", 600, 600, "all other protocols"},
}};
static_assert([] {
    for (unsigned i = 0; i < kTimeouts; ++i)
        if (kTimeoutTable[i].id != static_cast<Timeout>(i)) return false;
    return true;
}());

/// One value for each Timeout, in seconds. The defaults are Linux's.
class TimeoutSeconds {
  public:
    constexpr TimeoutSeconds() noexcept {
        for (const TimeoutRow& row : kTimeoutTable)
            (*this)[row.id] = row.linux_s;
    }
    /// The values that the RFCs on NAT require, if Linux's are shorter: a TCP connection 2 h 4 min,
    /// and 4 min while it opens or closes (RFC 5382 REQ-5, RFC 7857 section 2); UDP 5 min (RFC 4787
    /// REQ-5c); ICMP queries 60 s (RFC 5508 REQ-2). Other protocols are as in Linux.
    static constexpr TimeoutSeconds rfc() noexcept {
        TimeoutSeconds out;
        for (const TimeoutRow& row : kTimeoutTable)
            out[row.id] = row.rfc_s;
        return out;
    }
    constexpr std::uint32_t& operator[](Timeout t) noexcept {
        return seconds_[static_cast<unsigned>(t)];
    }
    constexpr std::uint32_t operator[](Timeout t) const noexcept {
        return seconds_[static_cast<unsigned>(t)];
    }
    /// Of a state with a row of its own; 0 if it has none.
    constexpr std::uint32_t of_state(std::string_view protocol,
                                     std::string_view state) const noexcept {
        for (const TimeoutRow& row : kTimeoutTable)
            if (row.protocol == protocol && row.key == state) return (*this)[row.id];
        return 0;
    }
    friend constexpr bool operator==(const TimeoutSeconds&, const TimeoutSeconds&) = default;

  private:
    std::array<std::uint32_t, kTimeouts> seconds_{};
};

}  // namespace postern
