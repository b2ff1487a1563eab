// SPDX-License-Identifier: BSD-3-Clause
// IRC: reads the direct connections between clients (DCC) that are offered in private messages (RFC
// 1459 and 2812 for the messages; DCC has no standard beyond the clients' practice). See NOTES.md.
//
// A client's own offer opens a port of it. An offer from the server was written by another user, so
// its contents cannot be trusted: it opens only if configured, and only for the client that
// received it.
//
// State of a connection: the proof of protocol (the client's commands, the server's welcome, the
// nickname in both), whether the client has requested TLS, and the ports that the client has
// offered, which ACCEPT names again.
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

enum Class : std::uint8_t {
    kData,
    kOffer
};

/// The beginning of a nickname, in upper case, padded with zeros. Servers cut longer ones, but not
/// below nine characters (RFC 2812 section 1.2.1).
using Nick = std::array<std::uint8_t, 9>;

/// A question of one side in mid-stream that the other side has to answer.
enum class Awaited : std::uint8_t {
    nothing,
    number,      ///< of the server; the numeric's digits
    pong,        ///< of the server; the word of PING
    client_pong  ///< of the client
};

struct IrcState {
    bool commanded = false;  ///< the client's first line was a command of a client
    bool greeted = false;    ///< the server's first line was one of a server
    bool welcomed = false;   ///< and it has sent the welcome
    bool proven = false;     ///< with a name that the client has used
    bool tls_asked = false;
    std::uint8_t next = 0;                   ///< the index in `offered` that is overwritten next
    std::array<std::uint16_t, 8> offered{};  ///< ports of the client; host byte order, 0 = none
    /// The name of the last NICK; once welcomed: that of the server. Picked up: the awaited answer,
    /// a kind and a word.
    Nick nick{};
    std::uint8_t pairs = 0;  ///< picked up: questions and their answers so far
};
constexpr std::uint8_t kPairs = 2;

constexpr Field kState[] = {
    POSTERN_FIELD(IrcState, commanded),
    POSTERN_FIELD(IrcState, greeted),
    POSTERN_FIELD(IrcState, welcomed),
    POSTERN_FIELD(IrcState, proven),
    POSTERN_FIELD(IrcState, tls_asked),
    POSTERN_FIELD(IrcState, next, IrcState{}.offered.size() - 1),
    POSTERN_FIELD(IrcState, offered),
    POSTERN_FIELD(IrcState, nick),
    POSTERN_FIELD(IrcState, pairs, kPairs),
};

// Message tags (IRCv3) and the sender may precede a command; more than one space is allowed.
#define BEGINNING "^(?:@[^ \\r\\n]+ +)?(?::[^ \\r\\n]+ +)?"

constexpr std::uint16_t kPorts[] = {6667, 6665, 6666, 6668, 6669, 7000};
constexpr ExpectClass kClasses[] = {
    {"data", "a connection to the client, which offered it", 8, 300},
    {"offer", "a connection of the client to another user, who offered it", 8, 300, true}};
constexpr ParamDesc kParams[] = {
    with_help(kLooseParam, "accept offers of a client with another address than its own"),
    kDenyPortsParam,
    ParamDesc{"offers", ParamType::boolean, "false",
              "the client may connect to addresses that other users offer to it. Name the zones in "
              "the rule for related connections, because the other user chooses the address"},
    kDenyServicesParam,
    with_help(kPickUpParam, "as of `ftp`: after two questions and their matching answers")};
enum Param : unsigned {
    kOffers = named(kParams, "offers")
};
constexpr CounterDesc kCounters[] = {
    {"sends", "DCC SEND and RECV read, including the variants with S or T"},
    {"chats", "DCC CHAT read, including the variants with S or T"},
    {"moves", "DCC MOVE read"},
    {"resumes", "DCC RESUME and ACCEPT read"},
    {"passive", "of the above, those that ask the other side to listen"},
    {"others", "DCC of other kinds, which announce nothing"},
    {"offers_ignored", "offers of other users, ignored without `offers`"},
};
enum OwnCounter : unsigned {
    kSends = named(kCounters, "sends"),
    kChats = named(kCounters, "chats"),
    kMoves = named(kCounters, "moves"),
    kResumes = named(kCounters, "resumes"),
    kPassive = named(kCounters, "passive"),
    kOthers = named(kCounters, "others"),
    kOffersIgnored = named(kCounters, "offers_ignored")
};
constexpr PatternDesc kPatterns[] = {
    {kDcc, BEGINNING "PRIVMSG +[^ \\r\\n]+ +:\\x01DCC ", std::nullopt, true},
    {kStartTls, BEGINNING "STARTTLS", Direction::original, true},
    {kTlsReply, BEGINNING "670 ", Direction::reply},
};
#undef BEGINNING

// First commands of a client: RFC 2812 section 3.1, IRCv3's registration, and those of gateways.
constexpr std::string_view kFirstCommands[] = {"CAP",  "PASS",         "NICK",     "USER",
                                               "PING", "AUTHENTICATE", "PROTOCTL", "QUIT",
                                               "PONG", "STARTTLS",     "WEBIRC"};
// Other commands before the welcome.
constexpr std::string_view kCommands[] = {
    "ADMIN",    "AWAY",    "BATCH",    "CHATHISTORY", "CHANSERV", "CS",      "ENCAP",    "HELP",
    "INFO",     "INVITE",  "ISON",     "ISUPPORT",    "JOIN",     "KICK",    "LINKS",    "LIST",
    "LUSERS",   "MAP",     "MARKREAD", "METADATA",    "MODE",     "MONITOR", "MOTD",     "NAMES",
    "NICKSERV", "NOTICE",  "NS",       "OPER",        "PART",     "PRIVMSG", "REGISTER", "RELAYMSG",
    "RENAME",   "SERVICE", "SETNAME",  "SILENCE",     "SQUERY",   "STATS",   "SUMMON",   "TAGMSG",
    "TIME",     "TOPIC",   "TRACE",    "USERHOST",    "USERS",    "VERIFY",  "VERSION",  "WALLOPS",
    "WATCH",    "WHO",     "WHOIS",    "WHOWAS",      "ZNC"};
// Messages of a server before the welcome, besides numerics.
constexpr std::string_view kFirstReplies[] = {"NOTICE", "CAP",  "PING", "ERROR", "AUTHENTICATE",
                                              "PONG",   "FAIL", "WARN", "NOTE"};

/// The numeric at the end of the server's answer to a command (RFC 2812 section 5.1).
struct Answer {
    std::string_view command;
    std::string_view number;
};
constexpr Answer kAnswers[] = {
    {"WHO", "315"},  {"WHOIS", "318"},   {"WHOWAS", "369"}, {"NAMES", "366"},    {"JOIN", "366"},
    {"LIST", "323"}, {"LINKS", "365"},   {"MOTD", "376"},   {"TIME", "391"},     {"STATS", "219"},
    {"INFO", "374"}, {"VERSION", "351"}, {"ISON", "303"},   {"USERHOST", "302"},
};

/// With message tags (IRCv3 message-tags: 8191 bytes, then 512).
constexpr std::uint16_t kLongest = 8703;
constexpr std::uint8_t kCtcp = 0x01;  ///< begins and ends the part for the other user's program

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

/// Moves past tags and sender; false if nothing follows them.
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

/// A file's name or a word: up to a space, or between quotes. False if there is none. Quotes may be
/// part of a name, too: only numbers follow it, so the last one ends it.
bool skip_argument(Cursor& c) noexcept {
    if (!take(c, '"')) return !take_until(c, is_end_of_word).empty() && skip_spaces(c);
    Cursor rest = c;
    const Bytes text = take_until(rest, [](std::uint8_t b) { return b == kCtcp; });
    const auto last = std::find(text.rbegin(), text.rend(), std::uint8_t{'"'});
    if (last == text.rend()) return false;
    c.skip(static_cast<std::size_t>(text.rend() - last));
    return skip_spaces(c);
}

/// Whether it is this kind of DCC. S before it: encrypted; T: without acknowledgements; or both.
bool is_kind(Bytes kind, std::string_view wanted) noexcept {
    if (kind.size() < wanted.size() || kind.size() > wanted.size() + 2) return false;
    const Bytes variant = kind.first(kind.size() - wanted.size());
    return same_word(kind.last(wanted.size()), wanted) &&
           std::all_of(variant.begin(), variant.end(),
                       [](std::uint8_t b) { return upper(b) == 'S' || upper(b) == 'T'; });
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

/// The last relevant number: a word of its own.
std::optional<std::uint16_t> take_port(Cursor& c) noexcept {
    const auto port = take_number(c, 5, 65535);
    if (!port || (!c.at_end() && !is_end_of_word(*c.peek()))) return std::nullopt;
    return static_cast<std::uint16_t>(*port);
}

/// Another, unknown user will connect to the client.
void ask_for_client(Emit& emit, const IpAddr& host, std::uint16_t port) noexcept {
    PinHole request;
    request.dst = host;
    request.src = Prefix{host, 0};
    request.dport = Be16::from_host(port);
    request.protocol = proto::tcp;
    request.class_index = kData;
    emit.expect(request);
}

/// Parses "NAME ADDRESS PORT …", of SEND, CHAT and similar.
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
    request.src = Prefix::exact(view.listener());
    request.dst = *host;
    request.dport = Be16::from_host(*port);
    request.protocol = proto::tcp;
    request.class_index = kOffer;
    emit.expect(request);
}

/// Parses "NAME PORT POSITION": the client agrees to resume a file that it has offered on this
/// port, so its receiver connects now.
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
    take_until(c, is_space);  // the addressee
    skip_spaces(c);
    if (!take(c, ':') || !take(c, kCtcp)) return emit.parse_error();
    take_until(c, is_space);  // "DCC"
    skip_spaces(c);
    const Bytes kind = take_until(c, is_end_of_word);
    skip_spaces(c);
    if (is_kind(kind, "SEND") || is_kind(kind, "RECV")) {
        emit.count(kSends);
        on_offer(view, emit, s, c);
    } else if (is_kind(kind, "CHAT")) {
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

/// Nothing for an empty one.
Nick nick_of(Bytes name) noexcept {
    Nick nick{};
    for (std::size_t i = 0; i < std::min(name.size(), nick.size()); ++i)
        nick[i] = static_cast<std::uint8_t>(upper(name[i]));
    return nick;
}

/// Takes the next parameter; `c` is after the command.
Bytes take_parameter(Cursor& c) noexcept {
    if (!skip_spaces(c)) return {};
    take(c, ':');
    return take_until(c, is_space);
}

bool is_nick(Bytes name) noexcept {
    constexpr std::string_view kNever = "/:#&!@,*?";
    return !name.empty() &&
           kNever.find(static_cast<char>(name.front())) == std::string_view::npos &&
           std::none_of(name.begin(), name.end(), [](std::uint8_t b) { return b <= ' '; });
}

/// Whether the client uses this name: as the sender, or in a parameter other than text.
bool names_itself(Bytes line, const Nick& nick) noexcept {
    if (nick == Nick{}) return false;
    Cursor c{line};
    if (c.peek() == std::uint8_t{'@'}) {
        take_until(c, is_space);
        skip_spaces(c);
    }
    if (take(c, ':')) {
        const Bytes sender =
            take_until(c, [](std::uint8_t b) { return b == ' ' || b == '!' || b == '@'; });
        if (nick_of(sender) == nick) return true;
        take_until(c, is_space);
        skip_spaces(c);
    }
    const bool renames = same_word(take_until(c, is_space), "NICK");
    while (skip_spaces(c)) {
        if (c.peek() == std::uint8_t{':'} && !renames) return false;
        take(c, ':');
        if (nick_of(take_until(c, is_space)) == nick) return true;
    }
    return false;
}

/// Handles a line of a client before the proof; false: it is not IRC. A client of HTTP may begin
/// with any word, NICK or USER, but its first line ends in its version.
bool on_client_line(Bytes line, IrcState& s) noexcept {
    if (is_http_line(line)) return false;
    if (s.welcomed) {
        s.proven = names_itself(line, s.nick);
        return true;
    }
    Cursor c{line};
    const Bytes command = take_command(c);
    if (!is_among(command, kFirstCommands) && (!s.commanded || !is_among(command, kCommands)))
        return false;
    s.commanded = true;
    if (same_word(command, "USER") || same_word(command, "PASS")) return !take_parameter(c).empty();
    if (!same_word(command, "NICK")) return true;
    const Bytes name = take_parameter(c);
    s.nick = nick_of(name);
    return is_nick(name) || name.empty();  // none: the server will request one
}

/// The same for a server, up to its welcome.
bool on_server_line(Bytes line, IrcState& s) noexcept {
    Cursor c{line};
    const Bytes command = take_command(c);
    s.greeted = s.greeted || is_numeric(command) || is_among(command, kFirstReplies);
    if (s.commanded && same_word(command, "001")) {  // RPL_WELCOME
        const Nick named = nick_of(take_parameter(c));
        s.welcomed = true;
        // A server that gives the client another name, as bouncers do: a client of another protocol
        // would not use it.
        s.proven = named != Nick{} && named == s.nick;
        s.nick = named;
    }
    return s.greeted;
}

/// The answer to a question in mid-stream; the word's beginning suffices.
template <class Word>
Nick awaited(Awaited kind, const Word& word) noexcept {
    Nick all{};
    if (word.empty()) return all;
    all[0] = static_cast<std::uint8_t>(kind);
    for (std::size_t i = 0; i < std::min(word.size(), all.size() - 1); ++i)
        all[i + 1] = static_cast<std::uint8_t>(upper(static_cast<std::uint8_t>(word[i])));
    return all;
}

/// Handles a line in mid-stream, where neither the client's first words nor the server's welcome
/// were seen: a command and its matching reply, twice, prove IRC. False: one side does not use it.
bool on_picked_up_line(const View& view, Emit& emit, IrcState& s) noexcept {
    const Bytes line = without_line_end(view.message);
    if (view.from_client() && is_http_line(line)) return false;
    Cursor c{line};
    const Bytes command = take_command(c);
    const Bytes first = take_parameter(c), second = take_parameter(c);
    Nick answer{};
    if (same_word(command, "PING")) {
        s.nick = awaited(view.from_client() ? Awaited::pong : Awaited::client_pong, first);
    } else if (same_word(command, "PONG")) {
        // A server sends its own name first.
        answer = view.from_client() ? awaited(Awaited::client_pong, first)
                                    : awaited(Awaited::pong, second.empty() ? first : second);
    } else if (view.from_client()) {
        for (const Answer& each : kAnswers)
            if (same_word(command, each.command)) s.nick = awaited(Awaited::number, each.number);
    } else if (is_numeric(command)) {
        answer = awaited(Awaited::number, command);
    }
    if (answer == Nick{} || answer != s.nick) return true;
    s.nick = {};
    s.proven = ++s.pairs == kPairs;
    if (s.proven) emit.proven();
    return true;
}

/// Handles a line before the proof. False: its side does not use IRC.
bool on_first_lines(const View& view, Emit& emit, IrcState& s) noexcept {
    const Bytes line = without_line_end(view.message);
    if (line.empty()) return true;  // RFC 2812 section 2.3.1: empty messages are ignored
    const bool known = view.from_client() ? on_client_line(line, s) : on_server_line(line, s);
    if (s.proven) emit.proven();
    return known;
}

void on_message(View& view, Emit& emit) noexcept {
    auto s = view.load<IrcState>();
    const bool is_known = s.proven || (s.welcomed && !view.from_client());
    if (!is_known &&
        !(view.picked_up ? on_picked_up_line(view, emit, s) : on_first_lines(view, emit, s)))
        return emit.blind(HelperCounter::blind_not_protocol);
    emit.read_all(!s.proven && (view.from_client() || !s.welcomed));
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
