// SPDX-License-Identifier: BSD-3-Clause
// FTP: reads the data connections that the control connection announces (RFC 959 PORT and PASV,
// RFC 2428 EPRT and EPSV) and asks for an expectation for each. See NOTES.md for the semantics.
//
// State of a connection: whether the server has greeted and the client has given a command (the
// proof of protocol), the code of a multi-line reply that is under way, whether AUTH was asked.
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {
namespace {

enum Pattern : std::uint8_t {
    kPort = 1,
    kEprt,
    kAuth,
    kPasvReply,
    kEpsvReply,
    kAuthReply,
    kMultiLine
};

enum OwnCounter : unsigned {
    kPortCommands,
    kEprtCommands,
    kPasvReplies,
    kEpsvReplies
};

struct FtpState {
    std::uint16_t multi_line = 0;  ///< code of the reply whose last line has not come yet
    bool greeted = false;          ///< by the server, with 120 or 220
    bool commanded = false;        ///< the client's first line was an FTP command
    bool auth_asked = false;
};

// Telnet commands that clients send before ABOR and STAT (RFC 854, RFC 959 section 4.1.3): two
// bytes, or three for WILL, WONT, DO and DONT.
#define IAC "^(?:\\xff[\\xf0-\\xfa]|\\xff[\\xfb-\\xfe].)*"

constexpr std::uint16_t kPorts[] = {21};
constexpr ExpectClass kClasses[] = {{"data", "a data connection", 1, 300}};
constexpr ParamDesc kParams[] = {kLooseParam, kDenyPortsParam};
constexpr CounterDesc kCounters[] = {
    {"port_commands", "PORT commands read"},
    {"eprt_commands", "EPRT commands read"},
    {"pasv_replies", "227 replies read"},
    {"epsv_replies", "229 replies read"},
};
constexpr PatternDesc kPatterns[] = {
    {kPort, IAC "PORT ", Direction::original, true},
    {kEprt, IAC "EPRT ", Direction::original, true},
    {kAuth, IAC "AUTH ", Direction::original, true},
    {kPasvReply, "^227 ", Direction::reply},
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

constexpr bool is_digit(std::uint8_t c) noexcept {
    return c >= '0' && c <= '9';
}
constexpr char upper(std::uint8_t c) noexcept {
    return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
}

/// The line without what ends it.
Bytes without_line_end(Bytes line) noexcept {
    if (!line.empty() && line.back() == '\n') line = line.first(line.size() - 1);
    if (!line.empty() && line.back() == '\r') line = line.first(line.size() - 1);
    return line;
}

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

bool take(Cursor& c, std::uint8_t wanted) noexcept {
    return c.peek() == wanted && c.skip(1);
}

/// A decimal number of 1 to `max_digits` digits, at most `max`.
std::optional<std::uint32_t> take_number(Cursor& c, unsigned max_digits,
                                         std::uint32_t max) noexcept {
    std::uint32_t v = 0;
    unsigned digits = 0;
    while (const auto b = c.peek()) {
        if (!is_digit(*b)) break;
        if (++digits > max_digits) return std::nullopt;
        v = v * 10 + (*b - std::uint32_t{'0'});
        c.skip(1);
    }
    if (digits == 0 || v > max) return std::nullopt;
    return v;
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
    std::size_t length = 0;
    while (c.peek(length) && *c.peek(length) != *d)
        ++length;
    const auto text = c.take(length);
    const auto host = IpAddr::parse({reinterpret_cast<const char*>(text->data()), text->size()});
    if (!host || host->family != (*protocol == 1 ? Family::ipv4 : Family::ipv6))
        return std::nullopt;
    if (!take(c, *d)) return std::nullopt;
    const auto port = take_number(c, 5, 65535);
    if (!port || !take(c, *d)) return std::nullopt;
    return HostPort{*host, Be16::from_host(static_cast<std::uint16_t>(*port))};
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

void on_command(View& view, Emit& emit, FtpState& s) noexcept {
    Cursor c{without_line_end(view.message)};
    skip_telnet(c);
    if (!s.commanded) {
        if (!is_command(c)) return emit.blind(HelperCounter::blind_not_protocol);
        s.commanded = true;
        emit.read_all(false);
        if (s.greeted) emit.proven();
    }
    if (take_verb(c, "PORT")) {
        emit.count(kPortCommands);
        const auto announced = take(c, ' ') ? take_host_port(c) : std::nullopt;
        if (!announced || !c.at_end()) return emit.parse_error();
        ask(view, emit, *announced);
    } else if (take_verb(c, "EPRT")) {
        emit.count(kEprtCommands);
        const auto announced = take(c, ' ') ? take_eprt(c) : std::nullopt;
        if (!announced || !c.at_end()) return emit.parse_error();
        ask(view, emit, *announced);
    } else if (take_verb(c, "AUTH")) {
        s.auth_asked = true;
    }
}

void on_reply(View& view, Emit& emit, FtpState& s) noexcept {
    const Bytes line = without_line_end(view.message);
    Cursor c{line};
    skip_telnet(c);
    const auto code = take_number(c, 3, 999);
    const auto mark = c.peek();
    const bool is_reply = code && *code >= 100 && (!mark || *mark == ' ' || *mark == '-');

    if (s.multi_line != 0) {  // all is text up to the same code without a hyphen (RFC 959, 4.2)
        if (!is_reply || *code != s.multi_line || mark == std::uint8_t{'-'}) return;
        s.multi_line = 0;
        emit.read_all(!s.greeted);
    } else if (!s.greeted) {
        // 421 instead of a greeting is FTP too, but nothing may open after it.
        if (!is_reply || (*code != 120 && *code != 220 && *code != 421))
            return emit.blind(HelperCounter::blind_not_protocol);
        if (*code != 421) {
            s.greeted = true;
            emit.read_all(false);
            if (s.commanded) emit.proven();
        }
    }
    if (!is_reply) return;
    if (mark == std::uint8_t{'-'}) {
        s.multi_line = static_cast<std::uint16_t>(*code);
        emit.read_all(true);
        return;
    }
    if (*code == 227) {
        emit.count(kPasvReplies);
        const auto announced = find_host_port(c.rest());
        if (!announced) return emit.parse_error();
        ask(view, emit, *announced);
    } else if (*code == 229) {
        emit.count(kEpsvReplies);
        const auto port = find_epsv_port(c.rest());
        if (!port) return emit.parse_error();
        ask(view, emit, HostPort{view.speaker(), *port});
    } else if (*code == 234 && s.auth_asked) {
        emit.blind(HelperCounter::blind_encrypted);
    }
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
    .help = "FTP data connections announced by PORT, EPRT, PASV and EPSV",
    .protocol = proto::tcp,
    .framing = Framing::line,
    .needs_proof = true,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .patterns = kPatterns,
    .on_message = on_message,
};

}  // namespace postern
