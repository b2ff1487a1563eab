// SPDX-License-Identifier: BSD-3-Clause
// FTP: reads the data connections that the control connection announces (RFC 959 PORT and PASV, RFC
// 2428 EPRT and EPSV, RFC 1639 LPRT and LPSV) and requests an expectation for each. See NOTES.md
// for the semantics.
//
// State of a connection: progress of the proof of protocol, a PORT that waits for it, the code of
// an unfinished multi-line reply, and the commands that wait for their replies. Commands and
// replies are counted only when needed, see counts(): every line is read then.
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "ftp/announce.h"
#include "ftp/command.h"
#include "ftp/reply.h"
#include "ftp/state.h"
#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/text.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {
namespace {

using namespace ftp;

enum Pattern : std::uint8_t {
    kPort = 1,
    kEprt,
    kLprt,
    kAuth,
    kEpsvAll,
    kPasvReply,
    kLpsvReply,
    kEpsvReply,
    kAuthReply,
    kMultiLine,
    kNames
};

enum Class : std::uint8_t {
    kData,
    kEncrypted
};

// Telnet commands of clients before ABOR and STAT (RFC 854, RFC 959 section 4.1.3): two bytes, or
// three for WILL, WONT, DO and DONT.
#define IAC "^(?:\\xff[\\xf0-\\xfa]|\\xff[\\xfb-\\xfe].)*"

constexpr std::uint16_t kPorts[] = {21};
constexpr ExpectClass kClasses[] = {
    {"data", "a data connection", 1, 300},
    {.name = "encrypted",
     .help = "any passive data connection of an encrypted control connection",
     .max_expected = kMaxPortRange,
     .timeout_s = 86400,
     .ends_with_session = true}};
constexpr ParamDesc kParams[] = {
    with_help(kLooseParam,
              "transfers between two servers: PORT may name another host, and a port that the "
              "server announces on request is open to any address"),
    kDenyPortsParam,
    ParamDesc{"strict", ParamType::boolean, "false",
              "PORT opens only after the server's 200; 227, 228 and 229 only as the answer to "
              "PASV, LPSV and EPSV"},
    ParamDesc{"encrypted_passive", ParamType::ports, "",
              "the servers' passive ports, such as `50000-50100` (at most 128, from 1024 on): open "
              "to a client whose `AUTH TLS` was accepted, until its control connection is closed. "
              "`helpers/ftp/NOTES.md` states what this weakens"},
    kDenyServicesParam,
    ParamDesc{"own_address", ParamType::boolean, "true",
              "a port that the server announces opens on the server's own address, whatever "
              "address the 227 or 228 names: clients connect there. `false`: a reply with another "
              "address opens nothing"},
    kPickUpParam};
enum Param : unsigned {
    kLoose = named(kParams, "loose"),
    kStrict = named(kParams, "strict"),
    kEncryptedPassive = named(kParams, "encrypted_passive"),
    kOwnAddress = named(kParams, "own_address")
};
constexpr CounterDesc kCounters[] = {
    {"port_commands", "PORT commands read", Unit::messages},
    {"eprt_commands", "EPRT commands read", Unit::messages},
    {"pasv_replies", "227 replies read", Unit::messages},
    {"epsv_replies", "229 replies read", Unit::messages},
    {"lprt_commands", "LPRT commands read", Unit::messages},
    {"lpsv_replies", "228 replies read", Unit::messages},
    {"not_asked",
     "227, 228 or 229 that answers no PASV, LPSV or EPSV, or that may be text of another reply "
     "(with strict or loose, or after the client sent a command inside a reply)"},
    {"not_accepted", "strict: PORT, EPRT or LPRT that the server did not answer with 200"},
    {"epsv_only", "announcements other than EPSV after EPSV ALL"},
    {"encrypted_ranges", "AUTH TLS accepted: the range encrypted_passive was opened"},
    {"foreign_addresses", "227 or 228 with another address; the server's own was used"},
};
enum OwnCounter : unsigned {
    kPortCommands = named(kCounters, "port_commands"),
    kEprtCommands = named(kCounters, "eprt_commands"),
    kPasvReplies = named(kCounters, "pasv_replies"),
    kEpsvReplies = named(kCounters, "epsv_replies"),
    kLprtCommands = named(kCounters, "lprt_commands"),
    kLpsvReplies = named(kCounters, "lpsv_replies"),
    kNotAsked = named(kCounters, "not_asked"),
    kNotAccepted = named(kCounters, "not_accepted"),
    kEpsvOnly = named(kCounters, "epsv_only"),
    kEncryptedRanges = named(kCounters, "encrypted_ranges"),
    kForeignAddresses = named(kCounters, "foreign_addresses")
};
constexpr PatternDesc kPatterns[] = {
    {kPort, IAC "PORT ", Direction::original, true},
    {kEprt, IAC "EPRT ", Direction::original, true},
    {kLprt, IAC "LPRT ", Direction::original, true},
    {kAuth, IAC "AUTH ", Direction::original, true},
    {kEpsvAll, IAC "EPSV ", Direction::original, true},
    {kNames, IAC "(?:STAT|MLST |SITE )", Direction::original, true},
    {kPasvReply, "^227 ", Direction::reply},
    {kLpsvReply, "^228 ", Direction::reply},
    {kEpsvReply, "^229 ", Direction::reply},
    {kAuthReply, "^234 ", Direction::reply},
    {kMultiLine, "^[1-5][0-9][0-9]-", Direction::reply},
};
#undef IAC

void skip_telnet(Cursor& c) noexcept {
    while (c.peek() == 0xff) {
        const auto command = c.peek(1);
        if (!command || *command < 0xf0 || *command == 0xff) return;
        if (!c.skip(*command >= 0xfb ? 3 : 2)) return;
    }
}

/// The line without its end, blanks before that, and further CRs: some clients send CR CR LF.
Bytes trimmed(Bytes line) noexcept {
    line = without_line_end(line);
    while (!line.empty() && (is_blank(line.back()) || line.back() == '\r'))
        line = line.first(line.size() - 1);
    return line;
}

bool is_strict(const View& view) noexcept {
    return view.params[kStrict].number != 0;
}

bool is_loose(const View& view) noexcept {
    return view.params[kLoose].number != 0;
}

/// Whether commands and their replies are counted. If AUTH TLS opens a range, AUTH's reply has to
/// be known for certain; if any host may connect, so does the request of an announcement.
bool counts(const View& view, const FtpState& s) noexcept {
    return is_strict(view) || is_loose(view) || s.proof != Proof::given ||
           s.has(flag::epsv_asked | flag::careful | flag::auth_agreed) || s.auth_reply != 0 ||
           view.params[kEncryptedPassive].number != 0;
}

/// From the current command on.
void start_counting(const View& view, FtpState& s) noexcept {
    if (counts(view, s)) return;
    s.unanswered = 1;
    s.set(flag::inexact);
}

/// An announcement of the client, in this message or before.
void ask_for_client(const View& view, Emit& emit, const HostPort& announced) noexcept {
    PinHole request;
    request.src = Prefix::exact(view.original.dst);
    request.dst = announced.host;
    request.dport = announced.port;
    request.protocol = proto::tcp;
    request.announced_by_listener = !view.from_client();
    emit.expect(request);
}

HostPort announced_before(const View& view, const FtpState& s) noexcept {
    return {view.original.src.family == Family::ipv4 ? IpAddr::v4(s.host.data())
                                                     : IpAddr::v6(s.host.data()),
            Be16::from_host(s.port)};
}

/// An announcement of the server. Its clients connect to the destination of their control
/// connection, whatever address it names. Servers behind address translation name an unreachable
/// one, and a 227 of a server over IPv6 has none. `loose`: another server may connect there
/// instead.
void ask_for_server(const View& view, Emit& emit, const HostPort& announced) noexcept {
    const bool own = view.params[kOwnAddress].number != 0;
    PinHole request;
    request.src = Prefix::exact(view.listener());
    request.dst = announced.host;
    request.dport = announced.port;
    request.protocol = proto::tcp;
    request.class_index = kData;
    if (announced.host != view.speaker() && own) {
        emit.count(kForeignAddresses);
        request.dst = view.speaker();
    }
    if (is_loose(view) && request.dst == view.speaker()) request.src = Prefix{view.speaker(), 0};
    emit.expect(request);
}

/// TLS was agreed on. Later announcements cannot be read; their ports are in this range.
void ask_for_range(const View& view, Emit& emit) noexcept {
    const auto first = static_cast<std::uint16_t>(view.params[kEncryptedPassive].number >> 16);
    const auto last = static_cast<std::uint16_t>(view.params[kEncryptedPassive].number);
    if (first == 0) return;
    PinHole request;
    request.src = Prefix::exact(view.original.src);
    request.dst = view.original.dst;
    request.dport = Be16::from_host(first);
    request.more_ports = static_cast<std::uint8_t>(last - first);
    request.protocol = proto::tcp;
    request.class_index = kEncrypted;
    request.flags = expect_flag::permanent | expect_flag::beside;
    request.announced_by_listener = view.from_client();
    emit.count(kEncryptedRanges);
    emit.expect(request);
}

/// EPSV ALL, by the replies so far.
bool only_epsv(const FtpState& s) noexcept {
    return s.has(flag::epsv_all) || (s.has(flag::epsv_asked) && s.epsv_before < s.epsv_replies &&
                                     (s.epsv_200s >> s.epsv_before & 1) != 0);
}

void conclude_epsv_all(FtpState& s) noexcept {
    if (only_epsv(s)) s.set(flag::epsv_all);
    s.clear(flag::epsv_asked);
}

/// EPSV ALL has its own reply. If counting began with it, replies in excess belong to earlier
/// unanswered commands, and its own was a later one.
void note_epsv_reply(FtpState& s, std::uint32_t code) noexcept {
    if (s.unanswered == 0 && s.has(flag::inexact) && s.epsv_before < kMostReplies) ++s.epsv_before;
    if (code == 200) s.epsv_200s |= static_cast<std::uint8_t>(1u << s.epsv_replies);
    if (++s.epsv_replies >= kMostReplies) conclude_epsv_all(s);
}

/// AUTH has its answer, or may have it: 234 (RFC 2228), or of older servers 334 or 200. `doubtful`:
/// it may be a line of a reply's text. Then nothing opens, and reading ends.
void on_auth_reply(View& view, Emit& emit, FtpState& s, std::uint32_t code, bool own,
                   bool doubtful) noexcept {
    const bool agreed = s.auth == Auth::tls && own && (code == 200 || code == 334);
    if (agreed && s.has(flag::inexact)) return s.set(flag::auth_agreed);
    if (code == 234 || agreed) {
        if (s.auth == Auth::tls && !doubtful) ask_for_range(view, emit);
        emit.blind(HelperCounter::blind_encrypted);
    } else if (own && code != 334 && !doubtful &&
               (!s.has(flag::inexact) || s.has(flag::auth_agreed))) {
        s.auth = Auth::none;
        s.clear(flag::auth_agreed);
    }
}

/// The server has greeted, the client has sent a command, the server has answered; and if the
/// client sent before the greeting, all its commands are answered.
void prove(const View& view, Emit& emit, FtpState& s) noexcept {
    s.proof = Proof::given;
    emit.proven();
    if (s.has(flag::waiting)) ask_for_client(view, emit, announced_before(view, s));
    s.clear(flag::waiting);
}

bool is_picked_up(const FtpState& s) noexcept {
    return s.proof == Proof::picked_up || s.proof == Proof::picked_up_once;
}

/// In mid-stream the next command has its answer. A refusal matches any command, so it proves
/// nothing.
void note_pair(const View& view, Emit& emit, FtpState& s, std::uint32_t code) noexcept {
    const bool proves = code < 400 && s.expected != 0 && outstanding(s) == 1 && fits(s, code);
    if (proves && (s.proof == Proof::picked_up_once || view.resumed)) return prove(view, emit, s);
    // It opens with its own answer only: it may be the end of a name.
    if (view.resumed) s.clear(flag::waiting);
    if (code < 400 && s.expected != 0) s.proof = proves ? Proof::picked_up_once : Proof::picked_up;
}

/// Handles a final reply other than the greeting: the next command has its answer. True if it
/// answers PASV, EPSV or LPSV as required. In a reply that was left this holds only if the server
/// is known for such replies: it may be text, and is counted separately until the reply ends.
bool on_answer(View& view, Emit& emit, FtpState& s, std::uint32_t code) noexcept {
    const bool doubtful = is_doubtful(s);
    const unsigned next = s.over + 1u, last = next + s.slack;
    const auto may_be = [&](std::uint8_t reply) { return reply >= next && reply <= last; };
    // Outside of texts a 227 is a reply of the server, and answers PASV even if others got none.
    const bool asked = !doubtful && s.passive != 0 && code == kBeforePassive + s.passive &&
                       (is_strict(view) ? may_be(s.passive_reply) : s.passive_reply >= next);
    // A list of names neither accepts nor refuses a PORT.
    const bool decides = is_strict(view) && !(s.has(flag::left) && s.has_names(names::in_reply));
    const bool port_accepted = decides && code == 200 && may_be(s.port_reply);
    const bool port_refused = decides && !port_accepted && s.port_reply == next;
    const bool auth_own = s.auth_reply == next || s.has(flag::auth_agreed);
    const bool answers = outstanding(s) != 0;
    if (s.has(flag::epsv_asked)) note_epsv_reply(s, code);
    if (answers && is_picked_up(s)) note_pair(view, emit, s, code);

    const unsigned n = asked           ? s.passive_reply - unsigned{s.over}
                       : port_accepted ? s.port_reply - unsigned{s.over}
                                       : 1;
    if (s.has(flag::left))
        s.over = static_cast<std::uint8_t>(std::min<unsigned>(s.over + n, s.unanswered));
    else
        shift(s, n);
    const unsigned slack = s.slack >= n - 1 ? s.slack - (n - 1) : 0;
    s.slack = static_cast<std::uint8_t>(std::min(slack, outstanding(s)));
    if (asked) s.passive_reply = 0;
    if (port_accepted) s.port_reply = 0;

    if (answers &&
        (s.proof == Proof::commanded || (s.proof == Proof::early && outstanding(s) == 0)))
        prove(view, emit, s);
    if (port_accepted) ask_for_client(view, emit, announced_before(view, s));
    if (port_refused) emit.count(kNotAccepted);
    if (s.auth != Auth::none) on_auth_reply(view, emit, s, code, auth_own, doubtful);
    return asked;
}

/// The client sends a command inside a multi-line reply. Some servers never end a reply in the form
/// in which it began, and clients continue by their own criterion of its end: for them it has
/// ended. A client ahead of the replies does the same, so until the reply ends after all it may
/// still be text.
void leave_reply(View& view, Emit& emit, FtpState& s) noexcept {
    const bool again = s.has(flag::left);
    const std::uint32_t code = again ? s.inner : s.multi_line;
    const bool chosen = may_have_names(s, code, again ? names::in_inner : names::in_reply);
    const bool chosen_before = again && s.has_names(names::in_reply);
    if (s.has(flag::other_end) && !s.has(flag::ahead) && !chosen && !chosen_before)
        s.set(flag::unending);
    s.clear(flag::other_end);
    s.set_names(names::in_inner, false);
    s.inner = 0;
    if (again && s.has(flag::unending) && !chosen_before) {  // the reply left before has ended
        shift(s, s.over);
        s.over = 0;
        s.multi_line = static_cast<std::uint16_t>(code) & 0x3ff;
        s.set_names(names::in_reply, chosen);
    } else if (chosen) {
        s.set_names(names::in_reply);
    }
    const bool greeting = !s.has(flag::greeted);
    // Without earlier counting, it answers a command all the same.
    if (!greeting && code >= 200 && s.unanswered == 0) s.unanswered = 1;
    s.set(flag::left | flag::careful);
    if (greeting && (code == 220 || code == 230)) s.set(flag::greeted);
    if (!greeting && code >= 200) on_answer(view, emit, s, code);
}

/// PORT, EPRT or LPRT with its parsed argument.
void on_port(View& view, Emit& emit, FtpState& s,
             const std::optional<HostPort>& announced) noexcept {
    if (view.unsure && (!view.resumed || view.reread)) return;  // possibly the end of a name
    if (!announced) return emit.parse_error();
    if (only_epsv(s)) return emit.count(kEpsvOnly);
    if (!is_strict(view) && s.proof == Proof::given) return ask_for_client(view, emit, *announced);
    if (announced->host.family != view.speaker().family)
        return emit.refuse(HelperCounter::wrong_family);
    if (!is_strict(view)) s.set(flag::waiting);
    s.port_reply = s.unanswered;
    s.port = announced->port.host();
    s.host = announced->host.bytes;
}

/// PASV, LPSV or EPSV requires this code.
void await_passive(FtpState& s, unsigned code) noexcept {
    s.passive_reply = s.unanswered;
    s.passive = (code - kBeforePassive) & 3;
}

void on_epsv(const View& view, FtpState& s, Cursor c) noexcept {
    ftp::skip_spaces(c);
    if (!ftp::take_verb(c, "ALL")) {
        return await_passive(s, 229);
    }
    conclude_epsv_all(s);
    start_counting(view, s);
    s.set(flag::epsv_asked);
    s.epsv_before = std::min(outstanding(s) - 1, kMostReplies) & 15;
    s.epsv_replies = s.epsv_200s = 0;
}

void on_auth(const View& view, FtpState& s, Cursor c) noexcept {
    ftp::skip_spaces(c);
    const auto is = [&](std::string_view name) { return same_word(c.rest(), name); };
    s.auth = is("TLS") || is("TLS-C") || is("SSL") || is("TLS-P") ? Auth::tls : Auth::other;
    start_counting(view, s);
    s.auth_reply = s.unanswered;
}

void on_command(View& view, Emit& emit, FtpState& s) noexcept {
    Cursor c{trimmed(view.message)};
    skip_telnet(c);
    if (c.at_end()) return;  // an empty line, or only telnet commands
    // The 200 before was AUTH's: the rest is not text, or must not be read.
    if (s.has(flag::auth_agreed)) return emit.blind(HelperCounter::blind_encrypted);
    const auto command = s.proof != Proof::given || s.multi_line != 0 || s.has(flag::careful)
                             ? read_command(c)
                             : std::optional<Expected>{};
    if (is_picked_up(s)) {
        // A line that seems to have no text may be the rest of a line.
        if (!command && is_http_line(c.rest()))
            return emit.blind(HelperCounter::blind_not_protocol);
    } else if (s.proof != Proof::given && !command) {
        return emit.blind(HelperCounter::blind_not_protocol);
    }
    const bool waited = s.has(flag::greeted);
    if (s.multi_line != 0 && (!s.has(flag::left) || s.inner != 0)) leave_reply(view, emit, s);
    if (s.has(flag::unending) && !s.has_names(names::in_reply) && outstanding(s) == 0) {
        shift(s, s.over);
        s.over = s.slack = 0;
    }
    s.flags = (s.has(flag::unending) ? s.flags | flag::sure : s.flags & ~flag::sure) & 0xfff;
    s.expected = (command ? usual_reply(command->code) : 0) & 15;
    if (!is_picked_up(s) && s.proof != Proof::given)
        s.proof = waited && s.proof != Proof::early ? Proof::commanded : Proof::early;
    // A client in step has all its answers, including EPSV ALL's.
    if (s.has(flag::epsv_asked) && outstanding(s) == 0) conclude_epsv_all(s);
    if (counts(view, s) && s.unanswered != UINT8_MAX) ++s.unanswered;

    const auto argument = [&] { return take(c, ' ') ? c.rest() : Bytes{}; };
    if (ftp::take_verb(c, "PORT")) {
        emit.count(kPortCommands);
        on_port(view, emit, s, ftp::read_port(argument()));
    } else if (ftp::take_verb(c, "EPRT")) {
        emit.count(kEprtCommands);
        on_port(view, emit, s, ftp::read_eprt(argument()));
    } else if (ftp::take_verb(c, "LPRT")) {
        emit.count(kLprtCommands);
        on_port(view, emit, s, ftp::read_lprt(argument()));
    } else if (ftp::take_verb(c, "EPSV")) {
        on_epsv(view, s, c);
    } else if (ftp::take_verb(c, "PASV") || ftp::take_verb(c, "CPSV")) {
        await_passive(s, 227);
    } else if (ftp::take_verb(c, "LPSV")) {
        await_passive(s, 228);
    } else if (ftp::take_verb(c, "AUTH")) {
        on_auth(view, s, c);
    } else if (ftp::take_verb(c, "STAT")) {
        s.set_names(argument().empty() ? names::status : names::asked);
    } else if (ftp::take_verb(c, "MLST") || ftp::take_verb(c, "SITE")) {
        s.set_names(names::asked);
    }
}

/// 227, 228 or 229 with its parsed argument.
void on_passive(View& view, Emit& emit, FtpState& s, bool asked,
                const std::optional<HostPort>& announced, std::uint32_t code) noexcept {
    const bool doubtful = s.has(flag::left) && !asked;
    if (!announced && !doubtful) return emit.parse_error();
    if (only_epsv(s) && code != 229) return emit.count(kEpsvOnly);
    const bool must_be_asked = is_strict(view) || is_loose(view) || s.has(flag::careful);
    if (must_be_asked && !asked) return emit.count(kNotAsked);
    ask_for_server(view, emit, *announced);
}

/// The last line of a reply that is neither preliminary nor the greeting.
void on_final_reply(View& view, Emit& emit, FtpState& s, std::uint32_t code, Bytes text) noexcept {
    const bool asked = on_answer(view, emit, s, code);
    switch (code) {
        case 227:
            emit.count(kPasvReplies);
            return on_passive(view, emit, s, asked, ftp::find_227(text), code);
        case 228:
            emit.count(kLpsvReplies);
            return on_passive(view, emit, s, asked, ftp::find_228(text), code);
        case 229: {
            emit.count(kEpsvReplies);
            const auto port = ftp::find_229(text);
            return on_passive(view, emit, s, asked,
                              port ? std::optional(HostPort{view.speaker(), *port}) : std::nullopt,
                              code);
        }
        default: return;
    }
}

/// Some servers send lines without a code before the greeting, which clients ignore.
bool is_banner(const FtpState& s, Bytes line) noexcept {
    return s.proof == Proof::none && (line.empty() || (!is_digit(line[0]) && !is_http_line(line)));
}

void on_reply(View& view, Emit& emit, FtpState& s) noexcept {
    Cursor c{trimmed(view.message)};
    skip_telnet(c);
    const ReplyLine line = read_line(c.rest());
    if (view.unsure) {  // it may answer a command, but neither proves nor announces anything
        if (view.resumed) s.clear(flag::waiting);
        if (line.ends && line.code >= 200 && outstanding(s) != 0) shift(s, 1);
        return;
    }
    const bool was_left = s.has(flag::left);
    if (s.multi_line != 0 && !read_text(s, line)) return;
    if (!s.has(flag::greeted)) {
        if (line.code == 0 && is_banner(s, c.rest())) return;
        // 421 instead of a greeting is FTP too, but nothing may open after it. Servers without
        // log-in greet with 230.
        if (line.code != 120 && line.code != 220 && line.code != 230 && line.code != 421)
            return emit.blind(HelperCounter::blind_not_protocol);
    }
    if (line.code == 0) return;
    if (!line.ends) {
        if (s.has(flag::left))
            s.inner = line.code & 0x3ff;
        else
            s.multi_line = line.code & 0x3ff;
        return;
    }
    if (!s.has(flag::greeted)) {
        if (line.code == 220 || line.code == 230)
            s.set(flag::greeted);  // 120: the greeting follows
        return;
    }
    if (line.code < 200) return;
    if (!was_left || s.has(flag::left)) {
        // A matching answer to the only unanswered command: the reply before has ended.
        if (was_left && outstanding(s) == 1 && fits(s, line.code) && !is_passive(line.code) &&
            !s.has(flag::ahead) && !s.has_names(names::in_reply))
            s.set(flag::unending);
        return on_final_reply(view, emit, s, line.code, line.text);
    }
    // Its last line. As many further commands may have been answered in its apparent text.
    const unsigned maybe = s.slack;
    s.slack = 0;
    if (line.code != 220 || s.proof == Proof::given)  // the greeting answers nothing
        on_final_reply(view, emit, s, line.code, line.text);
    s.slack = static_cast<std::uint8_t>(std::min(maybe, outstanding(s)));
}

void on_message(View& view, Emit& emit) noexcept {
    auto s = view.load<FtpState>();
    if (view.picked_up && s.proof == Proof::none) {
        s.proof = Proof::picked_up;
        s.set(flag::greeted);
        s.set_names(names::asked | names::status);  // perhaps, before
    }
    if (view.from_client())
        on_command(view, emit, s);
    else
        on_reply(view, emit, s);
    const bool counting = counts(view, s);
    if (!counting) {
        s.unanswered = s.over = s.port_reply = s.passive_reply = s.slack = 0;
        s.clear(flag::inexact);
    }
    view.save(s);
    emit.read_both(counting || s.multi_line != 0);
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
