// SPDX-License-Identifier: BSD-3-Clause
// How long a silent connection is kept, by protocol and state. Milliseconds. Immutable on workers.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "conntrack/dccp.h"
#include "conntrack/sctp.h"
#include "conntrack/tcp.h"

namespace postern {

/// What a configuration may use at once, the default included.
inline constexpr unsigned kMaxTimeoutProfiles = 16;

struct Timeouts {
    std::array<std::uint32_t, kTcpStates> tcp_ms{};
    std::uint32_t tcp_retransmitted_ms = 300'000;
    std::uint32_t tcp_unacknowledged_ms = 300'000;
    std::array<std::uint32_t, kSctpStates> sctp_ms{};
    std::array<std::uint32_t, kDccpStates> dccp_ms{};
    std::uint32_t udp_ms[2] = {30'000, 120'000};  ///< unreplied, stream
    std::uint32_t gre_ms[2] = {30'000, 180'000};  ///< unreplied, stream
    /// Of expected tunnels (PPTP): an idle one keeps quiet for long. Unreplied, stream.
    std::uint32_t gre_expected_ms[2] = {600'000, 18'000'000};
    std::uint32_t icmp_ms = 30'000;
    std::uint32_t icmpv6_ms = 30'000;
    std::uint32_t generic_ms = 600'000;

    /// Linux's defaults.
    static constexpr Timeouts linux_profile() noexcept {
        Timeouts t;
        auto set = [&](TcpState s, std::uint32_t seconds) {
            t.tcp_ms[static_cast<unsigned>(s)] = seconds * 1000;
        };
        set(TcpState::none, 60);
        set(TcpState::syn_sent, 120);
        set(TcpState::syn_recv, 60);
        set(TcpState::established, 5 * 24 * 3600);
        set(TcpState::fin_wait, 120);
        set(TcpState::close_wait, 60);
        set(TcpState::last_ack, 30);
        set(TcpState::time_wait, 120);
        set(TcpState::close, 10);
        set(TcpState::syn_sent2, 120);
        using S = SctpState;
        constexpr std::uint32_t kMinute = 60;
        for (const auto& [state, seconds] : {std::pair{S::none, 10u},
                                             {S::closed, 10u},
                                             {S::cookie_wait, 3u},
                                             {S::cookie_echoed, 3u},
                                             {S::established, 210u},
                                             {S::shutdown_sent, 3u},
                                             {S::shutdown_recd, 3u},
                                             {S::shutdown_ack_sent, 3u},
                                             {S::heartbeat_sent, 30u}})
            t.sctp_ms[static_cast<unsigned>(state)] = seconds * 1000;
        using D = DccpState;
        for (const auto& [state, seconds] : {std::pair{D::none, 4 * kMinute},
                                             {D::request, 4 * kMinute},
                                             {D::respond, 8 * kMinute},
                                             {D::partopen, 8 * kMinute},
                                             {D::open, 12 * 60 * kMinute},
                                             {D::closereq, 64u},
                                             {D::closing, 64u},
                                             {D::timewait, 4 * kMinute}})
            t.dccp_ms[static_cast<unsigned>(state)] = seconds * 1000;
        return t;
    }

    std::uint32_t sctp(SctpState s) const noexcept { return sctp_ms[static_cast<unsigned>(s)]; }
    std::uint32_t dccp(DccpState s) const noexcept { return dccp_ms[static_cast<unsigned>(s)]; }
    std::uint32_t tcp(TcpState state, TcpTimeout kind) const noexcept {
        const std::uint32_t by_state = tcp_ms[static_cast<unsigned>(state)];
        switch (kind) {
            case TcpTimeout::by_state: break;
            case TcpTimeout::close: return tcp_ms[static_cast<unsigned>(TcpState::close)];
            case TcpTimeout::retransmitted:
                return by_state < tcp_retransmitted_ms ? by_state : tcp_retransmitted_ms;
            case TcpTimeout::unacknowledged:
                return by_state < tcp_unacknowledged_ms ? by_state : tcp_unacknowledged_ms;
        }
        return by_state;
    }
};

}  // namespace postern
