// SPDX-License-Identifier: BSD-3-Clause
// What the trackers keep of a connection, field by field, for saved connections.
#pragma once

#include "base/field.h"
#include "conntrack/conn.h"
#include "net/options.h"

namespace postern {

inline constexpr Field kTcpSideFields[] = {
    POSTERN_FIELD(TcpSide, end),
    POSTERN_FIELD(TcpSide, max_end),
    POSTERN_FIELD(TcpSide, max_win),
    POSTERN_FIELD(TcpSide, max_ack),
    POSTERN_FIELD(TcpSide, scale, kMaxWindowScale),
    POSTERN_FIELD(TcpSide, flags),
};
inline constexpr Field kTcpLastFields[] = {
    POSTERN_FIELD(TcpLast, seq),
    POSTERN_FIELD(TcpLast, ack),
    POSTERN_FIELD(TcpLast, end),
    POSTERN_FIELD(TcpLast, win),
    POSTERN_FIELD(TcpLast, dir, 1),
    POSTERN_FIELD(TcpLast, kind, kTcpKinds - 1),
    POSTERN_FIELD(TcpLast, scale, kMaxWindowScale),
    POSTERN_FIELD(TcpLast, flags),
    POSTERN_FIELD(TcpLast, retransmits),
};
inline constexpr Field kSctpFields[] = {
    POSTERN_FIELD(SctpTrack, tag),
    POSTERN_FIELD(SctpTrack, init),
    POSTERN_FIELD(SctpTrack, strange_heartbeat),
    POSTERN_FIELD(SctpTrack, strange_heartbeat_of, 1),
};
inline constexpr Field kDccpFields[] = {
    POSTERN_FIELD(DccpTrack, response_seq),
    POSTERN_FIELD(DccpTrack, client, 1),
    POSTERN_FIELD(DccpTrack, last_dir, 1),
    POSTERN_FIELD(DccpTrack, last_type),
};
static_assert(describes<TcpSide>(kTcpSideFields) && describes<TcpLast>(kTcpLastFields) &&
              describes<SctpTrack>(kSctpFields) && describes<DccpTrack>(kDccpFields));

/// What `conn` is tracked by beside its TCP sides, and its table; nothing for protocols without a
/// state machine.
struct TrackerPart {
    std::span<std::uint8_t> bytes;
    std::span<const Field> fields;
};
template <class T>
std::span<std::uint8_t> bytes_of(T& object) noexcept {
    return {reinterpret_cast<std::uint8_t*>(&object), sizeof object};
}
inline TrackerPart tracker_part(Conn& conn) noexcept {
    switch (conn.protocol()) {
        case proto::tcp: return {bytes_of(conn.tcp_last), kTcpLastFields};
        case proto::sctp: return {bytes_of(conn.sctp), kSctpFields};
        case proto::dccp: return {bytes_of(conn.dccp), kDccpFields};
        default: return {};
    }
}

}  // namespace postern
