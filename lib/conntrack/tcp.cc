// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/tcp.h"

#include <algorithm>

#include "conntrack/tcp_relearn.h"
#include "conntrack/tcp_window.h"
#include "conntrack/track_parts.h"

namespace postern {
namespace {

constexpr auto kSyn = TcpKind::syn, kSynAck = TcpKind::syn_ack, kFin = TcpKind::fin,
               kAck = TcpKind::ack, kRst = TcpKind::rst, kNone = TcpKind::none;
constexpr TcpKind kind_of(std::uint8_t flags) noexcept {
    if (flags & tcp_flag::rst) return kRst;
    if (flags & tcp_flag::syn) return flags & tcp_flag::ack ? kSynAck : kSyn;
    if (flags & tcp_flag::fin) return kFin;
    return flags & tcp_flag::ack ? kAck : kNone;
}

// Special values of the table's entries:
constexpr auto kInvalid = TcpState::kCount;          // the segment is impossible
constexpr auto kIgnore = static_cast<TcpState>(11);  // let it through; the state stays

using Row = std::array<TcpState, kTcpStates>;
using Table = std::array<std::array<Row, kTcpKinds>, 2>;

// next[direction][kind][state]. Columns:
// none, syn_sent, syn_recv, established, fin_wait, close_wait, last_ack, time_wait, close,
// syn_sent2
constexpr Table kNext = [] {
    constexpr auto SS = TcpState::syn_sent, SR = TcpState::syn_recv, ES = TcpState::established,
                   FW = TcpState::fin_wait, CW = TcpState::close_wait, LA = TcpState::last_ack,
                   TW = TcpState::time_wait, CL = TcpState::close, S2 = TcpState::syn_sent2,
                   XX = kInvalid, IG = kIgnore;
    return Table{{
        {{
            // From the side that opened.
            /* SYN     */ {SS, SS, IG, IG, IG, IG, IG, SS, SS, S2},  // a repeat, or a reopening
            /* SYN+ACK */ {XX, XX, SR, XX, XX, XX, XX, XX, XX, SR},  // only in a simultaneous open
            /* FIN     */ {XX, XX, FW, FW, LA, LA, LA, TW, CL, XX},
            /* ACK     */ {ES, XX, ES, ES, CW, CW, TW, TW, CL, XX},  // from none: mid-stream
            /* RST     */ {XX, CL, CL, CL, CL, CL, CL, CL, CL, CL},
            /* none    */ {XX, XX, XX, XX, XX, XX, XX, XX, XX, XX},
        }},
        {{
            // From the side that answered.
            /* SYN     */ {XX, S2, XX, XX, XX, XX, XX, SS, XX, S2},
            /* SYN+ACK */ {XX, SR, IG, IG, IG, IG, IG, IG, IG, SR},
            /* FIN     */ {XX, XX, FW, FW, LA, LA, LA, TW, CL, XX},
            /* ACK     */ {XX, IG, SR, ES, CW, CW, TW, TW, CL, IG},
            /* RST     */ {XX, CL, CL, CL, CL, CL, CL, CL, CL, CL},
            /* none    */ {XX, XX, XX, XX, XX, XX, XX, XX, XX, XX},
        }},
    }};
}();

// TcpLast::flags, besides those of tcp_side.
constexpr std::uint8_t kExpectChallengeAck = 0x40, kSimultaneousOpen = 0x80;

std::uint32_t end_of(const TcpSegment& s) noexcept {
    return s.seq + s.payload_len + ((s.flags & tcp_flag::syn) != 0 ? 1 : 0) +
           ((s.flags & tcp_flag::fin) != 0 ? 1 : 0);
}

/// Offers of a SYN with these TcpSegment::options, in bits of tcp_side.
std::uint8_t offers_of(std::uint8_t options) noexcept {
    return static_cast<std::uint8_t>(
        (options & tcp_offer::window_scale ? tcp_side::window_scale : 0) |
        (options & tcp_offer::sack ? tcp_side::sack : 0));
}
/// Takes a side's offers from its SYN. One without options changes nothing.
void take_offers(bool has_options, std::uint8_t options, TcpSideRef side) noexcept {
    if (!has_options) return;
    side.set_scale(options & tcp_offer::scale);
    side.marks &= static_cast<std::uint8_t>(~tcp_mark::data_unacked);
    side.flags = static_cast<std::uint8_t>((side.flags & tcp_side::liberal) | offers_of(options));
}

/// A side's first SYN, or a fresh one that replaces it. Values, not the segment and references:
/// their addresses would keep them out of registers in the caller.
[[gnu::noinline]] void start_side(Conn& conn, Direction dir, std::uint32_t end, std::uint16_t win,
                                  bool has_options, std::uint8_t options) noexcept {
    TcpSideRef sender = conn.tcp_side(index(dir));
    sender.end = sender.max_end = end;
    sender.max_win = win != 0 ? win : 1u;
    take_offers(has_options, options, sender);
    TcpSideRef receiver = conn.tcp_side(index(!dir));
    // RFC 7323 section 2.2: scaling holds only if both sides offer it.
    if (dir == Direction::reply && !(sender.flags & receiver.flags & tcp_side::window_scale)) {
        sender.set_scale(0);
        receiver.set_scale(0);
    }
}

enum class Window : std::uint8_t {
    in,
    duplicate,
    beyond,  ///< begins beyond what its receiver allows
    unsent   ///< acknowledges what nobody sent
};

/// The four bounds of van Rooij's paper, and the state updates by a segment within them.
[[gnu::always_inline]] inline Window check_window(Conn& conn, TcpState state, Direction dir,
                                                  TcpKind kind, const TcpSegment& s,
                                                  const TcpOptions& options) noexcept {
    TcpSideRef sender = conn.tcp_side(index(dir));
    TcpSideRef receiver = conn.tcp_side(index(!dir));
    const bool syn = s.flags & tcp_flag::syn, has_ack = s.flags & tcp_flag::ack;
    std::uint32_t seq = s.seq, end = end_of(s), ack = s.ack;
    std::uint32_t sack = receiver.has(tcp_side::sack) ? s.sack : ack;
    std::uint32_t win = s.win;

    if (sender.max_win == 0) {
        if (syn) {
            start_side(conn, dir, end, s.win, s.has_options, s.options);
            if (!has_ack) return Window::in;  // simultaneous open: nothing to compare with yet
        } else {
            // In mid-stream: the segment's values are accepted.
            sender.end = end;
            const std::uint32_t scaled = win << sender.scale();
            sender.max_win = scaled != 0 ? scaled : 1;
            sender.max_end = end + sender.max_win;
            if (receiver.max_win == 0)
                receiver.end = receiver.max_end = sack;
            else if (sack == receiver.end + 1)
                ++receiver.end;  // the answer to an unseen keep-alive
        }
    } else if (syn && seq_after(end, sender.end) &&
               (state == TcpState::syn_sent || state == TcpState::syn_recv)) {
        // RFC 9293 section 3.4.1: a restarted side uses a larger initial sequence number.
        start_side(conn, dir, end, s.win, s.has_options, s.options);
        if (dir == Direction::reply && !has_ack) return Window::in;
    }

    // Without an acknowledgement, or with the zero one of some stacks' resets: assume a valid one.
    if (!has_ack || (kind == kRst && ack == 0)) ack = sack = receiver.end;
    // A reset that answers a SYN has no sequence number of its own.
    if (kind == kRst && seq == 0 && state == TcpState::syn_sent) seq = end = sender.end;

    const bool liberal = options.liberal || sender.has(tcp_side::liberal);
    const std::uint32_t ack_window = std::max(sender.max_win, kTcpMinAckWindow);
    const bool ends_in_window =
        receiver.max_win == 0 || seq_after(end, sender.end - receiver.max_win - 1);
    const bool ack_not_old = seq_after(sack, receiver.end - ack_window - 1);

    if (!seq_before(seq, sender.max_end + 1)) {  // I: starts beyond what the receiver allows
        // A sender that overshoots a little: let it through and store that, so that the
        // acknowledgement will not appear impossible.
        if (receiver.max_win != 0 && ends_in_window && ack_not_old &&
            end - sender.max_end + 1 <= receiver.max_win && seq_before(sack, receiver.end + 1)) {
            sender.end = end;
            sender.marks |= tcp_mark::data_unacked;
            return liberal ? Window::in : Window::duplicate;
        }
        return liberal ? Window::in : Window::beyond;
    }
    // III: acknowledges bytes that were not sent; or that were allowed, and passed unseen before
    // the connection was restored.
    if (!seq_before(sack, receiver.end + 1)) {
        if (!receiver.has(tcp_side::unseen) || !ends_in_window || seq_after(sack, receiver.max_end))
            return liberal ? Window::in : Window::unsent;
        receiver.end = sack;
    }
    // II: entirely before the window: an old duplicate.
    if (!ends_in_window) return liberal ? Window::in : Window::duplicate;
    // IV: an old acknowledgement.
    if (!ack_not_old) return liberal ? Window::in : Window::duplicate;

    const TcpReach reach{seq, end, ack, sack, win, has_ack, !syn};
    tcp_learn(sender, receiver, reach);
    if (kind == kAck) tcp_remember(conn.tcp_far.last, dir, reach);
    return Window::in;
}

/// Whether a connection may begin in this state.
constexpr bool may_lead_to(TcpState first, const TcpOptions& options) noexcept {
    return first == TcpState::syn_sent || (first != kInvalid && options.loose);
}

/// Whether a side has begun to close.
constexpr bool is_closing(TcpState s) noexcept {
    return s >= TcpState::fin_wait && s <= TcpState::close;
}

}  // namespace

bool tcp_may_start(std::uint8_t flags, const TcpOptions& options) noexcept {
    return may_lead_to(kNext[0][index(kind_of(flags))][static_cast<unsigned>(TcpState::none)],
                       options);
}

namespace {

/// tcp_start_into(), for both of its callers.
[[gnu::always_inline]] inline void start_with(TcpResult& r, Conn& conn, const TcpSegment& s,
                                              const TcpOptions& options) noexcept {
    r.state = kNext[0][index(kind_of(s.flags))][static_cast<unsigned>(TcpState::none)];
    conn.tcp_near = {};
    conn.tcp_marks = {};
    conn.tcp_far = {};
    conn.tcp_flags[0] = conn.tcp_flags[1] = 0;
    if (!may_lead_to(r.state, options)) {
        r.action = TcpAction::invalid;
        return;
    }
    TcpSideRef sender = conn.tcp_side(0);
    sender.end = end_of(s);
    sender.max_win = s.win != 0 ? s.win : 1u;
    if (r.state == TcpState::syn_sent) {
        sender.max_end = sender.end;
        take_offers(s.has_options, s.options, sender);
    } else {
        // Mid-stream: scale and SACK are unknown, so windows cannot be enforced.
        sender.max_end = sender.end + sender.max_win;
        conn.tcp_flags[0] = conn.tcp_flags[1] = tcp_side::sack | tcp_side::liberal;
    }
    // Cannot fail, but updates the state.
    const TcpKind kind = kind_of(s.flags);
    check_window(conn, TcpState::none, Direction::original, kind, s, options);
    conn.tcp_far.last.kind = kind;
    conn.mark_latest();
}

/// The bits of `heeded` that apply to segments of this kind, after a segment that led to `next`;
/// `end` is its side's highest number.
constexpr std::uint8_t heeded_of(std::uint32_t end, TcpState next, TcpKind kind,
                                 const TcpSegment& s, std::uint8_t heeded) noexcept {
    switch (kind) {
        case kRst: return next == TcpState::close ? heeded & tcp_heed::reset : 0;
        case kSyn:
        case kSynAck:  // one with an earlier number is accepted, and moves nothing
            return end == end_of(s) ? (heeded & tcp_heed::renewed) | tcp_heed::syn : 0;
        default: return heeded;
    }
}

/// Whether the receiver discards a segment for an acknowledgement this far behind.
bool acks_too_old(Conn& conn, unsigned d, std::uint32_t ack) noexcept {
    const TcpSideRef sender = conn.tcp_side(d);
    if (!sender.has(tcp_side::max_ack_set)) return false;
    return seq_before(ack, sender.max_ack - std::max(sender.max_win, kTcpMinAckWindow));
}

/// A reset of a learning connection. It is believed with exactly the next number of its receiver,
/// by a segment of that side. Any other one passes, and leaves the connection as long as data that
/// is not acknowledged: it may be a real one.
void reset_learning(TcpResult& r, Conn& conn, TcpState state, unsigned d, bool seen_reply,
                    const TcpSegment& s) noexcept {
    const TcpSideRef peer = conn.tcp_side(1 - d);
    r.state = state;
    if (!peer.has(tcp_side::max_ack_set) || s.seq != peer.max_ack) {
        conn.tcp_side(d).marks |= tcp_mark::data_unacked;
        r.action = TcpAction::learn;
        r.timeout = TcpTimeout::unacknowledged;
        return;
    }
    conn.tcp_far.last.kind = kRst;
    conn.tcp_far.last.dir = static_cast<std::uint8_t>(d);
    r.action = seen_reply ? TcpAction::accept : TcpAction::end;
    r.state = TcpState::close;
    r.timeout = TcpTimeout::close;
    r.heeded = tcp_heed::reset;
}

/// A segment of a restored connection that learns its numbers. True: `r` is its result. False: it
/// is tracked like any other; `old` is its state then. FINs count once the numbers are known.
[[gnu::noinline]] bool track_learning(TcpResult& r, Conn& conn, TcpState& old, unsigned d,
                                      bool seen_reply, bool assured, TcpSegment s) noexcept {
    const TcpKind kind = kind_of(s.flags);
    const TcpState next = kNext[d][index(kind)][static_cast<unsigned>(old)];
    if (old == TcpState::syn_sent || old == TcpState::syn_sent2) {
        // The handshake went on unseen, so the other side's offers are unknown: policy decides
        // about it as about any connection in mid-stream. Only the opener can show that: a FIN of
        // the other side may be forged, and would end the opening.
        if (next != kInvalid || d != 0 || (kind != kAck && kind != kFin)) {
            // Nothing was missed.
            if (kind == kSynAck && s.ack == conn.tcp_near.side[1 - d].end) conn.learning = 0;
            return false;
        }
        r.action = TcpAction::reopen;
        return true;
    }
    if (next == kInvalid || kind == kSyn || kind == kSynAck) return false;
    if (kind == kRst) {
        if (is_closing(old)) return false;
        reset_learning(r, conn, old, d, seen_reply, s);
        return true;
    }
    r.state = old;
    r.heeded = tcp_heed::unknown;
    r.learning = Learning::consistent;
    unsigned fins = 0;
    if ((s.flags & tcp_flag::ack) != 0) r.learning = tcp_relearn(conn, d, s, end_of(s), fins);
    if (r.learning != Learning::complete) {
        r.action = TcpAction::learn;
        const bool waits = conn.tcp_data_unacked() || (old == TcpState::established && !assured);
        r.timeout = waits ? TcpTimeout::unacknowledged : TcpTimeout::by_state;
        return true;
    }
    for (unsigned side = 0; side < 2; ++side) {
        if ((fins >> side & 1) == 0) continue;
        const TcpState closing = kNext[side][index(kFin)][static_cast<unsigned>(old)];
        if (old != closing && closing == TcpState::fin_wait)
            conn.tcp_flags[side] |= tcp_side::close_init;
        old = closing;
    }
    conn.set_state(old);
    return false;
}

/// tcp_track() without the steps common to all its results.
[[gnu::always_inline]] inline void track_segment(TcpResult& r, Conn& conn, TcpState old,
                                                 Direction dir, bool seen_reply, bool assured,
                                                 const TcpSegment& s,
                                                 const TcpOptions& options) noexcept {
    const TcpKind kind = kind_of(s.flags);
    const auto d = static_cast<std::uint8_t>(index(dir));
    TcpLast& last = conn.tcp_far.last;
    if (conn.learning) [[unlikely]] {
        // Copies, so that what they are copies of stays in registers.
        TcpState learned = old;
        TcpResult result;
        const bool done = track_learning(result, conn, learned, d, seen_reply, assured, s);
        r = result;
        if (done) return;
        old = learned;
    }
    TcpState next = kNext[d][index(kind)][static_cast<unsigned>(old)];
    r.state = old;
    bool window_known = true;
    std::uint8_t heeded = options.liberal || conn.tcp_side(d).has(tcp_side::liberal)
                              ? tcp_heed::unknown
                              : tcp_heed::text;

    if (next == kInvalid) {
        r.action = TcpAction::invalid;
        return;
    }
    // A SYN after the end: a new connection on the old ports, if the old one was closed in order or
    // reset; else it may be a stray one, to be let through and stored.
    bool ignore = next == kIgnore;
    if (next == TcpState::syn_sent && old >= TcpState::time_wait) {
        const bool closed = ((conn.tcp_flags[0] | conn.tcp_flags[1]) & tcp_side::close_init) ||
                            (last.dir == d && last.kind == kRst);
        if (closed) {
            r.action = TcpAction::reopen;
            return;
        }
        ignore = true;
    }
    if (ignore && kind == kSynAck && last.kind == kSyn && last.dir != d && s.ack == last.end) {
        // It answers a SYN that was let through: the two ends decide.
        old = TcpState::syn_sent;
        next = TcpState::syn_recv;
        TcpSideRef opener = conn.tcp_side(last.dir);
        opener.end = opener.max_end = last.end;
        opener.max_win = last.win != 0 ? last.win : 1u;
        opener.marks = static_cast<std::uint8_t>((opener.marks & tcp_mark::latest) | last.scale);
        last.flags &= static_cast<std::uint8_t>(~kExpectChallengeAck);
        opener.flags = last.flags & (tcp_side::window_scale | tcp_side::sack);
        conn.tcp_side(d).forget(tcp_side::liberal);
        conn.learning = 0;
        conn.forbid_shortcuts();
        heeded |= tcp_heed::renewed;
    } else if (ignore) {
        last.kind = kind;
        last.dir = d;
        last.seq = s.seq;
        last.end = end_of(s);
        last.win = s.win;
        last.vague = false;
        if (kind == kSyn && dir == Direction::original) {
            last.scale = s.options & tcp_offer::scale;
            last.flags = offers_of(s.options);
            // RFC 5961 section 4: the answer may be an ACK that must not be stored as the last one.
            if (old == TcpState::last_ack) last.flags |= kExpectChallengeAck;
        }
        if (old == TcpState::syn_sent && kind == kAck && dir == Direction::reply) last.ack = s.ack;
        r.action = TcpAction::pass;
        return;
    }

    switch (next) {
        case TcpState::time_wait:
            if (old == TcpState::last_ack && kind == kAck && last.dir != d && last.kind == kSyn &&
                (last.flags & kExpectChallengeAck)) {
                last.flags &= static_cast<std::uint8_t>(~kExpectChallengeAck);
                r.action = TcpAction::pass;
                return;
            }
            break;
        case TcpState::syn_sent2: last.flags |= kSimultaneousOpen; break;
        case TcpState::syn_recv:
            if (dir == Direction::reply && kind == kAck && (last.flags & kSimultaneousOpen))
                next = TcpState::established;
            break;
        case TcpState::close: {
            if (kind != kRst) break;
            const TcpSideRef peer = conn.tcp_side(index(!dir));
            if (s.seq == peer.max_ack || s.seq == conn.tcp_near.side[d].end)
                heeded |= tcp_heed::reset;
            // A closing connection has nothing left to protect, and the ports may be reused
            // already.
            if (is_closing(old)) {
                window_known = false;
                break;
            }
            // A reset ends a connection only with exactly the next sequence number of its receiver
            // (RFC 5961 section 3.2). Near misses cause a challenge ACK, so they pass and change
            // nothing. After a SYN that was let through, that number is unknown.
            if (peer.has(tcp_side::max_ack_set) && last.kind != kSyn) {
                const bool established = old == TcpState::established && assured;
                if (s.seq == 0 && !established) break;
                if (seq_before(s.seq, peer.max_ack) && !options.ignore_bad_rst) {
                    r.action = TcpAction::invalid;
                    r.why = DropReason::tcp_rst_old;
                    return;
                }
                if (!established || s.seq == peer.max_ack) break;
                if (last.kind == kAck && last.dir == d && s.seq == last.end) break;
                next = old;
            }
            if (((seen_reply && last.kind == kSyn) || (!assured && last.kind == kAck)) &&
                last.dir != d && s.ack == last.end)
                window_known = false;  // it answers a segment that was let through without effect
            else if (old == TcpState::syn_sent && last.kind == kAck &&
                     last.dir == index(Direction::reply) && last.ack == s.seq)
                window_known = false;  // it answers a challenge ACK
            break;
        }
        default: break;
    }

    if (window_known) {
        const Window window = check_window(conn, old, dir, kind, s, options);
        switch (window) {
            case Window::in: break;
            case Window::duplicate:
                r.action = TcpAction::pass;
                // A forged segment that overshoots moves the values compared here, so that honest
                // ones look old. For helpers the receiver's own check applies (RFC 5961 section
                // 5.2); they skip earlier bytes by themselves.
                if ((kind == kAck || kind == kFin) && !acks_too_old(conn, d, s.ack))
                    r.heeded = heeded;
                return;
            case Window::beyond:
            case Window::unsent:
                r.action = TcpAction::invalid;
                r.why = window == Window::beyond ? DropReason::tcp_seq_beyond
                                                 : DropReason::tcp_ack_unsent;
                // Inside the window or not, two closing segments in a row, one from each side,
                // suffice to shorten the timeout: probably only the tracker is out of step.
                if (!assured || (kind != kRst && kind != kFin)) return;
                if (last.dir != d && (last.kind == kFin || last.kind == kRst)) {
                    r.timeout = TcpTimeout::unacknowledged;
                } else {
                    last.kind = kind;
                    last.dir = d;
                }
                return;
        }
    }
    last.kind = kind;
    last.dir = d;
    if (next == TcpState::established && tcp_known(conn.tcp_side(0)) &&
        tcp_known(conn.tcp_side(1)) && options.max_retransmits > 0)
        conn.allow_shortcuts();
    else
        conn.forbid_shortcuts();
    r.state = next;
    r.heeded = heeded_of(conn.tcp_near.side[d].end, next, kind, s, heeded);
    if (old != next && next == TcpState::fin_wait) conn.tcp_flags[d] |= tcp_side::close_init;

    r.timeout = tcp_timeout(conn, kind, options);
    if (!seen_reply) {
        if (kind == kRst)
            r.action = TcpAction::end;
        else if (next == TcpState::established)
            r.timeout = TcpTimeout::unacknowledged;
    } else if (!assured && next == TcpState::established &&
               (old == TcpState::syn_recv || old == TcpState::established)) {
        r.assured = true;
    }
}

/// Reduces `info` to the parts that the receiver of a segment accepts, for helpers: not the numbers
/// of a SYN that opens nothing, an RST that is answered by an ACK, or bytes beyond the window (RFC
/// 9293 section 3.10.7.4, RFC 5961). `limit`: one past the last number that it allows.
void leave_heeded(PacketInfo& info, std::uint32_t seq, std::uint8_t heeded,
                  std::uint32_t limit) noexcept {
    std::uint8_t flags = info.tcp_flags;
    std::uint32_t room = 0;
    if ((heeded & tcp_heed::unknown) != 0)
        room = info.pay_len;
    else if ((heeded & tcp_heed::text) != 0 && !seq_after(seq, limit))
        room = limit - seq;
    else
        flags &= static_cast<std::uint8_t>(~tcp_flag::fin);
    if ((heeded & tcp_heed::syn) == 0) flags &= static_cast<std::uint8_t>(~tcp_flag::syn);
    if ((heeded & tcp_heed::reset) == 0) flags &= static_cast<std::uint8_t>(~tcp_flag::rst);
    if (info.pay_len > room) {
        info.pay_len = static_cast<std::uint16_t>(room);
        flags &= static_cast<std::uint8_t>(~tcp_flag::fin);
    }
    info.tcp_flags = flags;
}

}  // namespace

void tcp_start_into(TcpResult& result, Conn& conn, const TcpSegment& s,
                    const TcpOptions& options) noexcept {
    start_with(result, conn, s, options);
}

void tcp_track_into(TcpResult& result, Conn& conn, TcpState state, Direction dir, bool seen_reply,
                    bool assured, const TcpSegment& s, const TcpOptions& options) noexcept {
    conn.recall_last();
    track_segment(result, conn, state, dir, seen_reply, assured, s, options);
    conn.mark_latest();
}

bool start_tcp(Conn& conn, const PacketInfo& info, const std::uint8_t* data,
               const TrackConfig& config) noexcept {
    TcpResult r;
    start_with(r, conn, read_segment(data, info), config.tcp_of(conn));
    if (r.action == TcpAction::invalid) return false;
    conn.set_state(r.state);
    // Picked up in mid-stream: no timeout of five days before the other side is seen.
    conn.timeout_ms = config.timeouts_of(conn).tcp(r.state, r.state == TcpState::established
                                                                ? TcpTimeout::unacknowledged
                                                                : TcpTimeout::by_state);
    return true;
}

TrackResult track_tcp(Conn& conn, PacketInfo& info, const std::uint8_t* data, Direction dir,
                      Tick now, const TrackConfig& config) noexcept {
    const TcpSegment segment = read_segment(data, info);
    TcpResult r;
    conn.recall_last();
    track_segment(r, conn, conn.tcp_state(), dir, conn.has(conn_flag::seen_reply),
                  conn.has(conn_flag::assured), segment, config.tcp_of(conn));
    conn.mark_latest();
    const Timeouts& timeouts = config.timeouts_of(conn);
    TrackResult result = TrackResult::accept;
    switch (r.action) {
        case TcpAction::invalid:
            info.ct = CtState::invalid;
            info.why = r.why;
            conn.timeout_ms = std::min(conn.timeout_ms, timeouts.tcp(conn.tcp_state(), r.timeout));
            return TrackResult::invalid;
        case TcpAction::reopen: return TrackResult::reopen;
        case TcpAction::pass: break;
        case TcpAction::learn:
            conn.timeout_ms = timeouts.tcp(r.state, r.timeout);
            // Of an established connection, an acknowledgement alone does not renew five days.
            if (r.timeout != TcpTimeout::by_state || r.state != TcpState::established)
                conn.last_seen_ms = now.ms;
            break;
        case TcpAction::end: result = TrackResult::end; [[fallthrough]];
        case TcpAction::accept:
            conn.set_state(r.state);
            conn.timeout_ms = timeouts.tcp(r.state, r.timeout);
            conn.last_seen_ms = now.ms;
            if (r.assured) conn.flags |= conn_flag::assured;
            break;
    }
    belongs(conn, info, dir);
    // Without `helped` its helper may wait for the first segment with payload.
    if (conn.helper == kNoHelper) return result;
    leave_heeded(info, segment.seq, r.heeded, conn.tcp_near.side[index(dir)].max_end);
    if (result != TrackResult::accept) return result;
    if (r.learning != Learning::off) [[unlikely]]
        return r.learning == Learning::complete    ? TrackResult::learned
               : r.learning == Learning::restarted ? TrackResult::relearning
                                                   : TrackResult::learning;
    return (r.heeded & tcp_heed::renewed) != 0   ? TrackResult::renewed
           : (r.heeded & tcp_heed::unknown) != 0 ? TrackResult::unbounded
                                                 : TrackResult::accept;
}

}  // namespace postern
