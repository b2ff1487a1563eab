// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/sctp.h"

#include "conntrack/packet_types.h"

namespace postern {
namespace {

namespace chunk = sctp_chunk;
constexpr std::uint8_t kTagReflected = 0x01;  ///< the T bit of ABORT and SHUTDOWN COMPLETE
constexpr unsigned kKinds = 15;               ///< chunk types above have no effect
constexpr unsigned kCommonHeader = 12, kChunkHeader = 4;
constexpr unsigned kInitBytes = kChunkHeader + 16;  ///< up to the initial TSN

constexpr auto kInvalid = SctpState::kCount;

using Row = std::array<SctpState, kSctpStates>;
using Table = std::array<std::array<Row, kKinds>, 2>;

// next[direction][chunk][state]. Most chunks change nothing in most states, so the table is built
// from its exceptions.
constexpr Table kNext = [] {
    using enum SctpState;
    Table t{};
    constexpr auto kOriginal = index(Direction::original), kReply = index(Direction::reply);
    const auto at = [&t](unsigned dir, std::uint8_t kind, SctpState from) -> SctpState& {
        return t[dir][kind][static_cast<unsigned>(from)];
    };
    const auto both = [&](std::uint8_t kind, SctpState from, SctpState to) {
        at(kOriginal, kind, from) = at(kReply, kind, from) = to;
    };
    for (unsigned dir = 0; dir < 2; ++dir)
        for (unsigned kind = 0; kind < kKinds; ++kind)
            for (unsigned s = 0; s < kSctpStates; ++s)
                t[dir][kind][s] = static_cast<SctpState>(s);

    // Without an association, and on a path of which only HEARTBEATs were seen: chunks that open
    // lead towards one; others do not, and no answer can come first.
    for (const std::uint8_t kind :
         {chunk::init, chunk::init_ack, chunk::heartbeat, chunk::heartbeat_ack, chunk::abort,
          chunk::shutdown, chunk::shutdown_ack, chunk::error, chunk::cookie_echo, chunk::cookie_ack,
          chunk::shutdown_complete}) {
        at(kOriginal, kind, none) = at(kOriginal, kind, heartbeat_sent) = closed;
        at(kReply, kind, none) = at(kReply, kind, heartbeat_sent) = kInvalid;
    }
    at(kOriginal, chunk::shutdown_ack, none) = shutdown_ack_sent;
    at(kOriginal, chunk::shutdown_ack, heartbeat_sent) = shutdown_ack_sent;
    at(kOriginal, chunk::heartbeat, none) = heartbeat_sent;
    both(chunk::heartbeat, heartbeat_sent, heartbeat_sent);
    at(kOriginal, chunk::heartbeat_ack, heartbeat_sent) = heartbeat_sent;
    at(kReply, chunk::heartbeat_ack, heartbeat_sent) = established;
    at(kOriginal, chunk::init, heartbeat_sent) = cookie_wait;

    // The handshake (section 5.1). For an INIT during an association see take_restart().
    at(kReply, chunk::init_ack, closed) = cookie_wait;
    both(chunk::cookie_echo, cookie_wait, cookie_echoed);
    both(chunk::cookie_ack, cookie_echoed, established);
    at(kReply, chunk::error, cookie_echoed) = closed;  // a stale cookie (section 3.3.10.3)

    // The end (section 9).
    at(kOriginal, chunk::shutdown, established) = shutdown_sent;
    at(kReply, chunk::shutdown, established) = shutdown_recd;
    both(chunk::shutdown_ack, shutdown_sent, shutdown_ack_sent);
    both(chunk::shutdown_ack, shutdown_recd, shutdown_ack_sent);
    both(chunk::shutdown_complete, shutdown_ack_sent, closed);
    for (const SctpState s : {closed, cookie_wait, cookie_echoed, established, shutdown_sent,
                              shutdown_recd, shutdown_ack_sent})
        both(chunk::abort, s, closed);
    return t;
}();

SctpState next_state(Direction dir, std::uint8_t kind, SctpState from) noexcept {
    return kind < kKinds ? kNext[index(dir)][kind][static_cast<unsigned>(from)] : from;
}

std::uint32_t raw32(Bytes b, std::size_t at) noexcept {
    return std::uint32_t{b[at]} | std::uint32_t{b[at + 1]} << 8 | std::uint32_t{b[at + 2]} << 16 |
           std::uint32_t{b[at + 3]} << 24;
}

struct Chunk {
    std::uint8_t kind;
    std::uint8_t flags;
    Bytes rest;  ///< of the packet, from the chunk's header on
};

/// Calls fn(chunk) for each until it returns false; returns whether all were valid.
template <class Fn>
bool for_each_chunk(Bytes packet, Fn fn) noexcept {
    std::size_t at = kCommonHeader;
    while (packet.size() >= at + kChunkHeader) {
        const std::size_t length = std::size_t{packet[at + 2]} << 8 | packet[at + 3];
        if (length < kChunkHeader || !fn(Chunk{packet[at], packet[at + 1], packet.subspan(at)}))
            return false;
        at += (length + 3) & ~std::size_t{3};
    }
    return true;
}

/// The kinds of chunks in a packet.
struct Kinds {
    std::uint32_t bits = 0;
    bool any(std::initializer_list<std::uint8_t> kinds) const noexcept {
        for (const std::uint8_t kind : kinds)
            if ((bits >> kind & 1) != 0) return true;
        return false;
    }
};

/// Whether the chunks may be bundled (sections 3.3.11, 3.3.12 and 6.10).
bool read_kinds(Bytes packet, Kinds& kinds) noexcept {
    unsigned count = 0;
    bool alone = false;
    const bool good = for_each_chunk(packet, [&](const Chunk& c) {
        alone |= c.kind == chunk::init || c.kind == chunk::init_ack ||
                 c.kind == chunk::shutdown_complete;
        const bool first = c.kind == chunk::cookie_echo || c.kind == chunk::cookie_ack;
        if (count != 0 && (alone || first)) return false;
        if (c.kind < kKinds) kinds.bits |= 1u << c.kind;
        ++count;
        return true;
    });
    return good && count != 0;
}

/// Section 8.5.1 (B) and (C): the receiver's tag, or with the T bit the sender's own, reflected.
bool end_tag_right(const SctpTrack& t, const Chunk& c, Direction dir, std::uint32_t tag) noexcept {
    return tag == t.tag[index((c.flags & kTagReflected) != 0 ? !dir : dir)];
}

/// Whether there is an association, or nearly one, which strangers' packets must not disturb.
bool is_up(SctpState s) noexcept {
    return s >= SctpState::cookie_wait && s <= SctpState::shutdown_ack_sent;
}

/// An INIT, or the INIT ACK to one, during an association. Anybody can send an INIT, which carries
/// no tag. Its receiver answers it and keeps its state until the cookie returns (sections 5.2.1 and
/// 5.2.2), and so does the tracker.
bool take_restart(SctpTrack& t, SctpState state, Direction dir, std::uint32_t tag, const Chunk& c,
                  bool& pass) noexcept {
    const unsigned d = index(dir), other = index(!dir);
    if (c.rest.size() < kInitBytes) return false;
    t.offered[other] = raw32(c.rest, kChunkHeader);
    if (c.kind == chunk::init_ack) t.offered[d] = tag;
    pass |= state >= SctpState::established;
    return true;
}

/// A COOKIE ECHO. It has the tag that the INIT ACK offered, so its sender has received that one.
bool take_cookie(SctpTrack& t, SctpState& state, unsigned d, std::uint32_t tag) noexcept {
    if (tag == t.tag[d]) return true;
    if (!is_up(state) || t.offered[0] == 0 || t.offered[1] == 0 || tag != t.offered[d])
        return false;
    t.tag = t.offered;
    t.offered = {};
    t.strange_heartbeat = false;
    if (state != SctpState::established) state = SctpState::cookie_wait;
    return true;
}

/// An ABORT refuses an association that was only offered: the existing one continues.
bool refuses_offer(SctpTrack& t, SctpState state, const Chunk& c, Direction dir,
                   std::uint32_t tag) noexcept {
    const unsigned whose = index((c.flags & kTagReflected) != 0 ? !dir : dir);
    if (!is_up(state) || tag == 0 || tag != t.offered[whose] || tag == t.tag[whose]) return false;
    t.offered = {};
    return true;
}

/// The effect of one chunk. False if it is impossible. `pass`: see SctpAction.
bool take_chunk(SctpTrack& t, SctpState& state, Direction dir, std::uint32_t tag, const Chunk& c,
                bool with_data, bool fresh, bool& pass) noexcept {
    const unsigned d = index(dir), other = index(!dir);
    switch (c.kind) {
        case chunk::init:
            if (tag != 0) return false;
            [[fallthrough]];
        case chunk::init_ack:
            if (is_up(state)) return take_restart(t, state, dir, tag, c, pass);
            break;
        case chunk::abort:
            if (refuses_offer(t, state, c, dir, tag)) return pass = true;
            [[fallthrough]];
        case chunk::shutdown_complete:
            if (!end_tag_right(t, c, dir, tag)) return false;
            break;
        case chunk::cookie_echo:
            if (!take_cookie(t, state, d, tag)) return false;
            break;
        case chunk::cookie_ack:
        case chunk::shutdown:
        case chunk::shutdown_ack:
        case chunk::error:
            // Beside a chunk with rules of its own any host could send these.
            if (!fresh && tag != t.tag[d]) return pass = true;
            if (c.kind == chunk::cookie_ack) t.init = {};
            break;
        case chunk::heartbeat:
        case chunk::heartbeat_ack: {
            // A path with unknown tags learns them. An association that was moved is recognised by
            // a HEARTBEAT with a foreign tag that is then acknowledged with a foreign one.
            const bool ack = c.kind == chunk::heartbeat_ack;
            if (t.tag[d] == 0) {
                t.tag[d] = tag;
            } else if (tag == t.tag[d]) {
                t.strange_heartbeat = false;
            } else if (with_data || pass) {
                return false;
            } else if (!ack) {
                t.strange_heartbeat = true;
                t.strange_heartbeat_of = static_cast<std::uint8_t>(d);
                pass = true;
                return true;
            } else {
                if (!t.strange_heartbeat || t.strange_heartbeat_of == d) return false;
                t.strange_heartbeat = false;
                t.tag[d] = tag;
                t.tag[other] = 0;
            }
            break;
        }
        default: break;
    }

    const SctpState next = next_state(dir, c.kind, state);
    if (next == kInvalid) return false;
    if (c.kind == chunk::init || c.kind == chunk::init_ack) {
        if (c.rest.size() < kInitBytes) return false;
        const std::uint32_t its_tag = raw32(c.rest, kChunkHeader);
        if (c.kind == chunk::init) {
            if (t.init[d] && t.init[other]) t.init[other] = false;
            t.init[d] = true;
            // One that is repeated without an answer must not extend the timeout for ever.
            if (next == SctpState::closed && state == SctpState::closed && !fresh) pass = true;
        } else {
            const std::uint32_t known = t.tag[other];
            if (!t.init[other] && known != 0 && known != its_tag) return false;
            if (t.init[d] && t.init[other] && known != its_tag) return false;  // both have begun
        }
        t.tag[other] = its_tag;
    }
    state = next;
    return true;
}

SctpResult track_packet(SctpTrack& track, SctpState state, Direction dir, Bytes packet,
                        const Kinds& kinds, bool fresh) noexcept {
    const std::uint32_t tag = raw32(packet, 4);
    const bool own_rule =
        kinds.any({chunk::init, chunk::shutdown_complete, chunk::cookie_echo, chunk::abort,
                   chunk::shutdown_ack, chunk::heartbeat, chunk::heartbeat_ack});
    const unsigned d = index(dir);
    const bool answers = kinds.any({chunk::init_ack}) && tag != 0 && tag == track.offered[d];
    if (!own_rule && !answers && tag != track.tag[d]) return {SctpAction::invalid, state};

    const bool with_data = kinds.any({chunk::data});
    SctpTrack changed = track;
    SctpState now = state;
    bool pass = false;
    const bool good = for_each_chunk(packet, [&](const Chunk& c) {
        return take_chunk(changed, now, dir, tag, c, with_data, fresh, pass);
    });
    if (!good) return {SctpAction::invalid, state};
    track = changed;
    return {pass ? SctpAction::pass : SctpAction::accept, now};
}

}  // namespace

bool sctp_may_start(Bytes packet) noexcept {
    SctpTrack scratch{};
    return sctp_start(scratch, packet).action == SctpAction::accept;
}

SctpResult sctp_start(SctpTrack& track, Bytes packet) noexcept {
    Kinds kinds;
    if (packet.size() < kCommonHeader || !read_kinds(packet, kinds)) return {};
    if (kinds.any({chunk::abort, chunk::shutdown_complete, chunk::cookie_ack})) return {};
    track = {};
    const std::uint32_t tag = raw32(packet, 4);
    const bool good = for_each_chunk(packet, [&](const Chunk& c) {
        if (next_state(Direction::original, c.kind, SctpState::none) == SctpState::none)
            return false;
        if (c.kind == chunk::heartbeat || c.kind == chunk::heartbeat_ack)
            track.tag[index(Direction::original)] = tag;
        else if (c.kind != chunk::init)
            track.tag[index(Direction::reply)] = tag;  // out of the blue: the answer has it, too
        return true;
    });
    if (!good) return {};
    return track_packet(track, SctpState::none, Direction::original, packet, kinds, true);
}

SctpResult sctp_track(SctpTrack& track, SctpState state, Direction dir, Bytes packet) noexcept {
    Kinds kinds;
    if (packet.size() < kCommonHeader || !read_kinds(packet, kinds))
        return {SctpAction::invalid, state};
    return track_packet(track, state, dir, packet, kinds, false);
}

bool sctp_has_sent(const SctpTrack& track, SctpState state, Direction sender,
                   Bytes quoted) noexcept {
    const unsigned d = index(sender), other = index(!sender);
    const std::uint32_t tag = raw32(quoted, 4);
    if (!is_up(state) || track.tag[d] == 0) return true;  // nothing is known, or nothing to protect
    if (tag != 0) return tag == track.tag[d] || tag == track.offered[d];
    constexpr unsigned kItsTag = kCommonHeader + kChunkHeader;
    if (quoted.size() < kItsTag + 4 || quoted[kCommonHeader] != chunk::init) return false;
    const std::uint32_t its_tag = raw32(quoted, kItsTag);
    return its_tag == track.tag[other] || its_tag == track.offered[other];
}

}  // namespace postern
