// SPDX-License-Identifier: BSD-3-Clause
// RTSP: reads the UDP ports of media that a client offers and a server agrees to in SETUP (RFC 2326
// sections 10.4 and 12.39) and asks for expectations both ways. See NOTES.md.
//
// Media may come inside of the control connection, as frames between its messages (section 10.12):
// those and the bodies of messages are passed over.
//
// State of a connection: the proof of protocol, requests whose answers matter (by CSeq), and the
// ports of streams that were set up, which PLAY opens again.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
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

enum Pattern : std::uint8_t {
    kSetup = 1,
    kPlay,
    kTeardown,
    kAnswer
};

enum OwnCounter : unsigned {
    kSetups,
    kPlays,
    kTeardowns,
    kInterleaved,
    kMulticast,
    kRefused,
    kNotAsked,
    kNotOffered
};

enum Class : std::uint8_t {
    kMedia,
    kBack,
    kGroup
};

enum Param : unsigned {
    kLoose
};

/// What an answer is awaited for: one of the first two, with what a SETUP has offered.
namespace await {
constexpr std::uint8_t setup = 1, play = 2, unicast = 4, group = 8;
}

struct RtspState {
    // Requests that wait for their answers; a ring.
    std::array<std::uint16_t, 3> cseq{};  ///< the lower half
    std::array<std::uint16_t, 3> offered{};
    // Streams that were set up, both with a port for RTCP after it; host byte order.
    std::array<std::uint16_t, 4> client_port{};
    std::array<std::uint16_t, 4> server_port{};
    std::array<std::uint8_t, 3> awaited{};  ///< 0: none
    std::uint8_t requested : 1 = 0;         ///< by the client
    std::uint8_t answered : 1 = 0;          ///< by the server
    std::uint8_t next : 2 = 0;              ///< the place in the ring that is overwritten next
    std::uint8_t streams : 3 = 0;
};
static_assert(sizeof(RtspState) == kPrivateBytes);

constexpr Field kState[] = {
    POSTERN_FIELD(RtspState, cseq),
    POSTERN_FIELD(RtspState, offered),
    POSTERN_FIELD(RtspState, client_port),
    POSTERN_FIELD(RtspState, server_port),
    POSTERN_FIELD(RtspState, awaited, 15),
    // The bits of the last byte.
    {"requested", sizeof(RtspState) - 1, 1, 1, 1},
    {"answered", sizeof(RtspState) - 1, 1, 1, 1, 1},
    {"next", sizeof(RtspState) - 1, 1, 1, RtspState{}.cseq.size() - 1, 2},
    {"streams", sizeof(RtspState) - 1, 1, 1, RtspState{}.client_port.size(), 4},
};

constexpr std::uint16_t kPorts[] = {554, 8554};
constexpr ExpectClass kClasses[] = {{"media", "RTP and RTCP to the client", 16, 180},
                                    {"back", "RTP and RTCP to the server", 16, 180},
                                    {"group", "RTP and RTCP to a multicast group", 12, 180, true}};
constexpr ParamDesc kParams[] = {kLooseParam, kDenyPortsParam};
constexpr CounterDesc kCounters[] = {
    {"setups", "SETUP requests read"},
    {"plays", "PLAY and RECORD requests read"},
    {"teardowns", "TEARDOWN requests read"},
    {"interleaved", "answers to SETUP: media in the control connection"},
    {"multicast", "answers to SETUP: media to a group"},
    {"refused", "SETUP, PLAY or RECORD that the server refuses"},
    {"not_asked", "answers with a transport that belong to no SETUP"},
    {"not_offered", "answers to SETUP with what the client has not offered"},
};
constexpr PatternDesc kPatterns[] = {
    {kSetup, "^SETUP ", Direction::original},
    {kPlay, "^(?:PLAY|RECORD) ", Direction::original},
    {kTeardown, "^TEARDOWN ", Direction::original},
    {kAnswer, "^RTSP/", std::nullopt},
};

constexpr std::uint8_t kFrameMark = '$';
constexpr std::size_t kFrameHead = 4;  ///< mark, channel, length (section 10.12)

constexpr bool is_space(std::uint8_t c) noexcept {
    return c == ' ';
}

Bytes trimmed(Bytes text) noexcept {
    while (!text.empty() && is_blank(text.front()))
        text = text.subspan(1);
    while (!text.empty() && is_blank(text.back()))
        text = text.first(text.size() - 1);
    return text;
}

/// A line without its end, and moves to the next one.
Bytes take_line(Cursor& c) noexcept {
    const auto line = take_whole_line(c);
    return without_line_end(line ? *line : c.take(c.remaining()).value_or(Bytes{}));
}

bool starts_with(Bytes text, std::string_view word) noexcept {
    return text.size() >= word.size() && same_word(text.first(word.size()), word);
}

/// "RTSP/1.0" or "RTSP/2.0".
bool is_version(Bytes word) noexcept {
    return same_word(word, "RTSP/1.0") || same_word(word, "RTSP/2.0");
}

/// A request's line ends with the version, a status line begins with it (sections 6 and 7).
bool is_start_line(Bytes line) noexcept {
    if (line.size() > 8 && line[8] == ' ' && is_version(line.first(8))) return true;
    Cursor c{line};
    const Bytes method = take_until(c, is_space);
    return !method.empty() && line.size() > method.size() + 8 && line[line.size() - 9] == ' ' &&
           is_version(line.last(8));
}

/// Calls f(name, value) for the headers after the start line, until it says true.
template <class F>
void for_each_header(Bytes head, F&& f) noexcept {
    Cursor c{head};
    take_line(c);
    while (!c.at_end()) {
        Cursor line{take_line(c)};
        const Bytes name = take_until(line, [](std::uint8_t b) { return b == ':'; });
        if (take(line, ':') && f(trimmed(name), trimmed(line.rest()))) return;
    }
}

std::optional<Bytes> find_header(Bytes head, std::string_view wanted) noexcept {
    std::optional<Bytes> found;
    for_each_header(head, [&](Bytes name, Bytes value) {
        if (same_word(name, wanted)) found = value;
        return found.has_value();
    });
    return found;
}

/// All of it, and nothing else.
std::optional<std::uint32_t> read_number(Bytes text) noexcept {
    Cursor c{text};
    const auto n = take_number(c, 10, UINT32_MAX);
    return n && c.at_end() ? n : std::nullopt;
}

constexpr Measured kNotRtsp = -1;
constexpr Measured kMore = 0;

Measured measure(Direction direction, Bytes bytes, std::size_t /*seen*/,
                 std::span<const std::uint8_t, kPrivateBytes> state) noexcept {
    Cursor c{bytes};
    // Empty lines between messages are ignored (section 4.1).
    const auto blank = take_until(c, [](std::uint8_t b) { return b != '\r' && b != '\n'; });
    if (!blank.empty()) return {0, static_cast<std::uint32_t>(blank.size())};
    if (c.peek() == kFrameMark) {
        const auto s = load_state<RtspState>(state);
        if (direction == Direction::original ? !s.requested : !s.answered) return kNotRtsp;
        c.skip(2);
        const auto length = c.u16_be();
        return length ? Measured{0, static_cast<std::uint32_t>(kFrameHead + *length)} : kMore;
    }
    if (!take_whole_line(c)) return kMore;
    Cursor first{bytes};
    if (!is_start_line(take_line(first))) return kNotRtsp;
    for (;;) {
        const auto line = take_whole_line(c);
        if (!line) return kMore;
        if (without_line_end(*line).empty()) break;
    }
    const Bytes head = bytes.first(c.position());
    std::uint32_t body = 0;
    bool sure = true, found = false;
    for_each_header(head, [&](Bytes name, Bytes value) {
        if (!same_word(name, "Content-Length")) return false;
        const auto n = read_number(value);
        sure = sure && n && (!found || *n == body);
        body = n.value_or(0);
        found = true;
        return false;
    });
    if (!sure) return kNotRtsp;  // where the next message begins would be a guess
    return {static_cast<std::int32_t>(head.size()), body};
}

/// "3456" or "3456-3457": the first one, and whether there is a second, which follows it.
struct Ports {
    std::uint16_t first = 0;
    bool pair = false;
};

std::optional<Ports> read_ports(Bytes text) noexcept {
    Cursor c{text};
    const auto first = take_number(c, 5, 65535);
    if (!first) return std::nullopt;
    Ports ports{static_cast<std::uint16_t>(*first), false};
    if (take(c, '-')) {
        const auto second = take_number(c, 5, 65535);
        if (!second || (*second != *first + 1 && *second != *first)) return std::nullopt;
        ports.pair = *second != *first;
    }
    return c.at_end() ? std::optional{ports} : std::nullopt;
}

/// One way of transport (section 12.39).
struct Transport {
    bool tcp = false;
    bool multicast = false;
    std::optional<Ports> client, server, group;
    std::optional<IpAddr> source, destination;
    bool broken = false;  ///< one of the above is there and cannot be read
};

/// An address, possibly in quotes or brackets.
std::optional<IpAddr> read_host(Bytes text) noexcept {
    for (const auto& [open, close] : {std::pair{'"', '"'}, std::pair{'[', ']'}})
        if (text.size() >= 2 && text.front() == open && text.back() == close)
            text = text.subspan(1, text.size() - 2);
    return read_address(text);
}

Transport read_transport(Bytes spec) noexcept {
    Transport t;
    Cursor c{spec};
    const auto is_semicolon = [](std::uint8_t b) { return b == ';'; };
    const Bytes kind = trimmed(take_until(c, is_semicolon));
    t.tcp = kind.size() >= 4 && same_word(kind.last(4), "/TCP");
    while (take(c, ';')) {
        Cursor param{trimmed(take_until(c, is_semicolon))};
        const Bytes name = take_until(param, [](std::uint8_t b) { return b == '='; });
        take(param, '=');
        const Bytes value = param.rest();
        const auto ports = [&](std::optional<Ports>& into) {
            into = read_ports(value);
            t.broken = t.broken || !into;
        };
        const auto host = [&](std::optional<IpAddr>& into) {
            into = read_host(value);
            t.broken = t.broken || !into;
        };
        if (same_word(name, "multicast")) t.multicast = true;
        if (same_word(name, "interleaved")) t.tcp = true;
        if (same_word(name, "client_port")) ports(t.client);
        if (same_word(name, "server_port")) ports(t.server);
        if (same_word(name, "port")) ports(t.group);
        if (same_word(name, "source")) host(t.source);
        // In a request it may stand without an address: as the server likes.
        if (same_word(name, "destination") && !value.empty()) host(t.destination);
    }
    return t;
}

/// Calls f(spec) for each of a list of transports.
template <class F>
void for_each_transport(Bytes list, F&& f) noexcept {
    Cursor c{list};
    do {
        f(take_until(c, [](std::uint8_t b) { return b == ','; }));
    } while (take(c, ','));
}

/// A session's name for expectations, never 0. What follows its ";" is its timeout.
std::uint32_t session_tag(std::optional<Bytes> header) noexcept {
    if (!header) return 1;
    Cursor c{*header};
    std::uint32_t h = 2166136261u;  // FNV-1a
    for (const std::uint8_t b : trimmed(take_until(c, [](std::uint8_t x) { return x == ';'; })))
        h = (h ^ b) * 16777619u;
    return h == 0 ? 1 : h;
}

bool is_multicast(const IpAddr& a) noexcept {
    return a.family == Family::ipv4 ? a.bytes[0] >> 4 == 0xe : a.bytes[0] == 0xff;
}

struct Flow {
    IpAddr src;
    IpAddr dst;
    Class kind;
    std::uint32_t tag;
};

/// One port, or two: RTP and RTCP.
void ask(Emit& emit, const Flow& flow, const Ports& ports) noexcept {
    PinHole request;
    request.src = PinHole::exact(flow.src);
    request.dst = flow.dst;
    request.protocol = proto::udp;
    request.class_index = flow.kind;
    request.announced_by_listener = flow.kind == kMedia;
    request.tag = flow.tag;
    for (unsigned i = 0; i < (ports.pair ? 2u : 1u); ++i) {
        request.dport = Be16::from_host(static_cast<std::uint16_t>(ports.first + i));
        emit.expect(request);
    }
}

void on_request(const View& view, Emit& emit, RtspState& s) noexcept {
    Cursor c{view.message};
    const Bytes method = take_until(c, is_space);
    std::uint8_t awaited = 0;
    std::uint16_t offered = 0;
    if (same_word(method, "SETUP")) {
        emit.count(kSetups);
        awaited = await::setup;
        const auto transports = find_header(view.message, "Transport");
        if (!transports) return emit.parse_error();
        for_each_transport(*transports, [&](Bytes spec) {
            const Transport t = read_transport(spec);
            if (t.tcp || t.broken) return;
            if (t.multicast) awaited |= await::group;
            if (t.multicast || !t.client || (awaited & await::unicast) != 0) return;
            awaited |= await::unicast;
            offered = t.client->first;
        });
    } else if (same_word(method, "PLAY") || same_word(method, "RECORD")) {
        emit.count(kPlays);
        awaited = await::play;
    } else if (same_word(method, "TEARDOWN")) {
        emit.count(kTeardowns);
        const std::uint32_t tag = session_tag(find_header(view.message, "Session"));
        for (const Class each : {kMedia, kBack, kGroup})
            emit.remove(each, tag);
        s.streams = 0;
    }
    if (awaited == 0) return;
    const auto cseq = find_header(view.message, "CSeq");
    const auto number = cseq ? read_number(*cseq) : std::nullopt;
    if (!number) return emit.parse_error();
    s.cseq[s.next] = static_cast<std::uint16_t>(*number);
    s.offered[s.next] = offered;
    s.awaited[s.next] = awaited;
    s.next = static_cast<std::uint8_t>((s.next + 1u) % s.awaited.size()) & 3u;
}

void on_setup_answer(const View& view, Emit& emit, RtspState& s, std::uint8_t awaited,
                     std::uint16_t offered) noexcept {
    const auto header = find_header(view.message, "Transport");
    if (!header) return emit.parse_error();
    Cursor c{*header};
    const Transport t = read_transport(take_until(c, [](std::uint8_t b) { return b == ','; }));
    if (t.tcp) return emit.count(kInterleaved);
    if (t.broken || !c.at_end()) return emit.parse_error();
    const IpAddr server = t.source.value_or(view.speaker());
    if (server != view.speaker() && view.params[kLoose].number == 0)
        return emit.refuse(HelperCounter::third_party_address);
    const IpAddr& client = view.listener();
    const std::uint32_t tag = session_tag(find_header(view.message, "Session"));
    if (t.multicast) {
        emit.count(kMulticast);
        if ((awaited & await::group) == 0) return emit.count(kNotOffered);
        if (!t.destination || !t.group) return emit.parse_error();
        if (!is_multicast(*t.destination)) return emit.refuse(HelperCounter::third_party_address);
        ask(emit, {server, *t.destination, kGroup, tag}, *t.group);
        // The client's reports go to the group, too.
        const auto rtcp = static_cast<std::uint16_t>(t.group->first + 1);
        if (t.group->pair) ask(emit, {client, *t.destination, kGroup, tag}, {rtcp, false});
        return;
    }
    const Ports ports = t.client.value_or(Ports{offered, true});
    if ((awaited & await::unicast) == 0 || ports.first != offered) return emit.count(kNotOffered);
    ask(emit, {server, t.destination.value_or(client), kMedia, tag}, ports);
    if (!t.server) return;
    ask(emit, {client, server, kBack, tag}, *t.server);
    if (t.source || t.destination || !ports.pair || !t.server->pair) return;
    if (s.streams == s.client_port.size()) return;
    s.client_port[s.streams] = ports.first;
    s.server_port[s.streams] = t.server->first;
    s.streams = static_cast<std::uint8_t>(s.streams + 1u) & 7u;
}

void on_answer(const View& view, Emit& emit, RtspState& s) noexcept {
    Cursor c{view.message};
    take_until(c, is_space);
    skip_blanks(c);
    const auto status = take_number(c, 3, 999);
    const auto cseq = find_header(view.message, "CSeq");
    const auto number = cseq ? read_number(*cseq) : std::nullopt;
    if (!status || !number) return emit.parse_error();
    if (*status < 200) return;  // the answer proper is still to come
    const auto low = static_cast<std::uint16_t>(*number);
    for (std::size_t i = 0; i < s.awaited.size(); ++i) {
        const std::uint8_t awaited = s.awaited[i];
        if (awaited == 0 || s.cseq[i] != low) continue;
        s.awaited[i] = 0;
        if (*status >= 300) return emit.count(kRefused);
        if ((awaited & await::setup) != 0)
            return on_setup_answer(view, emit, s, awaited, s.offered[i]);
        // After a pause the ways of the media may have been forgotten.
        const std::uint32_t tag = session_tag(find_header(view.message, "Session"));
        for (std::size_t each = 0; each < s.streams; ++each) {
            ask(emit, {view.speaker(), view.listener(), kMedia, tag}, {s.client_port[each], true});
            ask(emit, {view.listener(), view.speaker(), kBack, tag}, {s.server_port[each], true});
        }
        return;
    }
    if (find_header(view.message, "Transport")) emit.count(kNotAsked);
}

void on_message(View& view, Emit& emit) noexcept {
    auto s = view.load<RtspState>();
    const bool answer = starts_with(view.message, "RTSP/");
    if (view.from_client()) {
        if (!answer) on_request(view, emit, s);
        if (!s.requested) emit.read_all(false);
        s.requested = 1;
    } else {
        if (!s.answered) {
            // The client asks first, the server answers.
            if (!answer || !s.requested) return emit.blind(HelperCounter::blind_not_protocol);
            s.answered = 1;
            emit.proven();
            emit.read_all(false);
        }
        if (answer) on_answer(view, emit, s);
    }
    view.save(s);
}

}  // namespace

extern const HelperDesc helper_rtsp;
constinit const HelperDesc helper_rtsp{
    .name = "rtsp",
    .help = "RTSP: media by UDP that SETUP agrees on",
    .transports = transport::tcp,
    .framing = Framing::measured,
    .needs_proof = true,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .patterns = kPatterns,
    .state = private_state<RtspState, kState>(),
    .measure = measure,
    .on_message = on_message,
};

}  // namespace postern
