// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/dccp.h"

#include <array>
#include <initializer_list>

#include "conntrack/packet_types.h"

namespace postern {
namespace {

using namespace dccp_type;

// Special values of the table's entries:
constexpr auto kInvalid = DccpState::kCount;  // the packet is impossible
constexpr auto kIgnore =
    static_cast<DccpState>(100);  // let it through; the tracker may be out of step

constexpr unsigned kClient = 0, kServer = 1;
using Row = std::array<DccpState, kDccpStates>;
using Table = std::array<std::array<Row, kDccpTypes>, 2>;

// next[role][type][state]
constexpr Table kNext = [] {
    using enum DccpState;
    Table t{};
    for (auto& role : t)
        for (auto& row : role)
            row.fill(kInvalid);
    const auto go = [&t](unsigned role, std::initializer_list<std::uint8_t> types,
                         std::initializer_list<DccpState> from, DccpState to) {
        for (const std::uint8_t type : types)
            for (const DccpState s : from)
                t[role][type][static_cast<unsigned>(s)] = to;
    };
    const auto stay = [&](unsigned role, std::initializer_list<std::uint8_t> types,
                          std::initializer_list<DccpState> states) {
        for (const DccpState s : states)
            go(role, types, {s}, s);
    };
    for (const unsigned role : {kClient, kServer}) {
        // Sync and SyncAck do not affect the tracked state (section 7.5.4).
        go(role, {kSync, kSyncAck}, {request, respond, partopen, open, closereq, closing, timewait},
           kIgnore);
        go(role, {kReset}, {request, respond, partopen, open, closereq, closing}, timewait);
        go(role, {kReset}, {timewait}, kIgnore);
    }
    // A Request, or an answer to one, in the middle of a connection: an end that has forgotten it.
    // The server's answer shows whether it has, too.
    go(kClient, {kRequest}, {none, request, timewait}, request);
    stay(kClient, {kRequest}, {respond});
    go(kClient, {kRequest}, {partopen, open, closereq, closing}, kIgnore);
    go(kClient, {kResponse}, {request, respond, partopen, open, closereq, closing}, kIgnore);
    go(kServer, {kRequest}, {request, respond, partopen, open, closereq, closing}, kIgnore);
    go(kServer, {kRequest}, {timewait}, request);
    go(kServer, {kResponse}, {request, respond}, respond);
    go(kServer, {kResponse}, {partopen, open, closereq, closing}, kIgnore);
    // Data (section 8.1.5: a client's must acknowledge until the server has sent again).
    go(kClient, {kAck, kDataAck}, {respond, partopen}, partopen);
    stay(kClient, {kAck, kDataAck, kData}, {open, closereq, closing});
    go(kServer, {kAck, kDataAck, kData}, {partopen, open}, open);
    stay(kServer, {kAck, kDataAck, kData}, {closing});
    // The end (section 8.3).
    go(kServer, {kCloseReq}, {partopen, open, closereq, closing}, closereq);
    go(kClient, {kClose}, {partopen, open, closereq, closing}, closing);
    go(kServer, {kClose}, {partopen, open, closing}, closing);
    return t;
}();

}  // namespace

std::optional<DccpHeader> read_dccp(Bytes packet, std::size_t length) noexcept {
    Cursor c(packet);
    if (!c.skip(4)) return std::nullopt;
    const auto offset = c.u8();
    const auto coverage = c.u8();
    if (!c.skip(2)) return std::nullopt;
    const auto type = c.u8();
    if (!type) return std::nullopt;
    DccpHeader h;
    h.type = static_cast<std::uint8_t>(*type >> 1 & 0x0f);
    if (h.type >= kDccpTypes) return std::nullopt;
    const bool extended = (*type & 1) != 0;
    const bool acknowledges = h.type != kRequest && h.type != kData;
    const std::size_t generic = extended ? 16 : 12, ack_bytes = extended ? 8 : 4;
    const std::size_t header = *offset * 4u;
    if (header < generic + (acknowledges ? ack_bytes : 0) || header > length) return std::nullopt;
    // Section 9.2: 0 covers all, n the header and n - 1 words after it.
    const unsigned words = *coverage & 0x0fu;
    if (words != 0 && header + (words - 1) * 4 > length) return std::nullopt;

    const auto number = [&c](bool wide) -> std::optional<std::uint64_t> {
        const auto top = c.u8();
        const auto high = c.u16_be();
        if (!top || !high) return std::nullopt;
        if (!wide) return std::uint64_t{*top} << 16 | *high;
        const auto low = c.u32_be();
        if (!low) return std::nullopt;
        return std::uint64_t{*high} << 32 | *low;
    };
    const auto seq = number(extended);
    if (!seq) return std::nullopt;
    h.seq = *seq;
    if (!acknowledges) return h;
    if (!c.skip(1)) return std::nullopt;  // reserved
    h.ack = number(extended);
    return h.ack ? std::optional{h} : std::nullopt;
}

bool dccp_may_start(const DccpHeader& header) noexcept {
    return kNext[kClient][header.type][0] != kInvalid;
}

DccpResult dccp_start(DccpTrack& track, const DccpHeader& header) noexcept {
    track = {};
    track.last_type = header.type;
    if (!dccp_may_start(header)) return {};
    return {DccpAction::accept, DccpState::request, false};
}

DccpResult dccp_track(DccpTrack& t, DccpState state, Direction dir, bool seen_reply,
                      const DccpHeader& h) noexcept {
    if (h.type == kReset && !seen_reply) return {DccpAction::end, state, false};
    const auto d = static_cast<std::uint8_t>(index(dir));
    const unsigned role = d == t.client ? kClient : kServer;
    DccpState next = kNext[role][h.type][static_cast<unsigned>(state)];
    if (next == kInvalid) return {DccpAction::invalid, state, false};
    bool assured = false;
    if (next == kIgnore) {
        const bool answers_ignored_request =
            h.type == kResponse && t.last_type == kRequest && t.last_dir != d;
        if (!answers_ignored_request) {
            t.last_dir = d;
            t.last_type = h.type;
            return {DccpAction::pass, state, false};
        }
        t.client = t.last_dir;
        t.response_seq = h.seq;
        next = DccpState::respond;
    } else if (next == DccpState::request) {
        t.client = d;  // the sender is the client
    } else if (next == DccpState::respond && state == DccpState::request) {
        t.response_seq = h.seq;
    } else if (next == DccpState::partopen && state == DccpState::respond) {
        assured = h.type == kAck && h.ack == t.response_seq;
    }
    t.last_dir = d;
    t.last_type = h.type;
    return {DccpAction::accept, next, assured};
}

}  // namespace postern
