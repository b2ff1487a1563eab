// SPDX-License-Identifier: BSD-3-Clause
#include "ftp/command.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "ftp/state.h"

namespace postern::ftp {
namespace {

/// The argument that a command may have.
enum class Argument : std::uint8_t {
    none,
    optional,
    text,    ///< at least one character
    number,  ///< begins with a digit
    letter   ///< one letter, alone or before a blank
};
struct Command {
    std::string_view verb;
    Argument argument;
    std::uint16_t reply = 0;  ///< its positive reply code, if servers agree on one
};
// All commands that a client may send before the proof: the registry of RFC 5797 (RFC 959, 775,
// 1639, 2228, 2389, 2428, 2640, 3659, 7151), and CLNT, CPSV, PRET, SSCN, OPEN (of proxies) and
// others that are common though in no RFC. Experimental ones begin with X (RFC 959 section 5.1) and
// are not listed.
constexpr Command kCommands[] = {
    {"ABOR", Argument::none},          {"ACCT", Argument::text},
    {"ADAT", Argument::text},          {"ALGS", Argument::text},
    {"ALLO", Argument::number},        {"APPE", Argument::text, 226},
    {"AUTH", Argument::text},          {"AUTH+", Argument::text},
    {"AVBL", Argument::optional},      {"CCC", Argument::none},
    {"CDUP", Argument::none},          {"CLNT", Argument::text},
    {"COMB", Argument::text},          {"CONF", Argument::text},
    {"CPSV", Argument::none, 227},     {"CSID", Argument::text},
    {"CWD", Argument::optional, 250},  {"DELE", Argument::text, 250},
    {"DSIZ", Argument::text},          {"ENC", Argument::text},
    {"EPRT", Argument::text, 200},     {"EPSV", Argument::optional, 229},
    {"FEAT", Argument::none, 211},     {"HASH", Argument::optional},
    {"HELP", Argument::optional},      {"HOST", Argument::text},
    {"LANG", Argument::optional},      {"LIST", Argument::optional, 226},
    {"LPRT", Argument::text, 200},     {"LPSV", Argument::none, 228},
    {"MDTM", Argument::text, 213},     {"MFCT", Argument::text},
    {"MFF", Argument::text},           {"MFMT", Argument::text},
    {"MIC", Argument::text},           {"MKD", Argument::text, 257},
    {"MLSD", Argument::optional, 226}, {"MLST", Argument::optional, 250},
    {"MODE", Argument::letter, 200},   {"NLST", Argument::optional, 226},
    {"NOOP", Argument::optional, 200}, {"OPEN", Argument::text},
    {"OPTS", Argument::text, 200},     {"PASS", Argument::optional, 230},
    {"PASV", Argument::none, 227},     {"PBSZ", Argument::number},
    {"PBSZ+", Argument::text},         {"PORT", Argument::text, 200},
    {"PRET", Argument::text},          {"PROT", Argument::letter},
    {"PROT+", Argument::text},         {"PWD", Argument::none, 257},
    {"QUIT", Argument::none},          {"RANG", Argument::text},
    {"REIN", Argument::none},          {"REST", Argument::number, 350},
    {"RETR", Argument::text, 226},     {"RMD", Argument::text, 250},
    {"RNFR", Argument::text, 350},     {"RNTO", Argument::text, 250},
    {"SITE", Argument::optional},      {"SIZE", Argument::text, 213},
    {"SMNT", Argument::text},          {"SPSV", Argument::none},
    {"SSCN", Argument::optional},      {"STAT", Argument::optional},
    {"STOR", Argument::text, 226},     {"STOU", Argument::optional, 226},
    {"STRU", Argument::letter, 200},   {"SYST", Argument::none, 215},
    {"THMB", Argument::text},          {"TYPE", Argument::letter, 200},
    {"USER", Argument::text, 331},
};

static_assert(std::all_of(std::begin(kCommands), std::end(kCommands),
                          [](const Command& c) {
                              return c.reply == 0 || usual_reply(c.reply) != 0;
                          }),
              "a reply code that FtpState::expected cannot name");

bool is_plausible(Bytes argument, Argument wanted) noexcept {
    while (!argument.empty() && argument.back() == ' ')
        argument = argument.first(argument.size() - 1);
    const bool printable =
        std::none_of(argument.begin(), argument.end(), [](std::uint8_t b) { return b < ' '; });
    if (!printable || argument.empty())
        return printable && (wanted == Argument::none || wanted == Argument::optional);
    switch (wanted) {
        case Argument::none: return false;
        case Argument::optional:
        case Argument::text: return true;
        case Argument::number: return is_digit(argument[0]);
        case Argument::letter:
            return upper(argument[0]) >= 'A' && upper(argument[0]) <= 'Z' &&
                   (argument.size() == 1 || argument[1] == ' ');
    }
    return false;
}

/// XCRC, XSHA256 and similar.
bool take_experimental_verb(Cursor& c) noexcept {
    if (!c.peek() || upper(*c.peek()) != 'X') return false;
    const Bytes verb = take_until(c, [](std::uint8_t b) { return b == ' '; });
    return verb.size() >= 3 && verb.size() <= 8 &&
           std::all_of(verb.begin(), verb.end(), [](std::uint8_t b) {
               return is_digit(b) || (upper(b) >= 'A' && upper(b) <= 'Z');
           });
}

}  // namespace

std::optional<Expected> read_command(Cursor c) noexcept {
    if (is_http_line(c.rest())) return std::nullopt;
    if (Cursor each = c; take_experimental_verb(each)) {
        if (!is_plausible(each.rest(), Argument::optional)) return std::nullopt;
        return Expected{0};
    }
    if (c.at_end()) return std::nullopt;
    const char initial = upper(*c.peek());
    const auto initial_of = [](const Command& command) { return command.verb.front(); };
    static_assert(std::ranges::is_sorted(kCommands, {}, initial_of));
    for (const Command* command = std::ranges::lower_bound(kCommands, initial, {}, initial_of);
         command != std::end(kCommands) && initial_of(*command) == initial; ++command) {
        Cursor each = c;
        if (!take_verb(each, command->verb)) continue;
        skip_spaces(each);
        if (!is_plausible(each.rest(), command->argument)) return std::nullopt;
        return Expected{command->reply};
    }
    return std::nullopt;
}

}  // namespace postern::ftp
