// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/sloppy.h"

#include "conntrack/packet_types.h"

namespace postern {

std::optional<TcpState> sloppy_tcp(TcpState state, Direction dir, std::uint8_t flags, bool one_way,
                                   FinsSeen& fins) noexcept {
    const bool over =
        state == TcpState::fin_wait || state == TcpState::time_wait || state == TcpState::close;
    if ((flags & tcp_flag::rst) != 0) return TcpState::close;
    if ((flags & tcp_flag::syn) != 0) {
        const bool answer = (flags & tcp_flag::ack) != 0;
        // The ports are reused. A half-closed connection belongs to the side that opened it; a side
        // that answers with a SYN+ACK opens the direction that is seen.
        if (over && (answer ? one_way && dir == Direction::original
                            : dir == Direction::original || state != TcpState::fin_wait))
            return std::nullopt;
        if (state == TcpState::none || state == TcpState::syn_sent)
            return answer ? TcpState::syn_recv : TcpState::syn_sent;
        return state;
    }
    if ((flags & tcp_flag::fin) != 0) {
        fins |= static_cast<FinsSeen>(1u << index(dir));
        return state == TcpState::close ? state
               : fins == 3              ? TcpState::time_wait
                                        : TcpState::fin_wait;
    }
    return over ? state : TcpState::established;
}

std::optional<SctpState> sloppy_sctp(SctpState state, Direction dir, Bytes packet) noexcept {
    constexpr std::size_t kChunk = 12;
    const bool over = state == SctpState::closed;
    const bool closing =
        over || (state >= SctpState::shutdown_sent && state <= SctpState::shutdown_ack_sent);
    if (packet.size() <= kChunk) return state == SctpState::none ? SctpState::closed : state;
    switch (packet[kChunk]) {
        case sctp_chunk::init:
            if (state == SctpState::none) return SctpState::closed;
            if (closing) return std::nullopt;
            return state;
        case sctp_chunk::init_ack:
            return state <= SctpState::closed ? SctpState::cookie_wait : state;
        case sctp_chunk::cookie_echo:
            return state <= SctpState::cookie_wait ? SctpState::cookie_echoed : state;
        case sctp_chunk::abort:
        case sctp_chunk::shutdown_complete: return SctpState::closed;
        case sctp_chunk::shutdown:
            return dir == Direction::original ? SctpState::shutdown_sent : SctpState::shutdown_recd;
        case sctp_chunk::shutdown_ack: return SctpState::shutdown_ack_sent;
        default: return closing ? state : SctpState::established;
    }
}

std::optional<DccpState> sloppy_dccp(DccpState state, Direction, Bytes packet) noexcept {
    using namespace dccp_type;
    const auto type = static_cast<std::uint8_t>(packet[8] >> 1 & 0x0f);
    const bool closing = state >= DccpState::closereq;
    switch (type) {
        case kRequest:
            if (closing) return std::nullopt;
            return state == DccpState::none ? DccpState::request : state;
        case kResponse: return state <= DccpState::request ? DccpState::respond : state;
        case kData:
        case kAck:
        case kDataAck: return closing ? state : DccpState::open;
        case kCloseReq: return state == DccpState::timewait ? state : DccpState::closereq;
        case kClose: return state == DccpState::timewait ? state : DccpState::closing;
        case kReset: return DccpState::timewait;
        default: return state == DccpState::none ? DccpState::open : state;
    }
}

}  // namespace postern
