// SPDX-License-Identifier: BSD-3-Clause
#include "ftp/reply.h"

#include <algorithm>

#include "helper/text.h"

namespace postern::ftp {
namespace {

/// Codes of replies to STAT. FEAT's is one of them, too.
bool is_status(std::uint32_t code) noexcept {
    return code >= 211 && code <= 213;
}

/// Other ways in which servers end a reply: by another reply's last line, or by `211-End`. A line
/// of a status ends it only in the latter way.
bool is_other_end(const FtpState& s, const ReplyLine& line, std::uint32_t code) noexcept {
    if (line.ends) return line.code >= 200 && !(is_status(code) && s.has_names(names::status));
    return line.code == code && line.text.size() >= 4 && same_word(line.text.first(4), "-END");
}

/// A line inside a reply. Servers that show a client's text write the code and a hyphen before each
/// of its lines, or indent it. The greeting, and indented lines of FEAT and HELP, are the server's
/// own words.
void note_line(FtpState& s, const ReplyLine& line, std::uint32_t code, std::uint8_t bit) noexcept {
    if (line.code != 0 || code == 220) return;
    if (line.indented && (code == 211 || code == 214) && !s.has_names(names::asked)) return;
    s.set_names(bit);
}

/// The reply that was left ends after all, so its lines were text. Or the server answers the only
/// unanswered command with the same code.
void end_left_reply(FtpState& s, std::uint32_t code) noexcept {
    if (outstanding(s) == 0 || outstanding(s) > 1u + s.slack || !fits(s, code)) {
        s.set(flag::ahead);
        s.clear(flag::unending | flag::sure);
    }
    s.slack = static_cast<std::uint8_t>(std::min(s.over + unsigned{s.slack}, 255u));
    s.over = 0;
    s.multi_line = s.inner = 0;
    s.clear(flag::left | flag::other_end);
    s.set_names(names::in_reply | names::in_inner, false);
}

}  // namespace

void shift(FtpState& s, unsigned n) noexcept {
    for (std::uint8_t* each : {&s.unanswered, &s.port_reply, &s.passive_reply, &s.auth_reply})
        *each = *each > n ? static_cast<std::uint8_t>(*each - n) : std::uint8_t{0};
}

unsigned outstanding(const FtpState& s) noexcept {
    return s.unanswered > s.over ? unsigned{s.unanswered} - s.over : 0;
}

bool fits(const FtpState& s, std::uint32_t code) noexcept {
    if (s.expected == 0) return false;
    const unsigned wanted = kUsualReplies[s.expected];
    return code == wanted || (wanted == 226 && code == 250);
}

ReplyLine read_line(Bytes line) noexcept {
    Cursor c{line};
    const auto code = take_number(c, 3, 999);
    const auto mark = c.peek();
    if (!code || *code < 100 || (mark && *mark != ' ' && *mark != '-'))
        return {.indented = line.empty() || is_blank(line[0])};
    return {*code, mark != std::uint8_t{'-'}, c.rest()};
}

bool may_list_names(const FtpState& s, std::uint32_t code) noexcept {
    return s.has_names(names::asked) && code >= 200 && code < 300 && code != 220 && code != 230;
}

bool may_have_names(const FtpState& s, std::uint32_t code, std::uint8_t bit) noexcept {
    const bool status = is_status(code) && s.has_names(names::status) && !s.has(flag::other_end);
    return s.has_names(bit) || may_list_names(s, code) || status;
}

bool is_doubtful(const FtpState& s) noexcept {
    return s.has(flag::left) && (!s.has(flag::sure) || s.has_names(names::in_reply));
}

bool read_text(FtpState& s, const ReplyLine& line) noexcept {
    const bool left = s.has(flag::left);
    if (!left || s.inner != 0) {  // text up to the same code without a hyphen (RFC 959, 4.2)
        const std::uint32_t code = left ? s.inner : s.multi_line;
        const std::uint8_t bit = left ? names::in_inner : names::in_reply;
        if (line.ends && line.code == code) {
            if (left)
                s.inner = 0;
            else
                s.multi_line = 0;
            s.clear(flag::other_end);
            s.set_names(bit, false);
            return true;
        }
        if (left && line.ends && line.code == s.multi_line && !s.has(flag::unending)) {
            end_left_reply(s, line.code);
            return true;
        }
        s.clear(flag::other_end);
        if (is_other_end(s, line, code)) s.set(flag::other_end);
        note_line(s, line, code, bit);
        return false;
    }
    if (line.code == 0) {  // text, so that reply has not ended, unless it belongs to the next one
        if (s.slack == 0) s.clear(flag::unending | flag::sure);
        note_line(s, line, s.multi_line, names::in_reply);
        return false;
    }
    if (line.code != s.multi_line) return true;
    if (line.ends) {
        end_left_reply(s, line.code);
        return true;
    }
    if (may_list_names(s, line.code)) s.set_names(names::in_reply);
    if (s.slack < outstanding(s)) ++s.slack;  // text, or the next reply begins with the same code
    return false;
}

}  // namespace postern::ftp
