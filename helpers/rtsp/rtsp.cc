// SPDX-License-Identifier: BSD-3-Clause
// RTSP: reads the UDP ports of media that a client offers and a server accepts in SETUP (RFC 2326
// sections 10.4 and 12.39) and requests expectations in both directions. See NOTES.md.
//
// Media may be interleaved in the control connection, as frames between its messages (section
// 10.12): those and the bodies of messages are skipped.
//
// State of a connection: the proof of protocol, the requests that wait for their answers, and the
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
#include "rtsp/message.h"
#include "rtsp/transport.h"

namespace postern {
namespace {

using rtsp::find_header;
using rtsp::for_each_header;
using rtsp::has_number;
using rtsp::is_space;
using rtsp::is_start_line;
using rtsp::Ports;
using rtsp::read_number;
using rtsp::starts_with;
using rtsp::Transport;
using rtsp::trimmed;

enum Pattern : std::uint8_t {
    kSetup = 1,
    kPlay,
    kTeardown,
    kAnswer
};

enum Class : std::uint8_t {
    kMedia,
    kBack,
    kGroup
};

/// A request that waits for its answer; 0: none.
namespace await {
constexpr std::uint8_t any = 1, setup = 2, play = 4;
// Of a SETUP: its offer.
constexpr std::uint8_t unicast = 8, group = 16;
constexpr std::uint8_t pair = 32;  ///< RTCP's port follows RTP's
constexpr std::uint8_t odd = 64;   ///< it is RtspState::odd_second
constexpr std::uint8_t all = 127;
}  // namespace await

struct RtspState {
    static constexpr unsigned kRequests = 3, kWays = 4;

    // Requests that wait for their answers, the oldest first; see `awaited`.
    std::array<std::uint16_t, kRequests> offered{};
    // Media streams that were set up; host byte order, 0: none to this side.
    std::array<std::uint16_t, kWays> client_port{};
    std::array<std::uint16_t, kWays> server_port{};
    std::uint16_t odd_second = 0;                ///< RTCP's port, as the last SETUP offered it
    std::array<std::uint8_t, kRequests> cseq{};  ///< the lowest byte
    std::array<std::uint8_t, kRequests> awaited{};
    std::uint8_t requested : 1 = 0;  ///< by the client
    std::uint8_t answered : 1 = 0;   ///< by the server
    std::uint8_t numbers : 1 = 0;    ///< the server has answered with a request's number
    std::uint8_t unlisted : 1 = 0;   ///< there was no room for a request that may still wait
    std::uint8_t ways : 3 = 0;
    std::uint8_t once_more : 1 = 0;  ///< picked up in mid-stream: the proof needs one more answer
    std::uint8_t pairs = 0;          ///< bit i: stream i has a port for RTCP after each of its two
};
static_assert(sizeof(RtspState) == kPrivateBytes);

constexpr std::uint8_t kBitsAt = sizeof(RtspState) - 2;
constexpr Field kState[] = {
    POSTERN_FIELD(RtspState, offered),
    POSTERN_FIELD(RtspState, client_port),
    POSTERN_FIELD(RtspState, server_port),
    POSTERN_FIELD(RtspState, odd_second),
    POSTERN_FIELD(RtspState, cseq),
    POSTERN_FIELD(RtspState, awaited, await::all),
    {"requested", kBitsAt, 1, 1, 1},
    {"answered", kBitsAt, 1, 1, 1, 1},
    {"numbers", kBitsAt, 1, 1, 1, 2},
    {"unlisted", kBitsAt, 1, 1, 1, 3},
    {"ways", kBitsAt, 1, 1, RtspState::kWays, 4},
    {"once_more", kBitsAt, 1, 1, 1, 7},
    POSTERN_FIELD(RtspState, pairs, (1u << RtspState::kWays) - 1),
};

constexpr std::uint16_t kPorts[] = {554, 8554};
constexpr ExpectClass kClasses[] = {{"media", "RTP and RTCP to the client", 16, 180},
                                    {"back", "RTP and RTCP to the server", 16, 180},
                                    {"group", "RTP and RTCP to a multicast group", 12, 180, true}};
constexpr ParamDesc kParams[] = {
    with_help(kLooseParam,
              "accept `destination` and `source` that are not the client and the server. Without "
              "it a foreign `source` is ignored: the server itself may send"),
    kDenyPortsParam, kDenyServicesParam,
    with_help(kPickUpParam, "as of `ftp`: after two requests, each with the answer of its CSeq")};
enum Param : unsigned {
    kLoose = named(kParams, "loose")
};
constexpr CounterDesc kCounters[] = {
    {"setups", "SETUP requests read", Unit::requests},
    {"plays", "PLAY and RECORD requests read", Unit::requests},
    {"teardowns", "TEARDOWN requests read", Unit::requests},
    {"interleaved", "answers to SETUP: media in the control connection"},
    {"multicast", "answers to SETUP: media to a group"},
    {"refused", "SETUP, PLAY or RECORD that the server refuses", Unit::requests},
    {"not_asked", "answers with a transport that belong to no SETUP"},
    {"not_offered", "answers to SETUP with a transport that the client has not offered"},
};
enum OwnCounter : unsigned {
    kSetups = named(kCounters, "setups"),
    kPlays = named(kCounters, "plays"),
    kTeardowns = named(kCounters, "teardowns"),
    kInterleaved = named(kCounters, "interleaved"),
    kMulticast = named(kCounters, "multicast"),
    kRefused = named(kCounters, "refused"),
    kNotAsked = named(kCounters, "not_asked"),
    kNotOffered = named(kCounters, "not_offered")
};
constexpr PatternDesc kPatterns[] = {
    {kSetup, "^SETUP ", Direction::original},
    {kPlay, "^(?:PLAY|RECORD) ", Direction::original},
    {kTeardown, "^TEARDOWN ", Direction::original},
    {kAnswer, "^RTSP/", std::nullopt},
};

constexpr std::uint8_t kFrameMark = '$';
constexpr std::size_t kFrameHead = 4;  ///< mark, channel, length (section 10.12)

constexpr Measured kNotRtsp = -1;
constexpr Measured kMore = 0;

/// Progress::part of a message: the line that contains `read`; and Progress::flags.
constexpr std::uint32_t kStartLine = 0, kHeaders = 1;
constexpr std::uint32_t kHasLength = 1;

/// A header line about the body. False if the start of the next message would be a guess.
bool note_header(Bytes text, Progress& p) noexcept {
    Cursor line{text};
    const Bytes name = take_until(line, [](std::uint8_t b) { return b == ':'; });
    if (!take(line, ':') || !same_word(trimmed(name), "Content-Length")) return true;
    const auto n = read_number(trimmed(line.rest()));
    if (!n || ((p.flags & kHasLength) != 0 && *n != p.length)) return false;
    p.length = *n;
    p.flags |= kHasLength;
    return true;
}

Measured measure(Direction direction, Bytes bytes, Progress& p,
                 std::span<const std::uint8_t, kPrivateBytes> state) noexcept {
    Cursor c{bytes};
    if (p.read == 0) {
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
    }
    c.skip(p.read);
    for (;;) {
        if (!take_whole_line(c)) {
            p.read = static_cast<std::uint32_t>(bytes.size());
            return kMore;
        }
        p.read = static_cast<std::uint32_t>(c.position());
        const Bytes line = without_line_end(bytes.subspan(p.part_at, p.read - p.part_at));
        p.part_at = p.read;
        if (p.part == kStartLine) {
            if (!is_start_line(line)) return kNotRtsp;
            p.part = kHeaders;
        } else if (line.empty()) {
            return {static_cast<std::int32_t>(p.read), p.length};
        } else if (!note_header(line, p)) {
            return kNotRtsp;
        }
    }
}

/// A session's tag for expectations, never 0. After its ";" comes its timeout.
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

/// RTP's port, and RTCP's if there is one.
void ask(Emit& emit, const Flow& flow, const Ports& ports) noexcept {
    PinHole request;
    request.src = Prefix::exact(flow.src);
    request.dst = flow.dst;
    request.protocol = proto::udp;
    request.class_index = flow.kind;
    request.announced_by_listener = flow.kind == kMedia;
    request.tag = flow.tag;
    for (const std::uint16_t port : {ports.first, ports.second}) {
        if (port == 0) continue;
        request.dport = Be16::from_host(port);
        emit.expect(request);
    }
}

/// The port after it; 0 if there is none.
constexpr std::uint16_t after(std::uint16_t port) noexcept {
    return port == 0 ? std::uint16_t{0} : static_cast<std::uint16_t>(port + 1);
}

// ---- requests that wait for their answers -------------------------------------------------------

struct Request {
    std::uint8_t awaited = await::any;
    std::uint8_t cseq = 0;
    Ports offered;  ///< of SETUP, unicast

    bool has(std::uint8_t what) const noexcept { return (awaited & what) != 0; }
};

unsigned waiting(const RtspState& s) noexcept {
    unsigned n = 0;
    while (n < s.awaited.size() && s.awaited[n] != 0)
        ++n;
    return n;
}

void forget_request(RtspState& s, std::size_t place) noexcept {
    for (std::size_t i = place; i + 1 < s.awaited.size(); ++i) {
        s.offered[i] = s.offered[i + 1];
        s.cseq[i] = s.cseq[i + 1];
        s.awaited[i] = s.awaited[i + 1];
    }
    s.awaited.back() = 0;
}

/// Without room, the oldest request whose answer opens nothing is displaced, else the oldest PLAY,
/// which repeats SETUP's expectations, else the oldest.
void note_request(RtspState& s, const Request& r) noexcept {
    if (waiting(s) == s.awaited.size()) {
        const auto end = s.awaited.end();
        auto place = std::find(s.awaited.begin(), end, await::any);
        if (place == end)
            place = std::find_if(s.awaited.begin(), end,
                                 [](std::uint8_t a) { return (a & await::setup) == 0; });
        s.unlisted = 1;
        if (place == end && !r.has(await::setup)) return;
        if (place == end) place = s.awaited.begin();
        forget_request(s, static_cast<std::size_t>(place - s.awaited.begin()));
    }
    const unsigned last = waiting(s);
    s.offered[last] = r.offered.first;
    s.cseq[last] = r.cseq;
    s.awaited[last] = r.awaited;
    if (r.offered.is_pair()) {
        s.awaited[last] |= await::pair;
    } else if (r.offered.second != 0) {
        s.awaited[last] |= await::odd;
        s.odd_second = r.offered.second;
    }
}

/// The request answered with this number. Some servers number their answers arbitrarily (always 0),
/// or not at all in a refusal. Requests are answered in order (section 9.1), so the answer is then
/// the oldest one's.
std::optional<Request> take_answered(RtspState& s, std::optional<std::uint32_t> number) noexcept {
    const unsigned n = waiting(s);
    const auto low = static_cast<std::uint8_t>(number.value_or(0));
    unsigned place = 0;
    while (place < n && (!number || s.cseq[place] != low))
        ++place;
    if (place == n) {
        const bool misnumbered = !number || *number == 0 || s.numbers == 0;
        if (n == 0 || s.unlisted != 0 || !misnumbered) return std::nullopt;
        place = 0;
    } else if (*number != 0) {
        s.numbers = 1;
    }
    Request r{s.awaited[place], s.cseq[place], {s.offered[place], 0}};
    if (r.has(await::pair)) r.offered.second = after(r.offered.first);
    if (r.has(await::odd)) r.offered.second = s.odd_second;
    forget_request(s, place);
    if (n == 1) s.unlisted = 0;
    return r;
}

// ---- media streams ------------------------------------------------------------------------------

void note_way(RtspState& s, std::uint16_t client, std::uint16_t server, bool pair) noexcept {
    if (client == 0 && server == 0) return;
    std::size_t i = 0;
    while (i < s.ways && (s.client_port[i] != client || client == 0))
        ++i;
    if (i == RtspState::kWays) return;
    if (i == s.ways) s.ways = static_cast<std::uint8_t>(s.ways + 1u) & 7u;
    s.client_port[i] = client;
    s.server_port[i] = server;
    const auto bit = static_cast<std::uint8_t>(1u << i);
    s.pairs = static_cast<std::uint8_t>(pair ? s.pairs | bit : s.pairs & ~bit);
}

/// One whose ports are no pairs takes two entries.
void note_ways(RtspState& s, const Ports& client, const Ports& server) noexcept {
    if (client.is_pair() && (server.first == 0 || server.is_pair()))
        return note_way(s, client.first, server.first, true);
    note_way(s, client.first, server.first, false);
    note_way(s, client.second, server.second, false);
}

/// After a pause the connections of the media may have expired.
void open_again(const View& view, Emit& emit, const RtspState& s) noexcept {
    const std::uint32_t tag = session_tag(find_header(view.message, "Session"));
    for (std::size_t i = 0; i < s.ways; ++i) {
        const bool pair = (s.pairs >> i & 1) != 0;
        const auto ports = [pair](std::uint16_t first) {
            return Ports{first, pair ? after(first) : std::uint16_t{0}};
        };
        ask(emit, {view.speaker(), view.listener(), kMedia, tag}, ports(s.client_port[i]));
        ask(emit, {view.listener(), view.speaker(), kBack, tag}, ports(s.server_port[i]));
    }
}

// ---- messages -----------------------------------------------------------------------------------

/// False: it has no Transport.
bool read_offer(const View& view, Request& r) noexcept {
    bool found = false;
    for_each_header(view.message, [&](Bytes name, Bytes value) {
        if (!same_word(name, "Transport")) return false;
        found = true;
        Cursor list{value};
        do {
            const Transport t = rtsp::read_transport(rtsp::take_transport(list));
            if (t.tcp || t.broken) continue;
            if (t.multicast) r.awaited |= await::group;
            if (t.multicast || !t.client || r.has(await::unicast)) continue;
            r.awaited |= await::unicast;
            r.offered = *t.client;
        } while (take(list, ','));
        return false;
    });
    return found;
}

void on_request(const View& view, Emit& emit, RtspState& s) noexcept {
    Request r;
    Cursor c{view.message};
    const Bytes method = take_until(c, is_space);
    if (same_word(method, "SETUP")) {
        emit.count(kSetups);
        if (read_offer(view, r))
            r.awaited |= await::setup;
        else
            emit.parse_error();
    } else if (same_word(method, "PLAY") || same_word(method, "RECORD")) {
        emit.count(kPlays);
        r.awaited |= await::play;
    } else if (same_word(method, "TEARDOWN")) {
        emit.count(kTeardowns);
        const std::uint32_t tag = session_tag(find_header(view.message, "Session"));
        for (const Class each : {kMedia, kBack, kGroup})
            emit.remove(each, tag);
        s.ways = 0;
    }
    const auto cseq = find_header(view.message, "CSeq");
    if (const auto number = cseq ? read_number(*cseq) : std::nullopt) {
        r.cseq = static_cast<std::uint8_t>(*number);
    } else {
        if (r.awaited != await::any) emit.parse_error();
        r = {};
    }
    note_request(s, r);
}

/// The server's Transport. Without one, the offer is accepted.
std::optional<Transport> read_agreed(const View& view, Emit& emit, const Request& r) noexcept {
    const auto header = find_header(view.message, "Transport");
    if (!header || header->empty()) {
        if (r.has(await::unicast)) return Transport{};
        emit.parse_error();
        return std::nullopt;
    }
    Cursor list{*header};
    const Transport t = rtsp::read_transport(rtsp::take_transport(list));
    if (t.tcp) {
        emit.count(kInterleaved);
        return std::nullopt;
    }
    take(list, ',');
    // With several, the agreed one is unknown.
    if (t.broken || !trimmed(list.rest()).empty()) {
        emit.parse_error();
        return std::nullopt;
    }
    return t;
}

void on_setup_answer(const View& view, Emit& emit, RtspState& s, const Request& r) noexcept {
    const auto t = read_agreed(view, emit, r);
    if (!t) return;
    IpAddr server = view.speaker();
    if (t->source && *t->source != server) {
        // Whatever its source: only the server that agreed may send, unless configured otherwise.
        if (view.params[kLoose].number == 0)
            emit.refuse(HelperCounter::third_party_address);
        else
            server = *t->source;
    }
    const IpAddr& client = view.listener();
    const std::uint32_t tag = session_tag(find_header(view.message, "Session"));
    if (t->multicast) {
        emit.count(kMulticast);
        if (!r.has(await::group)) return emit.count(kNotOffered);
        if (!t->destination || !t->group) return emit.parse_error();
        if (!is_multicast(*t->destination)) return emit.refuse(HelperCounter::third_party_address);
        ask(emit, {server, *t->destination, kGroup, tag}, *t->group);
        // The client's reports go to the group, too.
        if (t->group->second != 0)
            ask(emit, {client, *t->destination, kGroup, tag}, {t->group->second, 0});
        return;
    }
    if (!r.has(await::unicast)) return emit.count(kNotOffered);
    Ports ports = r.offered;
    if (t->client) {
        const bool swapped = t->client->first == ports.second && t->client->second == ports.first;
        if (t->client->first != ports.first && !swapped) return emit.count(kNotOffered);
        // Servers that name RTP's port only still send RTCP to the offered one.
        if (!swapped && t->client->second != 0 && t->client->second != ports.second) {
            if (!t->client->is_pair()) return emit.count(kNotOffered);
            ports.second = t->client->second;
        }
    }
    IpAddr destination = client;
    if (t->destination && *t->destination != client) {
        // A NAT's address, or a third party's. The client has offered its own ports.
        if (view.params[kLoose].number == 0)
            emit.refuse(HelperCounter::third_party_address);
        else
            destination = *t->destination;
    }
    ask(emit, {server, destination, kMedia, tag}, ports);
    Ports back = t->server.value_or(Ports{});
    if (back.second == 0 && ports.second != 0) back.second = after(back.first);
    ask(emit, {client, server, kBack, tag}, back);
    if (server == view.speaker() && destination == client) note_ways(s, ports, back);
}

void on_answer(const View& view, Emit& emit, RtspState& s) noexcept {
    Cursor c{view.message};
    take_until(c, is_space);
    skip_blanks(c);
    const auto status = take_number(c, 3, 999);
    const auto cseq = find_header(view.message, "CSeq");
    const auto number = cseq ? read_number(*cseq) : std::nullopt;
    if (!status || !number) emit.parse_error();
    if (!status || *status < 200) return;  // the final answer follows
    const auto request = take_answered(s, number);
    if (!request) {
        if (find_header(view.message, "Transport")) emit.count(kNotAsked);
    } else if (*status >= 300) {
        if (request->has(await::setup | await::play)) emit.count(kRefused);
    } else if (request->has(await::setup)) {
        on_setup_answer(view, emit, s, *request);
    } else if (request->has(await::play)) {
        open_again(view, emit, s);
    }
}

/// Whether this answers a waiting request, by its number.
bool answers_request(Bytes head, const RtspState& s) noexcept {
    const auto cseq = find_header(head, "CSeq");
    const auto number = cseq ? read_number(*cseq) : std::nullopt;
    if (!number) return false;
    for (unsigned i = 0; i < waiting(s); ++i)
        if (s.cseq[i] == static_cast<std::uint8_t>(*number)) return true;
    return false;
}

void on_message(View& view, Emit& emit) noexcept {
    auto s = view.load<RtspState>();
    const bool answer = starts_with(view.message, "RTSP/");
    // In mid-stream the server may answer a request that was not seen.
    if (view.picked_up && s.requested == 0) {
        if (!view.from_client()) return;
        s.once_more = 1;
    }
    if (view.from_client()) {
        // The client sends requests first, with the mandatory field (section 12.17).
        if (!s.requested && (answer || !has_number(view.message)))
            return emit.blind(HelperCounter::blind_not_protocol);
        // All of them are read, since answers depend on their order.
        if (!answer) on_request(view, emit, s);
        s.requested = 1;
    } else {
        if (!s.answered) {
            if (!s.requested || (!answer && !has_number(view.message)))
                return emit.blind(HelperCounter::blind_not_protocol);
            // A server may send requests, too, which prove nothing. Refusals of some servers have
            // no number: they answer, and prove nothing.
            if (!answer || (view.picked_up && !answers_request(view.message, s))) {
                // A further answer completes the proof.
            } else if (s.once_more != 0) {
                s.once_more = 0;
            } else if (has_number(view.message)) {
                s.answered = 1;
                emit.proven();
                emit.read_all(false);
            }
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
