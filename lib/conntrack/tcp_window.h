// SPDX-License-Identifier: BSD-3-Clause
// State updates by a segment within its windows, and the fast path for the most frequent segment:
// the next one, of an established connection.
//
// Used by tcp.cc for every segment, and by track.cc before any state is read: tcp_track() would
// accept a segment that tcp_in_order() accepts, with the same result (test/unit/tcp_test.cc
// compares the two).
#pragma once

#include <algorithm>
#include <cstdint>

#include "conntrack/conn.h"
#include "conntrack/tcp.h"
#include "net/packet.h"

namespace postern {

/// How far behind an acknowledgement may be: at least this value, or the sender's largest window.
inline constexpr std::uint32_t kTcpMinAckWindow = 66000;
/// Windows grow beyond this only by a peer's intent: its packets take the slow path.
inline constexpr std::uint32_t kTcpSaneWindow = 0x4fffffff;

/// A segment's position: from `seq` to before `end`, acknowledging up to `ack`, selectively up to
/// `sack`; `win` is its window as in the header.
struct TcpReach {
    std::uint32_t seq, end, ack, sack;
    std::uint32_t win;
    bool has_ack;
    bool scaled;  ///< the window of a SYN is not (RFC 7323 section 2.2)
};

/// Updates both sides by a segment that is within its windows.
inline void tcp_learn(TcpSideRef sender, TcpSideRef receiver, const TcpReach& s) noexcept {
    const std::uint32_t win = s.scaled ? s.win << sender.scale() : s.win;
    sender.max_win = std::max(sender.max_win, win + (s.sack - s.ack));
    if (seq_after(s.end, sender.end)) {
        sender.end = s.end;
        sender.marks |= tcp_mark::data_unacked;
    }
    if (s.has_ack) {
        // Both are equally likely, with and without a new acknowledgement: no branch on that.
        const bool first = !sender.has(tcp_side::max_ack_set);
        const auto ahead = static_cast<std::int32_t>(s.ack - sender.max_ack);
        sender.max_ack =
            first ? s.ack : sender.max_ack + static_cast<std::uint32_t>(ahead > 0 ? ahead : 0);
        sender.flags |= tcp_side::max_ack_set;
    }
    if (receiver.max_win != 0 && seq_after(s.end, sender.max_end))
        receiver.max_win += s.end - sender.max_end;
    // At least up to its position; with a window of zero a probe of one byte is allowed.
    const std::uint32_t allowed = s.sack + win;
    const bool wider = seq_after(allowed, receiver.max_end - 1);
    receiver.max_end = wider ? allowed + (win == 0 ? 1 : 0) : receiver.max_end;
    // Nor a branch on whether everything is acknowledged.
    const unsigned acked = s.ack == receiver.end ? tcp_mark::data_unacked : 0u;
    receiver.marks &= static_cast<std::uint8_t>(~acked);
}

/// Stores a plain ACK, or counts it as a repetition. For a vague last one, the end and the
/// acknowledgement decide: a segment that repeats these two is the same, or a window update.
inline void tcp_remember(TcpLast& last, Direction dir, const TcpReach& s) noexcept {
    const auto win = static_cast<std::uint16_t>(s.win);
    const bool same_place = last.end == s.end && last.ack == s.ack && last.dir == index(dir);
    if (same_place && (last.vague || (last.seq == s.seq && last.win == win))) {
        if (last.retransmits != 0xff) ++last.retransmits;
        if (!last.vague) return;
    } else {
        last.retransmits = 0;
    }
    last.seq = s.seq;
    last.ack = s.ack;
    last.end = s.end;
    last.win = win;
    last.dir = static_cast<std::uint8_t>(index(dir));
    last.vague = false;
}

/// The timeout after an accepted segment.
inline TcpTimeout tcp_timeout(Conn& conn, TcpKind kind, const TcpOptions& options) noexcept {
    if (conn.tcp_far.last.retransmits >= options.max_retransmits) return TcpTimeout::retransmitted;
    if (kind == TcpKind::rst) return TcpTimeout::close;
    if (conn.tcp_data_unacked()) return TcpTimeout::unacknowledged;
    return conn.tcp_far.last.win == 0 ? TcpTimeout::retransmitted : TcpTimeout::by_state;
}

/// Whether tcp_in_order() may be called for a side: a segment of it was seen, and no single segment
/// can make its window too large for serial arithmetic.
inline bool tcp_known(TcpSideRef side) noexcept {
    return side.max_win - 1 < kTcpSaneWindow && side.has(tcp_side::max_ack_set);
}

/// A segment of a connection that is assured. True when it is a plain ACK that begins where the
/// last one of its side ended, lies within the windows and is no repetition: then it is accepted,
/// the state stays, and `unacked` says whether any data waits to be acknowledged. Otherwise false,
/// and nothing has changed.
///
/// `cover`, set by tcp_track(), summarises conditions that few segments change: the state is
/// established, both sides are known. The updates here preserve them: no window is larger than the
/// largest before.
[[gnu::always_inline]] inline bool tcp_in_order(TcpNear& t, TcpMarks& marks, Direction dir,
                                                const TcpSegment& s, bool& unacked) noexcept {
    constexpr std::uint8_t kNaming = tcp_flag::rst | tcp_flag::syn | tcp_flag::fin | tcp_flag::ack;
    const unsigned d = index(dir), peer = 1 - d;
    TcpNear::Side& sender = t.side[d];
    TcpNear::Side& receiver = t.side[peer];
    const std::uint32_t end = s.seq + s.payload_len;
    const std::uint32_t behind = receiver.end - s.ack;
    const auto ahead = static_cast<std::int32_t>(s.ack - sender.max_ack);
    const unsigned scale = marks.of[d] & tcp_mark::scale;
    // Without data it may repeat the last one, unless that was the other side's: then it has to
    // acknowledge something new.
    const bool may_repeat = s.payload_len == 0 && (marks.of[peer] & tcp_mark::latest) == 0;
    // A window of zero is not covered either.
    if ((s.flags & kNaming) != tcp_flag::ack || s.options != 0 || s.win - 1u >= t.cover[d] ||
        s.seq != sender.end || seq_after(end, sender.max_end) || ahead < int{may_repeat})
        return false;
    if (behind > kTcpMinAckWindow && behind > std::uint32_t{t.cover[d]} << scale) return false;

    // The update of tcp_learn(), and a flag in place of tcp_remember(). Both outcomes of these are
    // equally likely, hence without branches: the segment has data; acknowledges everything.
    sender.end = end;
    sender.max_ack = s.ack;
    const std::uint32_t allowed = s.ack + (std::uint32_t{s.win} << scale);
    receiver.max_end = seq_after(allowed, receiver.max_end) ? allowed : receiver.max_end;
    const unsigned sent = s.payload_len != 0 ? tcp_mark::data_unacked : 0u;
    const unsigned acked = behind == 0 ? tcp_mark::data_unacked : 0u;
    constexpr unsigned kLastMarks = tcp_mark::latest | tcp_mark::brief;
    const unsigned ours = marks.of[d] | sent | kLastMarks;
    const unsigned theirs = marks.of[peer] & ~(acked | kLastMarks);
    marks.of[d] = static_cast<std::uint8_t>(ours);
    marks.of[peer] = static_cast<std::uint8_t>(theirs);
    unacked = ((ours | theirs) & tcp_mark::data_unacked) != 0;
    return true;
}

}  // namespace postern
