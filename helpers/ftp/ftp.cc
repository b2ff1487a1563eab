// SPDX-License-Identifier: BSD-3-Clause
// FTP: reads the data connections that the control connection announces (RFC 959 PORT and PASV,
// RFC 2428 EPRT and EPSV, RFC 1639 LPRT and LPSV) and asks for an expectation for each. See
// NOTES.md for the semantics.
//
// State of a connection: whether the server has greeted and the client has given a command (the
// proof of protocol), the code of a multi-line reply that is under way, whether AUTH was asked; in
// strict mode also how many commands wait for their replies, and for which of these the server's
// word opens a pin-hole.
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
    kPort = 1,
    kEprt,
    kLprt,
    kAuth,
    kEpsvAll,
    kOkReply,
    kPasvReply,
    kLpsvReply,
    kEpsvReply,
    kAuthReply,
    kMultiLine
};

enum OwnCounter : unsigned {
    kPortCommands,
    kEprtCommands,
    kPasvReplies,
    kEpsvReplies,
    kLprtCommands,
    kLpsvReplies,
    kNotAsked,
    kNotAccepted,
    kEpsvOnly,
    kEncryptedRanges
};

enum Param : unsigned {
    kStrict = 2,
    kEncryptedPassive
};

enum Class : std::uint8_t {
    kData,
    kEncrypted
};

/// What the client's AUTH has asked for (RFC 2228, RFC 4217 section 4).
enum class Auth : std::uint8_t {
    none,
    other,
    tls
};

struct FtpState {
    std::uint16_t multi_line = 0;  ///< code of the reply whose last line has not come yet
    bool greeted = false;          ///< by the server, with 120 or 220
    bool commanded = false;        ///< the client's first line was an FTP command
    Auth auth = Auth::none;
    bool greeting_open = false;  ///< its last line has not come yet
    bool epsv_all_asked = false;
    bool epsv_all = false;  ///< the server has agreed: EPSV only, from here on
    // Strict mode. Replies come in the order of the commands (RFC 959 section 5.4).
    std::uint8_t unanswered = 0;     ///< commands whose final reply has not come
    std::uint8_t port_reply = 0;     ///< the how manieth final reply from now is PORT's; 0 = none
    std::uint8_t passive_reply = 0;  ///< the same of PASV, EPSV or LPSV
    std::uint16_t passive_code = 0;  ///< and the code that it must have
    std::uint16_t port = 0;          ///< announced by PORT; host byte order
    std::array<std::uint8_t, 16> host{};  ///< of the client's family
};

constexpr Field kState[] = {
    POSTERN_FIELD(FtpState, multi_line),    POSTERN_FIELD(FtpState, greeted),
    POSTERN_FIELD(FtpState, commanded),     POSTERN_FIELD(FtpState, auth, unsigned(Auth::tls)),
    POSTERN_FIELD(FtpState, greeting_open), POSTERN_FIELD(FtpState, epsv_all_asked),
    POSTERN_FIELD(FtpState, epsv_all),      POSTERN_FIELD(FtpState, unanswered),
    POSTERN_FIELD(FtpState, port_reply),    POSTERN_FIELD(FtpState, passive_reply),
    POSTERN_FIELD(FtpState, passive_code),  POSTERN_FIELD(FtpState, port),
    POSTERN_FIELD(FtpState, host),
};

// Telnet commands that clients send before ABOR and STAT (RFC 854, RFC 959 section 4.1.3): two
// bytes, or three for WILL, WONT, DO and DONT.
#define IAC "^(?:\\xff[\\xf0-\\xfa]|\\xff[\\xfb-\\xfe].)*"

constexpr std::uint16_t kPorts[] = {21};
constexpr ExpectClass kClasses[] = {
    {"data", "a data connection", 1, 300},
    {"encrypted", "any passive data connection of an encrypted control connection", kMaxPortRange,
     86400}};
constexpr ParamDesc kParams[] = {
    kLooseParam, kDenyPortsParam,
    ParamDesc{"strict", ParamType::boolean, "false",
              "PORT opens when the server has agreed, 227 and the like only when asked for"},
    ParamDesc{"encrypted_passive", ParamType::ports, "",
              "the servers' passive ports, opened to a client whose AUTH TLS was accepted for as "
              "long as its control connection lives"}};
constexpr CounterDesc kCounters[] = {
    {"port_commands", "PORT commands read"},
    {"eprt_commands", "EPRT commands read"},
    {"pasv_replies", "227 replies read"},
    {"epsv_replies", "229 replies read"},
    {"lprt_commands", "LPRT commands read"},
    {"lpsv_replies", "228 replies read"},
    {"not_asked", "strict: 227, 228 or 229 that is no answer to PASV, LPSV or EPSV"},
    {"not_accepted", "strict: PORT, EPRT or LPRT to which the server did not say 200"},
    {"epsv_only", "anything but EPSV after EPSV ALL"},
    {"encrypted_ranges", "AUTH TLS accepted: the range encrypted_passive was opened"},
};
constexpr PatternDesc kPatterns[] = {
    {kPort, IAC "PORT ", Direction::original, true},
    {kEprt, IAC "EPRT ", Direction::original, true},
    {kLprt, IAC "LPRT ", Direction::original, true},
    {kAuth, IAC "AUTH ", Direction::original, true},
    {kEpsvAll, IAC "EPSV ALL", Direction::original, true},
    {kOkReply, "^200 ", Direction::reply},
    {kPasvReply, "^227 ", Direction::reply},
    {kLpsvReply, "^228 ", Direction::reply},
    {kEpsvReply, "^229 ", Direction::reply},
    {kAuthReply, "^234 ", Direction::reply},
    {kMultiLine, "^[1-5][0-9][0-9]-", Direction::reply},
};
#undef IAC

// All verbs that a client may open with: RFC 959, 775 (X...), 1639, 2228, 2389, 2428, 2640, 3659,
// 7151, and CLNT, MFMT and the like, which are common though in no RFC.
constexpr std::string_view kCommands[] = {
    "ABOR", "ACCT", "ADAT", "ALLO", "APPE", "AUTH", "AVBL", "CCC",  "CDUP", "CLNT", "CONF",
    "CSID", "CWD",  "DELE", "ENC",  "EPRT", "EPSV", "FEAT", "HELP", "HOST", "LANG", "LIST",
    "LPRT", "LPSV", "MDTM", "MFMT", "MIC",  "MKD",  "MLSD", "MLST", "MODE", "NLST", "NOOP",
    "OPTS", "PASS", "PASV", "PBSZ", "PORT", "PROT", "PWD",  "QUIT", "REIN", "REST", "RETR",
    "RMD",  "RNFR", "RNTO", "SITE", "SIZE", "SMNT", "STAT", "STOR", "STOU", "STRU", "SYST",
    "TYPE", "USER", "XCUP", "XCWD", "XMKD", "XPWD", "XRMD",
};

void skip_telnet(Cursor& c) noexcept {
    while (c.peek() == 0xff) {
        const auto command = c.peek(1);
        if (!command || *command < 0xf0 || *command == 0xff) return;
        if (!c.skip(*command >= 0xfb ? 3 : 2)) return;
    }
}

/// Moves past `verb`, in any case, if the line goes on with it and nothing longer.
bool take_verb(Cursor& c, std::string_view verb) noexcept {
    for (std::size_t i = 0; i < verb.size(); ++i) {
        const auto b = c.peek(i);
        if (!b || upper(*b) != verb[i]) return false;
    }
    const auto after = c.peek(verb.size());
    if (after && *after != ' ') return false;
    return c.skip(verb.size());
}

bool is_command(Cursor c) noexcept {
    for (const std::string_view verb : kCommands)
        if (Cursor each = c; take_verb(each, verb)) return true;
    return false;
}

struct HostPort {
    IpAddr host;
    Be16 port;
};

/// "h1,h2,h3,h4,p1,p2" (RFC 959 section 4.1.2).
std::optional<HostPort> take_host_port(Cursor& c) noexcept {
    std::array<std::uint8_t, 6> n{};
    for (std::size_t i = 0; i < n.size(); ++i) {
        if (i != 0 && !take(c, ',')) return std::nullopt;
        const auto v = take_number(c, 3, 255);
        if (!v) return std::nullopt;
        n[i] = static_cast<std::uint8_t>(*v);
    }
    const unsigned port = unsigned{n[4]} << 8 | n[5];
    return HostPort{IpAddr::v4(n[0], n[1], n[2], n[3]),
                    Be16::from_host(static_cast<std::uint16_t>(port))};
}

/// The argument of EPRT: "|1|192.0.2.1|6275|", any printable delimiter (RFC 2428 section 2).
std::optional<HostPort> take_eprt(Cursor& c) noexcept {
    const auto d = c.u8();
    if (!d || *d < 33 || *d > 126 || is_digit(*d)) return std::nullopt;
    const auto protocol = take_number(c, 1, 2);
    if (!protocol || *protocol == 0 || !take(c, *d)) return std::nullopt;
    const auto host = read_address(take_until(c, [&](std::uint8_t b) { return b == *d; }));
    if (!host || host->family != (*protocol == 1 ? Family::ipv4 : Family::ipv6))
        return std::nullopt;
    if (!take(c, *d)) return std::nullopt;
    const auto port = take_number(c, 5, 65535);
    if (!port || !take(c, *d)) return std::nullopt;
    return HostPort{*host, Be16::from_host(static_cast<std::uint16_t>(*port))};
}

/// "af,hal,h1,…,hn,pal,p1,p2" (RFC 1639 section 3): the address family as IP's version number, and
/// lengths of address and port.
std::optional<HostPort> take_long_host_port(Cursor& c) noexcept {
    const auto version = take_number(c, 1, 6);
    if (!version || (*version != 4 && *version != 6) || !take(c, ',')) return std::nullopt;
    const std::uint32_t length = *version == 4 ? 4 : 16;
    if (take_number(c, 2, 16) != length) return std::nullopt;
    std::array<std::uint8_t, 16> host{};
    for (std::size_t i = 0; i < length; ++i) {
        const auto v = take(c, ',') ? take_number(c, 3, 255) : std::nullopt;
        if (!v) return std::nullopt;
        host[i] = static_cast<std::uint8_t>(*v);
    }
    if (!take(c, ',') || take_number(c, 1, 2) != 2u) return std::nullopt;
    std::uint32_t port = 0;
    for (unsigned i = 0; i < 2; ++i) {
        const auto v = take(c, ',') ? take_number(c, 3, 255) : std::nullopt;
        if (!v) return std::nullopt;
        port = port << 8 | *v;
    }
    return HostPort{*version == 4 ? IpAddr::v4(host.data()) : IpAddr::v6(host.data()),
                    Be16::from_host(static_cast<std::uint16_t>(port))};
}

/// What a 228 has in its parentheses.
std::optional<HostPort> find_long_host_port(Bytes text) noexcept {
    Cursor c{text};
    while (const auto b = c.u8()) {
        if (*b != '(' || !c.peek() || !is_digit(*c.peek())) continue;
        const auto found = take_long_host_port(c);
        return found && take(c, ')') ? found : std::nullopt;
    }
    return std::nullopt;
}

/// The six numbers of a 227, which servers write with and without parentheses after any text
/// (RFC 1123 section 4.1.2.6): in the first parenthesis that starts with a digit, or if there is
/// none the first run of digits and commas. Other numbers in the text are passed over.
std::optional<HostPort> find_host_port(Bytes text) noexcept {
    Cursor c{text};
    while (const auto b = c.u8()) {
        if (*b != '(' || !c.peek() || !is_digit(*c.peek())) continue;
        const auto found = take_host_port(c);
        return found && take(c, ')') ? found : std::nullopt;
    }
    c = Cursor{text};
    while (const auto b = c.peek()) {
        if (!is_digit(*b)) {
            c.skip(1);
            continue;
        }
        if (Cursor run = c; const auto found = take_host_port(run)) {
            const auto after = run.peek();
            const bool ends = !after || *after == ' ' || *after == '.' || *after == ')';
            return ends ? found : std::nullopt;
        }
        while (c.peek() && is_digit(*c.peek()))
            c.skip(1);
        // A list that is not six numbers up to 255: which of them would be meant is a guess.
        if (c.peek() == std::uint8_t{','} && c.peek(1) && is_digit(*c.peek(1))) return std::nullopt;
    }
    return std::nullopt;
}

/// The port of a 229, "(|||6446|)" after any text (RFC 2428 section 3).
std::optional<Be16> find_epsv_port(Bytes text) noexcept {
    for (Cursor c{text}; !c.at_end();) {
        if (!take(c, '(')) {
            c.skip(1);
            continue;
        }
        const auto d = c.peek();
        if (!d || *d < 33 || *d > 126 || is_digit(*d)) continue;
        if (c.peek(1) != d || c.peek(2) != d) continue;
        c.skip(3);
        const auto port = take_number(c, 5, 65535);
        if (!port || !take(c, *d) || !take(c, ')')) return std::nullopt;
        return Be16::from_host(static_cast<std::uint16_t>(*port));
    }
    return std::nullopt;
}

/// The peer of who announced it will connect, from any port.
void ask(const View& view, Emit& emit, const HostPort& announced) noexcept {
    PinHole request;
    request.src = PinHole::exact(view.listener());
    request.dst = announced.host;
    request.dport = announced.port;
    request.protocol = proto::tcp;
    emit.expect(request);
}

/// The server has said 200 to what the client announced before.
void ask_for_client(const View& view, Emit& emit, const FtpState& s) noexcept {
    PinHole request;
    request.src = PinHole::exact(view.speaker());
    request.dst = view.listener().family == Family::ipv4 ? IpAddr::v4(s.host.data())
                                                         : IpAddr::v6(s.host.data());
    request.dport = Be16::from_host(s.port);
    request.protocol = proto::tcp;
    request.announced_by_listener = true;
    emit.expect(request);
}

/// TLS was agreed on. What will be announced nobody can read; it will be in this range.
void ask_for_range(const View& view, Emit& emit) noexcept {
    const auto first = static_cast<std::uint16_t>(view.params[kEncryptedPassive].number >> 16);
    const auto last = static_cast<std::uint16_t>(view.params[kEncryptedPassive].number);
    if (first == 0) return;
    PinHole request;
    request.src = PinHole::exact(view.listener());
    request.dst = view.speaker();
    request.dport = Be16::from_host(first);
    request.more_ports = static_cast<std::uint8_t>(last - first);
    request.protocol = proto::tcp;
    request.class_index = kEncrypted;
    request.flags = PinHole::kPermanent | PinHole::kBeside;
    emit.count(kEncryptedRanges);
    emit.expect(request);
}

bool is_strict(const View& view) noexcept {
    return view.params[kStrict].number != 0;
}

/// PORT, EPRT or LPRT with its argument read.
void on_port(View& view, Emit& emit, FtpState& s, const std::optional<HostPort>& announced,
             bool at_end) noexcept {
    if (!announced || !at_end) return emit.parse_error();
    if (s.epsv_all) return emit.count(kEpsvOnly);
    if (!is_strict(view)) return ask(view, emit, *announced);
    if (announced->host.family != view.speaker().family)
        return emit.refuse(HelperCounter::wrong_family);
    s.port_reply = s.unanswered;
    s.port = announced->port.host();
    s.host = announced->host.bytes;
}

void on_command(View& view, Emit& emit, FtpState& s) noexcept {
    Cursor c{without_line_end(view.message)};
    skip_telnet(c);
    if (!s.commanded) {
        if (!is_command(c)) return emit.blind(HelperCounter::blind_not_protocol);
        s.commanded = true;
        emit.read_all(is_strict(view));
        if (s.greeted) emit.proven();
    }
    if (is_strict(view) && s.unanswered != UINT8_MAX) ++s.unanswered;
    const auto passive = [&](std::uint16_t code) {
        s.passive_reply = s.unanswered;
        s.passive_code = code;
    };
    if (take_verb(c, "PORT")) {
        emit.count(kPortCommands);
        const auto announced = take(c, ' ') ? take_host_port(c) : std::nullopt;
        on_port(view, emit, s, announced, c.at_end());
    } else if (take_verb(c, "EPRT")) {
        emit.count(kEprtCommands);
        const auto announced = take(c, ' ') ? take_eprt(c) : std::nullopt;
        on_port(view, emit, s, announced, c.at_end());
    } else if (take_verb(c, "LPRT")) {
        emit.count(kLprtCommands);
        const auto announced = take(c, ' ') ? take_long_host_port(c) : std::nullopt;
        on_port(view, emit, s, announced, c.at_end());
    } else if (take_verb(c, "EPSV")) {
        if (take(c, ' ') && take_verb(c, "ALL"))
            s.epsv_all_asked = true;
        else
            passive(229);
    } else if (take_verb(c, "PASV")) {
        passive(227);
    } else if (take_verb(c, "LPSV")) {
        passive(228);
    } else if (take_verb(c, "AUTH")) {
        const auto tls = [&](std::string_view name) {
            Cursor each = c;
            return take_verb(each, name) && each.at_end();
        };
        const bool is_tls =
            take(c, ' ') && (tls("TLS") || tls("TLS-C") || tls("SSL") || tls("TLS-P"));
        s.auth = is_tls ? Auth::tls : Auth::other;
    }
}

/// 227, 228 or 229 with its argument read.
void on_passive(View& view, Emit& emit, FtpState& s, bool asked,
                const std::optional<HostPort>& announced, std::uint32_t code) noexcept {
    if (!announced) return emit.parse_error();
    if (s.epsv_all && code != 229) return emit.count(kEpsvOnly);
    if (is_strict(view) && !asked) return emit.count(kNotAsked);
    ask(view, emit, *announced);
}

/// A final reply that is not the greeting: the next command has its answer.
void on_answer(View& view, Emit& emit, FtpState& s, std::uint32_t code, Cursor c) noexcept {
    const bool port_answered = s.port_reply == 1;
    const bool asked = s.passive_reply == 1 && s.passive_code == code;
    for (std::uint8_t* each : {&s.unanswered, &s.port_reply, &s.passive_reply})
        if (*each != 0) --*each;
    if (port_answered) {
        if (code == 200)
            ask_for_client(view, emit, s);
        else
            emit.count(kNotAccepted);
    }
    switch (code) {
        case 200:
            if (s.epsv_all_asked) s.epsv_all = true;
            break;
        case 227:
            emit.count(kPasvReplies);
            on_passive(view, emit, s, asked, find_host_port(c.rest()), code);
            break;
        case 228:
            emit.count(kLpsvReplies);
            on_passive(view, emit, s, asked, find_long_host_port(c.rest()), code);
            break;
        case 229: {
            emit.count(kEpsvReplies);
            const auto port = find_epsv_port(c.rest());
            on_passive(view, emit, s, asked,
                       port ? std::optional(HostPort{view.speaker(), *port}) : std::nullopt, code);
            break;
        }
        case 234:
            if (s.auth == Auth::none) break;
            if (s.auth == Auth::tls) ask_for_range(view, emit);
            emit.blind(HelperCounter::blind_encrypted);
            break;
        default: break;
    }
}

void on_reply(View& view, Emit& emit, FtpState& s) noexcept {
    const Bytes line = without_line_end(view.message);
    Cursor c{line};
    skip_telnet(c);
    const auto code = take_number(c, 3, 999);
    const auto mark = c.peek();
    const bool is_reply = code && *code >= 100 && (!mark || *mark == ' ' || *mark == '-');
    bool is_greeting = !s.greeted;

    if (s.multi_line != 0) {  // all is text up to the same code without a hyphen (RFC 959, 4.2)
        if (!is_reply || *code != s.multi_line || mark == std::uint8_t{'-'}) return;
        s.multi_line = 0;
        emit.read_all(!s.greeted || is_strict(view));
        is_greeting |= *code == 220 && s.greeting_open;
        s.greeting_open = false;
    } else if (!s.greeted) {
        // 421 instead of a greeting is FTP too, but nothing may open after it.
        if (!is_reply || (*code != 120 && *code != 220 && *code != 421))
            return emit.blind(HelperCounter::blind_not_protocol);
        if (*code != 421) {
            s.greeted = true;
            s.greeting_open = mark == std::uint8_t{'-'};
            emit.read_all(is_strict(view));
            if (s.commanded) emit.proven();
        }
    }
    if (!is_reply) return;
    if (mark == std::uint8_t{'-'}) {
        s.multi_line = static_cast<std::uint16_t>(*code);
        emit.read_all(true);
        return;
    }
    if (*code >= 200 && !is_greeting) on_answer(view, emit, s, *code, c);
}

void on_message(View& view, Emit& emit) noexcept {
    auto s = view.load<FtpState>();
    if (view.from_client())
        on_command(view, emit, s);
    else
        on_reply(view, emit, s);
    view.save(s);
}

}  // namespace

extern const HelperDesc helper_ftp;
constinit const HelperDesc helper_ftp{
    .name = "ftp",
    .help = "FTP data connections announced by PORT, EPRT, LPRT, PASV, EPSV and LPSV",
    .transports = transport::tcp,
    .framing = Framing::line,
    .needs_proof = true,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .patterns = kPatterns,
    .state = private_state<FtpState, kState>(),
    .on_message = on_message,
};

}  // namespace postern
