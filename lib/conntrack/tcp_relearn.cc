// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/tcp_relearn.h"

#include <algorithm>

#include "conntrack/tcp_window.h"

namespace postern {
namespace {

constexpr std::uint8_t kAnew = tcp_side::seen_anew | tcp_side::fin_anew;
/// The largest window that the protocol allows (RFC 7323 section 2.3).
constexpr std::uint32_t kMaxWindow = 0xffffu << 14;

std::uint8_t without(std::uint8_t flags, std::uint8_t bits) noexcept {
    return static_cast<std::uint8_t>(flags & ~bits);
}

/// The distance within which two segments agree: what a side may have in flight.
std::uint32_t reach_of(TcpSideRef offered_by) noexcept {
    return std::clamp(offered_by.max_win, kTcpMinAckWindow, kMaxWindow);
}

/// The lowest number seen of a learning side.
std::uint32_t& first_of(TcpSideRef side) noexcept {
    return side.max_end;
}

/// Whether the segment agrees with what is known of both sides.
bool agrees(TcpSideRef sender, TcpSideRef receiver, const TcpSegment& s,
            std::uint32_t end) noexcept {
    const std::uint32_t sent = reach_of(receiver), acked = reach_of(sender);
    if (seq_after(s.seq, sender.end + sent) || !seq_after(end, sender.end - sent - 1)) return false;
    // What the receiver has sent is known, except for the byte before a keep-alive. Or the sender
    // alone has said so, and may have received more since.
    const std::uint32_t most = receiver.end + (receiver.has(tcp_side::seen_anew) ? 1 : acked);
    return !seq_after(s.ack, most) && seq_after(s.ack, receiver.end - acked - 1);
}

/// Whether a side has acknowledged a number that the other one was seen to send. (What it has
/// acknowledged is never beyond the other one's end.)
bool acknowledges(TcpSideRef side, TcpSideRef other) noexcept {
    return other.has(tcp_side::seen_anew) && !seq_before(side.max_ack, first_of(other));
}

}  // namespace

void tcp_begin_learning(Conn& conn) noexcept {
    conn.learning = 1;
    for (std::uint8_t& flags : conn.tcp_flags)
        flags = without(flags, kAnew);
    conn.forbid_shortcuts();
}

Learning tcp_relearn(Conn& conn, unsigned d, const TcpSegment& s, std::uint32_t end,
                     unsigned& fins) noexcept {
    TcpSideRef sender = conn.tcp_side(d), receiver = conn.tcp_side(1 - d);
    Learning result = Learning::consistent;
    // A selective acknowledgement of bytes beyond the window would be none.
    const bool selective = receiver.has(tcp_side::sack) && s.sack - s.ack <= reach_of(sender);
    const std::uint32_t sack = selective ? s.sack : s.ack;
    sender.max_win = std::max({sender.max_win, std::uint32_t{s.win} << sender.scale(), 1u});

    if (!agrees(sender, receiver, s, end)) {
        result = Learning::restarted;
        sender.end = end;
        receiver.end = sack;
        for (TcpSideRef* side : {&sender, &receiver}) {
            side->flags = without(side->flags, kAnew | tcp_side::max_ack_set);
            side->marks = without(side->marks, tcp_mark::data_unacked);
        }
    }
    fins = 0;
    for (unsigned side = 0; side < 2; ++side)
        if ((conn.tcp_flags[side] & tcp_side::fin_anew) != 0) fins |= 1u << side;

    const bool first = !sender.has(tcp_side::seen_anew);
    if (first || seq_before(s.seq, first_of(sender))) first_of(sender) = s.seq;
    if (seq_after(end, sender.end)) sender.end = end;
    if (first || !sender.has(tcp_side::max_ack_set) || seq_after(s.ack, sender.max_ack))
        sender.max_ack = s.ack;
    if (seq_after(sack, receiver.end)) receiver.end = sack;
    sender.flags |= tcp_side::seen_anew | tcp_side::max_ack_set;
    if ((s.flags & tcp_flag::fin) != 0) sender.flags |= tcp_side::fin_anew;
    const bool acked = receiver.has(tcp_side::max_ack_set) && !seq_after(end, receiver.max_ack);
    if (end != s.seq && !acked) sender.marks |= tcp_mark::data_unacked;
    if (s.ack == receiver.end) receiver.marks = without(receiver.marks, tcp_mark::data_unacked);

    if (!acknowledges(sender, receiver) || !acknowledges(receiver, sender)) return result;
    // Neither end offers more than the largest window beyond what the other one has sent.
    sender.max_end = sender.end + std::min(receiver.max_win, kMaxWindow);
    receiver.max_end = receiver.end + std::min(sender.max_win, kMaxWindow);
    for (std::uint8_t& flags : conn.tcp_flags)
        flags = without(flags, kAnew) | tcp_side::unseen;
    conn.learning = 0;
    return Learning::complete;
}

bool tcp_was_seen(const Conn& conn, unsigned d, std::uint32_t seq) noexcept {
    const TcpNear::Side& side = conn.tcp_near.side[d];
    return (conn.tcp_flags[d] & tcp_side::seen_anew) != 0 && !seq_before(seq, side.max_end - 1) &&
           !seq_after(seq, side.end);
}

}  // namespace postern
