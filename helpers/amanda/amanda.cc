// SPDX-License-Identifier: BSD-3-Clause
// Amanda backups, authentication bsd and bsdudp: the backup server sends a request by UDP; the
// saved host answers with the TCP ports on which it will deliver the requested streams (the
// packets' form: Amanda's "protocol" documentation). See NOTES.md.
//
// A datagram's first line is the proof of protocol. State of a connection: hashes of the requests
// that may still be answered.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/text.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {
namespace {

struct AmandaState {
    std::array<std::uint16_t, 12> asked{};  ///< hashes of the last requests, never 0; a ring
    std::uint8_t next = 0;                  ///< the index that is overwritten next
};

constexpr Field kState[] = {
    POSTERN_FIELD(AmandaState, asked),
    POSTERN_FIELD(AmandaState, next, AmandaState{}.asked.size() - 1),
};

constexpr std::uint16_t kPorts[] = {10080};
constexpr ExpectClass kClasses[] = {{"data", "a stream of a backup", 4, 180}};
constexpr ParamDesc kParams[] = {kDenyPortsParam, kDenyServicesParam};
constexpr CounterDesc kCounters[] = {
    {"requests", "REQ packets read", Unit::packets},
    {"replies", "REP and PREP packets read", Unit::packets},
    {"connects", "CONNECT lines read"},
    {"not_asked", "CONNECT in a reply to no request of this connection"},
};
enum OwnCounter : unsigned {
    kRequests = named(kCounters, "requests"),
    kReplies = named(kCounters, "replies"),
    kConnects = named(kCounters, "connects"),
    kNotAsked = named(kCounters, "not_asked")
};

/// Minimum timeout of the control connection: answers take their time.
constexpr std::uint32_t kMinTimeoutS = 300;

/// Streams to which the server connects. Other names in a CONNECT line are ignored.
constexpr std::string_view kStreams[] = {"DATA", "MESG", "INDEX", "STATE", "CTL"};

constexpr bool is_end_of_word(std::uint8_t c) noexcept {
    return c == ' ' || c == '\n';
}
constexpr bool is_line_feed(std::uint8_t c) noexcept {
    return c == '\n';
}

Bytes take_word(Cursor& c) noexcept {
    return take_until(c, is_end_of_word);
}

/// Never 0.
std::uint16_t hash(Bytes bytes) noexcept {
    std::uint32_t h = 2166136261u;  // FNV-1a
    for (const std::uint8_t b : bytes)
        h = (h ^ b) * 16777619u;
    return static_cast<std::uint16_t>((h ^ h >> 16) | 1u);
}

enum class Kind : std::uint8_t {
    request,
    reply,
    other
};

struct Header {
    Kind kind;
    std::uint16_t id;  ///< hash of handle and sequence number, which a reply repeats
};

/// Parses "Amanda 2.6 REP HANDLE 000-00000000 SEQ 1234567890", and moves to the next line.
std::optional<Header> take_header(Cursor& c) noexcept {
    if (!same_word(take_word(c), "Amanda") || !take(c, ' ')) return std::nullopt;
    if (!take_number(c, 3, 999) || !take(c, '.') || !take_number(c, 3, 999) || !take(c, ' '))
        return std::nullopt;
    const Bytes kind = take_word(c);
    if (!take(c, ' ')) return std::nullopt;
    const Bytes id = take_until(c, is_line_feed);
    Cursor in_id{id};
    if (!same_word(take_word(in_id), "HANDLE") || !take(in_id, ' ')) return std::nullopt;
    if (take_word(in_id).empty() || !take(in_id, ' ')) return std::nullopt;
    if (!same_word(take_word(in_id), "SEQ") || !take(in_id, ' ')) return std::nullopt;
    if (!take_number(in_id, 10, UINT32_MAX) || !in_id.at_end() || !take(c, '\n'))
        return std::nullopt;
    if (same_word(kind, "REQ")) return Header{Kind::request, hash(id)};
    const bool reply = same_word(kind, "REP") || same_word(kind, "PREP");
    return Header{reply ? Kind::reply : Kind::other, hash(id)};
}

/// Moves to the rest of the first line that starts with "CONNECT ", up to its end.
bool find_connect(Cursor& c) noexcept {
    while (!c.at_end()) {
        Cursor line{take_until(c, is_line_feed)};
        take(c, '\n');
        if (same_word(take_word(line), "CONNECT") && take(line, ' ')) {
            c = line;
            return true;
        }
    }
    return false;
}

/// Parses "DATA 50000 MESG 499999 INDEX -1". A number that is not a port is that of a stream within
/// another's connection, or of none. All or nothing: a line that cannot be parsed to its end opens
/// nothing.
void on_connect(const View& view, Emit& emit, Cursor c) noexcept {
    emit.count(kConnects);
    std::array<std::uint16_t, 2 * std::size(kStreams)> ports{};
    std::size_t count = 0;
    skip_blanks(c);
    while (!c.at_end()) {
        const Bytes name = take_word(c);
        const bool none = take(c, ' ') && take(c, '-');
        const auto number = name.empty() ? std::nullopt : take_number(c, 10, UINT32_MAX);
        if (!number || (!c.at_end() && !is_end_of_word(*c.peek())) || count == ports.size())
            return emit.parse_error();
        skip_blanks(c);
        if (none || *number > UINT16_MAX) continue;
        for (const std::string_view stream : kStreams)
            if (same_word(name, stream)) ports[count++] = static_cast<std::uint16_t>(*number);
    }
    for (std::size_t i = 0; i < count; ++i) {
        PinHole request;
        request.src = Prefix::exact(view.listener());
        request.dst = view.speaker();
        request.dport = Be16::from_host(ports[i]);
        request.protocol = proto::tcp;
        emit.expect(request);
    }
}

void on_message(View& view, Emit& emit) noexcept {
    Cursor c{view.message};
    const auto header = take_header(c);
    if (!header) return emit.parse_error();
    if (!view.from_client()) emit.min_timeout(kMinTimeoutS);
    auto s = view.load<AmandaState>();
    if (header->kind == Kind::request) {
        if (!view.from_client()) return emit.refuse(HelperCounter::wrong_direction);
        emit.count(kRequests);
        if (std::find(s.asked.begin(), s.asked.end(), header->id) != s.asked.end()) return;
        s.asked[s.next] = header->id;
        s.next = static_cast<std::uint8_t>((s.next + 1) % s.asked.size());
        view.save(s);
    } else if (header->kind == Kind::reply) {
        if (view.from_client()) return emit.refuse(HelperCounter::wrong_direction);
        emit.count(kReplies);
        if (!find_connect(c)) return;
        if (std::find(s.asked.begin(), s.asked.end(), header->id) == s.asked.end())
            return emit.count(kNotAsked);
        on_connect(view, emit, c);
    }
}

}  // namespace

extern const HelperDesc helper_amanda;
constinit const HelperDesc helper_amanda{
    .name = "amanda",
    .help = "Amanda backups: the streams that the backed-up host announces in its reply",
    .transports = transport::udp,
    .framing = Framing::datagram,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .state = private_state<AmandaState, kState>(),
    .on_message = on_message,
};

}  // namespace postern
