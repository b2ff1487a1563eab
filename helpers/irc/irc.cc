// SPDX-License-Identifier: BSD-3-Clause
// IRC: reads the direct connections between clients (DCC) that are offered in private messages
// (RFC 1459 and 2812 for the messages; DCC has no standard beyond what clients do). See NOTES.md.
//
// A client's own offer opens a way to it. An offer that comes from the server was written by some
// other user, so nothing in it can be believed: it opens only when the configuration says so, and
// only for the client to whom it came.
//
// State of a connection: the proof of protocol (the client's first command, the server's welcome),
// whether the client has asked for TLS, and the ports that the client has offered, which ACCEPT
// names again.
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
    kDcc = 1,
    kStartTls,
    kTlsReply
};

enum OwnCounter : unsigned {
    kSends,
    kChats,
    kMoves,
    kResumes,
    kPassive,
    kOthers,
    kOffersIgnored
};

enum Class : std::uint8_t {
    kData,
    kOffer
};

enum Param : unsigned {
    kOffers = 2
};

struct IrcState {
    bool commanded = false;  ///< the client's first line was a command of a client
    bool greeted = false;    ///< the server's first line was one of a server
    bool welcomed = false;   ///< and it has let the client in
    bool tls_asked = false;
    std::uint8_t next = 0;                   ///< the place in `offered` that is overwritten next
    std::array<std::uint16_t, 8> offered{};  ///< ports of the client; host byte order, 0 = none
};

constexpr Field kState[] = {
    POSTERN_FIELD(IrcState, commanded),
    POSTERN_FIELD(IrcState, greeted),
    POSTERN_FIELD(IrcState, welcomed),
    POSTERN_FIELD(IrcState, tls_asked),
    POSTERN_FIELD(IrcState, next, IrcState{}.offered.size() - 1),
    POSTERN_FIELD(IrcState, offered),
};

// Message tags (IRCv3) and the sender may stand before a command; more than one space is allowed.
#define BEGINNING "^(?:@[^ \\r\\n]+ +)?(?::[^ \\r\\n]+ +)?"

constexpr std::uint16_t kPorts[] = {6667, 6665, 6666, 6668, 6669, 7000};
constexpr ExpectClass kClasses[] = {
    {"data", "a connection to the client, which has offered it", 8, 300},
    {"offer", "a connection of the client to someone who has offered it", 8, 300, true}};
constexpr ParamDesc kParams[] = {
    kLooseParam, kDenyPortsParam,
    ParamDesc{"offers", ParamType::boolean, "false",
              "let the client connect to what other users offer to it"}};
constexpr CounterDesc kCounters[] = {
    {"sends", "DCC SEND and TSEND read"},
    {"chats", "DCC CHAT and SCHAT read"},
    {"moves", "DCC MOVE read"},
    {"resumes", "DCC RESUME and ACCEPT read"},
    {"passive", "of the above, those that ask the other side to listen"},
    {"others", "DCC of other kinds, which announce nothing"},
    {"offers_ignored", "offers of other users, which do not count without `offers`"},
};
constexpr PatternDesc kPatterns[] = {
    {kDcc, BEGINNING "PRIVMSG +[^ \\r\\n]+ +:\\x01DCC ", std::nullopt, true},
    {kStartTls, BEGINNING "STARTTLS", Direction::original, true},
    {kTlsReply, BEGINNING "670 ", Direction::reply},
};
#undef BEGINNING

// What a client may begin with: RFC 2812 section 3.1, IRCv3's registration, and what gateways say.
constexpr std::string_view kFirstCommands[] = {"CAP",  "PASS",         "NICK",     "USER",
                                               "PING", "AUTHENTICATE", "PROTOCTL", "QUIT",
                                               "PONG", "STARTTLS",     "WEBIRC"};
// What a server may say before the welcome, besides numbers.
constexpr std::string_view kFirstReplies[] = {"NOTICE", "CAP",  "PING", "ERROR", "AUTHENTICATE",
                                              "PONG",   "FAIL", "WARN", "NOTE"};

/// With message tags (IRCv3 message-tags: 8191 bytes, then 512).
constexpr std::uint16_t kLongest = 8703;
constexpr std::uint8_t kCtcp = 0x01;  ///< begins and ends what is for the other user's program

constexpr bool is_space(std::uint8_t c) noexcept {
    return c == ' ';
}
constexpr bool is_end_of_word(std::uint8_t c) noexcept {
    return c == ' ' || c == kCtcp;
}

/// At least one.
bool skip_spaces(Cursor& c) noexcept {
    return !take_until(c, [](std::uint8_t b) { return b != ' '; }).empty();
}

/// Moves past tags and sender; false when nothing follows them.
bool skip_beginning(Cursor& c) noexcept {
    for (const std::uint8_t mark : {'@', ':'}) {
        if (c.peek() != mark) continue;
        take_until(c, is_space);
        if (!skip_spaces(c)) return false;
    }
    return true;
}

Bytes take_command(Cursor& c) noexcept {
    return skip_beginning(c) ? take_until(c, is_space) : Bytes{};
}

template <class List>
bool is_among(Bytes word, const List& list) noexcept {
    return std::any_of(std::begin(list), std::end(list),
                       [&](std::string_view each) { return same_word(word, each); });
}

bool is_numeric(Bytes word) noexcept {
    return word.size() == 3 && std::all_of(word.begin(), word.end(), is_digit);
}

/// A file's name or a word: up to a space, or between quotes. False when there is none.
bool skip_argument(Cursor& c) noexcept {
    if (take(c, '"')) {
        take_until(c, [](std::uint8_t b) { return b == '"' || b == kCtcp; });
        return take(c, '"') && skip_spaces(c);
    }
    return !take_until(c, is_end_of_word).empty() && skip_spaces(c);
}

/// An IPv4 address as one decimal number, or an IPv6 address as text.
std::optional<IpAddr> take_host(Cursor& c) noexcept {
    const Bytes word = take_until(c, is_end_of_word);
    if (std::all_of(word.begin(), word.end(), is_digit)) {
        Cursor digits{word};
        const auto n = take_number(digits, 10, UINT32_MAX);
        if (!n) return std::nullopt;
        const auto byte = [&](unsigned shift) { return static_cast<std::uint8_t>(*n >> shift); };
        return IpAddr::v4(byte(24), byte(16), byte(8), byte(0));
    }
    const auto address = read_address(word);
    return address && address->family == Family::ipv6 ? address : std::nullopt;
}

/// The last number that matters: a word of its own.
std::optional<std::uint16_t> take_port(Cursor& c) noexcept {
    const auto port = take_number(c, 5, 65535);
    if (!port || (!c.at_end() && !is_end_of_word(*c.peek()))) return std::nullopt;
    return static_cast<std::uint16_t>(*port);
}

/// Some other user, known to nobody here, will connect to the client.
void ask_for_client(Emit& emit, const IpAddr& host, std::uint16_t port) noexcept {
    PinHole request;
    request.dst = host;
    request.src = Prefix{host, 0};
    request.dport = Be16::from_host(port);
    request.protocol = proto::tcp;
    request.class_index = kData;
    emit.expect(request);
}

/// "NAME ADDRESS PORT …", of SEND, CHAT and the like.
void on_offer(View& view, Emit& emit, IrcState& s, Cursor c) noexcept {
    const bool named = skip_argument(c);
    const auto host = named ? take_host(c) : std::nullopt;
    const auto port = host && skip_spaces(c) ? take_port(c) : std::nullopt;
    if (!port) return emit.parse_error();
    if (*port == 0) return emit.count(kPassive);  // the other side's answer will have a port
    if (view.from_client()) {
        if (*host == view.speaker()) {
            s.offered[s.next] = *port;
            s.next = static_cast<std::uint8_t>((s.next + 1) % s.offered.size());
        }
        return ask_for_client(emit, *host, *port);
    }
    if (view.params[kOffers].number == 0) return emit.count(kOffersIgnored);
    PinHole request;
    request.src = PinHole::exact(view.listener());
    request.dst = *host;
    request.dport = Be16::from_host(*port);
    request.protocol = proto::tcp;
    request.class_index = kOffer;
    emit.expect(request);
}

/// "NAME PORT POSITION": the client agrees to go on with a file that it has offered on this port,
/// so its receiver comes now.
void on_accept(const View& view, Emit& emit, const IrcState& s, Cursor c) noexcept {
    const auto port = skip_argument(c) ? take_port(c) : std::nullopt;
    if (!port) return emit.parse_error();
    if (*port != 0 && std::find(s.offered.begin(), s.offered.end(), *port) != s.offered.end())
        ask_for_client(emit, view.speaker(), *port);
}

void on_dcc(View& view, Emit& emit, IrcState& s) noexcept {
    Cursor c{without_line_end(view.message)};
    take_command(c);
    skip_spaces(c);
    take_until(c, is_space);  // to whom
    skip_spaces(c);
    if (!take(c, ':') || !take(c, kCtcp)) return emit.parse_error();
    take_until(c, is_space);  // "DCC"
    skip_spaces(c);
    const Bytes kind = take_until(c, is_end_of_word);
    skip_spaces(c);
    if (same_word(kind, "SEND") || same_word(kind, "TSEND")) {
        emit.count(kSends);
        on_offer(view, emit, s, c);
    } else if (same_word(kind, "CHAT") || same_word(kind, "SCHAT")) {
        emit.count(kChats);
        on_offer(view, emit, s, c);
    } else if (same_word(kind, "MOVE")) {
        emit.count(kMoves);
        on_offer(view, emit, s, c);
    } else if (same_word(kind, "RESUME")) {
        emit.count(kResumes);
    } else if (same_word(kind, "ACCEPT")) {
        emit.count(kResumes);
        if (view.from_client()) on_accept(view, emit, s, c);
    } else {
        emit.count(kOthers);
    }
}

/// A line of a side that has yet to show what it speaks. False: it does not speak IRC.
bool on_first_lines(const View& view, Emit& emit, IrcState& s) noexcept {
    Cursor c{without_line_end(view.message)};
    if (c.at_end()) return true;  // RFC 2812 section 2.3.1: empty messages are ignored
    const Bytes command = take_command(c);
    if (view.from_client()) {
        s.commanded = is_among(command, kFirstCommands);
        if (s.commanded) emit.read_all(false);
        return s.commanded;
    }
    s.greeted = s.greeted || is_numeric(command) || is_among(command, kFirstReplies);
    if (s.commanded && same_word(command, "001")) {  // RPL_WELCOME
        s.welcomed = true;
        emit.proven();
        emit.read_all(false);
    }
    return s.greeted;
}

void on_message(View& view, Emit& emit) noexcept {
    auto s = view.load<IrcState>();
    const bool known = view.from_client() ? s.commanded : s.welcomed;
    if (!known && !on_first_lines(view, emit, s))
        return emit.blind(HelperCounter::blind_not_protocol);
    switch (view.pattern) {
        case kDcc: on_dcc(view, emit, s); break;
        case kStartTls: s.tls_asked = true; break;
        case kTlsReply:
            if (s.tls_asked) emit.blind(HelperCounter::blind_encrypted);
            break;
        default: break;
    }
    view.save(s);
}

}  // namespace

extern const HelperDesc helper_irc;
constinit const HelperDesc helper_irc{
    .name = "irc",
    .help = "IRC: direct connections between clients, announced by DCC",
    .transports = transport::tcp,
    .framing = Framing::line,
    .needs_proof = true,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .patterns = kPatterns,
    .longest_message = kLongest,
    .state = private_state<IrcState, kState>(),
    .on_message = on_message,
};

}  // namespace postern
