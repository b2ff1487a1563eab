// SPDX-License-Identifier: BSD-3-Clause
// How long a silent connection is kept, by protocol and state. Milliseconds. Immutable on workers.
#pragma once

#include <array>
#include <cstdint>

#include "conntrack/tcp.h"

namespace postern {

struct Timeouts {
    std::array<std::uint32_t, kTcpStates> tcp_ms{};
    std::uint32_t tcp_retransmitted_ms = 300'000;
    std::uint32_t tcp_unacknowledged_ms = 300'000;
    std::uint32_t udp_ms[2] = {30'000, 120'000};  ///< unreplied, stream
    std::uint32_t gre_ms[2] = {30'000, 180'000};  ///< unreplied, stream
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
        return t;
    }

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
