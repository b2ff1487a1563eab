// SPDX-License-Identifier: BSD-3-Clause
// The trackers' state of a connection, field by field, for saved connections.
#pragma once

#include "base/field.h"
#include "conntrack/conn.h"
#include "net/options.h"

namespace postern {

/// One side of TCP, contiguous.
struct TcpSideImage {
    std::uint32_t end = 0, max_end = 0, max_ack = 0, max_win = 0;
    std::uint8_t scale = 0;
    std::uint8_t flags = 0;  ///< of tcp_side, and tcp_mark::data_unacked
};
inline constexpr Field kTcpSideFields[] = {
    POSTERN_FIELD(TcpSideImage, end),
    POSTERN_FIELD(TcpSideImage, max_end),
    POSTERN_FIELD(TcpSideImage, max_ack),
    POSTERN_FIELD(TcpSideImage, max_win),
    POSTERN_FIELD(TcpSideImage, scale, kMaxWindowScale),
    POSTERN_FIELD(TcpSideImage, flags),
};
static_assert((tcp_mark::data_unacked &
               (tcp_side::window_scale | tcp_side::sack | tcp_side::close_init | tcp_side::liberal |
                tcp_side::max_ack_set)) == 0);
inline TcpSideImage image_of(TcpSideRef side) noexcept {
    return {side.end,
            side.max_end,
            side.max_ack,
            side.max_win,
            static_cast<std::uint8_t>(side.scale()),
            static_cast<std::uint8_t>(side.flags | (side.marks & tcp_mark::data_unacked))};
}
/// The last segment is TcpLast, so neither flag of it is set here; the caller calls mark_latest().
inline void put_image(TcpSideRef side, const TcpSideImage& image) noexcept {
    side.end = image.end;
    side.max_end = image.max_end;
    side.max_ack = image.max_ack;
    side.max_win = image.max_win;
    side.marks = static_cast<std::uint8_t>(image.scale | (image.flags & tcp_mark::data_unacked));
    side.flags = static_cast<std::uint8_t>(image.flags & ~tcp_mark::data_unacked);
}
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
    POSTERN_FIELD(SctpTrack, offered),
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
static_assert(describes<TcpSideImage>(kTcpSideFields) && describes<TcpLast>(kTcpLastFields) &&
              describes<SctpTrack>(kSctpFields) && describes<DccpTrack>(kDccpFields));

/// The tracker's state of `conn` besides its TCP sides, and its table; nothing for protocols
/// without a state machine.
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
        case proto::tcp: return {bytes_of(conn.tcp_far.last), kTcpLastFields};
        case proto::sctp: return {bytes_of(conn.sctp), kSctpFields};
        case proto::dccp: return {bytes_of(conn.dccp), kDccpFields};
        default: return {};
    }
}

}  // namespace postern
