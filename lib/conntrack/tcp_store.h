// SPDX-License-Identifier: BSD-3-Clause
// A connection's TCP part, and its layout: the first line of memory has everything that the next
// segment in order needs and changes, the third line the rest.
//
// The last segment is represented in one of three ways. One on the slow path is in TcpLast,
// exactly. One on the fast path has left a flag only (`brief`). When the next one takes the slow
// path, recall_last() turns that flag into a TcpLast that is `vague`, until a plain ACK replaces
// it.
//
// Used by: conn.h contains the parts; tcp_track() works on them in place, tcp_in_order() on the
// first alone.
#pragma once

#include <cstdint>

#include "base/types.h"

namespace postern {

/// Kind of a segment by its flags: the first of RST, SYN, FIN, ACK that is set.
enum class TcpKind : std::uint8_t {
    syn,
    syn_ack,
    fin,
    ack,
    rst,
    none,
    kCount
};
inline constexpr unsigned kTcpKinds = static_cast<unsigned>(TcpKind::kCount);
constexpr unsigned index(TcpKind kind) noexcept {
    return static_cast<unsigned>(kind);
}

/// Bits of a side: Conn::tcp_flags.
namespace tcp_side {
inline constexpr std::uint8_t window_scale = 0x01,  ///< offered the option
    sack = 0x02,                                    ///< offered SACK
    close_init = 0x04,                              ///< was the first to send a FIN
    liberal = 0x08,                                 ///< out-of-window segments are let through
    unseen = 0x10,  ///< restored: it may have sent more than was seen, within its max_end
    max_ack_set = 0x20,
                              // While its connection learns its numbers, see tcp_relearn.h:
    seen_anew = 0x40,  ///< a segment was seen, by which it is known
    fin_anew = 0x80;   ///< and its FIN
}  // namespace tcp_side

/// Those that nearly every segment needs: TcpMarks::of.
namespace tcp_mark {
inline constexpr std::uint8_t scale = 0x0f,  ///< its window scale
    data_unacked = 0x10,                     ///< it has sent data that is not acknowledged yet
    latest = 0x20,                           ///< it is TcpLast::dir
    brief = 0x40;  ///< and its last segment took the fast path, so TcpLast does not contain it
}  // namespace tcp_mark

/// The last relevant segment: to detect retransmissions, and to resynchronise after segments that
/// were let through without effect.
struct TcpLast {
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint32_t end = 0;
    std::uint16_t win = 0;
    std::uint8_t dir = 0;
    TcpKind kind = TcpKind::syn;
    std::uint8_t scale = 0;
    std::uint8_t flags = 0;  ///< of an ignored SYN, of tcp_side; and two that tcp.cc has
    std::uint8_t retransmits = 0;
    bool vague = false;  ///< neither `seq` nor `win` are known
};
static_assert(sizeof(TcpLast) == 20);

/// For nearly every segment, by Direction of its sender.
struct TcpNear {
    struct Side {
        std::uint32_t end;      ///< highest sequence number sent, plus one
        std::uint32_t max_end;  ///< highest number allowed by the other side's window, plus one;
                                ///< while the connection learns: the lowest number seen
        std::uint32_t max_ack;  ///< highest acknowledgement it sent
    };
    Side side[2];
    /// A segment whose window field is 1 to this does not change TcpFar::max_win. 0: no segment may
    /// take the fast path. With another value the connection is called steady.
    std::uint16_t cover[2];
};
static_assert(sizeof(TcpNear) == 28);

struct TcpMarks {
    std::uint8_t of[2];  ///< of tcp_mark
};

/// Needed by other segments in addition.
struct TcpFar {
    std::uint32_t max_win[2];  ///< largest window offered, scaled; 0: no segment of the side seen
    TcpLast last;
};
static_assert(sizeof(TcpFar) == 28);

/// One side, from its separate parts: references, so a copy does not copy them.
struct TcpSideRef {
    std::uint32_t &end, &max_end, &max_ack, &max_win;
    std::uint8_t& marks;
    std::uint8_t& flags;

    unsigned scale() const noexcept { return marks & tcp_mark::scale; }
    /// At most 14 (RFC 7323 section 2.3).
    void set_scale(unsigned scale) noexcept {
        marks = static_cast<std::uint8_t>((marks & ~tcp_mark::scale) | scale);
    }
    bool has(std::uint8_t flag) const noexcept { return (flags & flag) != 0; }
    /// Resets it to its initial state, except for the flags `kept`.
    void forget(std::uint8_t kept) noexcept {
        end = max_end = max_ack = max_win = 0;
        marks &= tcp_mark::latest;
        flags &= kept;
    }
};

}  // namespace postern
