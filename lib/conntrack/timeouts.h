// SPDX-License-Identifier: BSD-3-Clause
// Timeouts of silent connections, by protocol and state. Milliseconds. Immutable on workers.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/timeout.h"
#include "conntrack/dccp.h"
#include "conntrack/sctp.h"
#include "conntrack/tcp.h"

namespace postern {

/// Maximum in use at once by a configuration, including the default.
inline constexpr unsigned kMaxTimeoutProfiles = 16;

struct Timeouts {
    std::array<std::uint32_t, kTcpStates> tcp_ms{};
    std::uint32_t tcp_retransmitted_ms = 0;
    std::uint32_t tcp_unacknowledged_ms = 0;
    std::array<std::uint32_t, kSctpStates> sctp_ms{};
    std::array<std::uint32_t, kDccpStates> dccp_ms{};
    std::uint32_t udp_ms[2] = {};  ///< unreplied, stream
    std::uint32_t gre_ms[2] = {};  ///< unreplied, stream
    /// Of expected tunnels (PPTP): an idle one is silent for long. Unreplied, stream.
    std::uint32_t gre_expected_ms[2] = {};
    std::uint32_t icmp_ms = 0;
    std::uint32_t icmpv6_ms = 0;
    std::uint32_t generic_ms = 0;

    static constexpr Timeouts of(const TimeoutSeconds& seconds) noexcept {
        Timeouts t;
        // `none_s`: before the first packet was judged. No connection stays in that state.
        const auto by_state = [&]<class State>(auto& out_ms, State, std::string_view protocol,
                                               std::uint32_t none_s) {
            out_ms[0] = none_s * 1000;
            for (unsigned s = 1; s < out_ms.size(); ++s)
                out_ms[s] = seconds.of_state(protocol, to_string(static_cast<State>(s))) * 1000;
        };
        by_state(t.tcp_ms, TcpState::none, "tcp", 60);
        by_state(t.sctp_ms, SctpState::none, "sctp", seconds[Timeout::sctp_closed]);
        by_state(t.dccp_ms, DccpState::none, "dccp", seconds[Timeout::dccp_request]);
        t.tcp_retransmitted_ms = seconds[Timeout::tcp_retransmitted] * 1000;
        t.tcp_unacknowledged_ms = seconds[Timeout::tcp_unacknowledged] * 1000;
        t.udp_ms[0] = seconds[Timeout::udp_unreplied] * 1000;
        t.udp_ms[1] = seconds[Timeout::udp_stream] * 1000;
        t.gre_ms[0] = seconds[Timeout::gre_unreplied] * 1000;
        t.gre_ms[1] = seconds[Timeout::gre_stream] * 1000;
        t.gre_expected_ms[0] = seconds[Timeout::gre_expected_unreplied] * 1000;
        t.gre_expected_ms[1] = seconds[Timeout::gre_expected_stream] * 1000;
        t.icmp_ms = seconds[Timeout::icmp_request] * 1000;
        t.icmpv6_ms = seconds[Timeout::icmpv6_request] * 1000;
        t.generic_ms = seconds[Timeout::generic_timeout] * 1000;
        return t;
    }
    /// Linux's defaults.
    static constexpr Timeouts linux_profile() noexcept { return of(TimeoutSeconds{}); }

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

// A state without a row in the table would have no timeout at all.
static_assert([] {
    const auto all = [](const auto& ms) {
        for (const std::uint32_t t : ms)
            if (t == 0) return false;
        return true;
    };
    const Timeouts t = Timeouts::linux_profile();
    return all(t.tcp_ms) && all(t.sctp_ms) && all(t.dccp_ms);
}());

}  // namespace postern
