// SPDX-License-Identifier: BSD-3-Clause
// The FTP helper's state of a control connection, within the private bytes of a helper, and its
// saved form.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "base/field.h"

namespace postern::ftp {

/// The client's AUTH request (RFC 2228, RFC 4217 section 4).
enum class Auth : std::uint16_t {
    none,
    other,
    tls
};

/// Progress of the proof of protocol: a greeting, then a command, then its answer.
enum class Proof : std::uint16_t {
    none,
    commanded,  ///< the client waited for the greeting; no command is answered yet
    early,      ///< it did not wait: no proof before all its commands are answered
    // In mid-stream there is no greeting: two commands, each with its matching answer.
    picked_up,
    picked_up_once,  ///< the first of them
    given
};

/// Bits of FtpState::flags.
namespace flag {
constexpr std::uint16_t greeted = 1;     ///< by the server, with the last line of its greeting
constexpr std::uint16_t waiting = 2;     ///< `host` and `port` of a PORT that open with the proof
constexpr std::uint16_t epsv_asked = 4;  ///< EPSV ALL; its reply is not certain yet
constexpr std::uint16_t epsv_all = 8;    ///< the server has agreed: EPSV only, from here on
/// The client has continued inside the reply `multi_line`, which may or may not have ended.
constexpr std::uint16_t left = 16;
/// This has happened in this connection, so an apparent reply may be the text of one.
constexpr std::uint16_t careful = 32;
/// Counting began in the middle: earlier commands may have been unanswered.
constexpr std::uint16_t inexact = 64;
/// The last line of a multi-line reply resembles an end, though not its own.
constexpr std::uint16_t other_end = 128;
/// This server does not end replies in the form in which they began: after the client had
/// continued, a command had its matching answer; or it continued after a line like an end.
constexpr std::uint16_t unending = 256;
/// A reply has ended in which the client had continued: it is ahead of the replies. Nothing shows
/// `unending` any more.
constexpr std::uint16_t ahead = 512;
/// `unending` was known when the client sent the unanswered request.
constexpr std::uint16_t sure = 1024;
/// 200 or 334 may have been AUTH's answer, or that of an earlier, uncounted command.
constexpr std::uint16_t auth_agreed = 2048;
}  // namespace flag

/// Bits of FtpState::names: which multi-line replies may have lines that the client chose, such as
/// names of files.
namespace names {
constexpr std::uint8_t asked = 1;   ///< by STAT with an argument, MLST or SITE; or it may have
constexpr std::uint8_t status = 2;  ///< the client has sent STAT alone, or may have
/// The reply `multi_line` may have such lines. Unless it ends as it began, nothing shows its end.
constexpr std::uint8_t in_reply = 4;
constexpr std::uint8_t in_inner = 8;  ///< the same of the reply `inner`
}  // namespace names

/// Replies that answer a passive command: 227, 228 and 229.
constexpr unsigned kBeforePassive = 226;
constexpr bool is_passive(std::uint32_t code) noexcept {
    return code > kBeforePassive && code <= kBeforePassive + 3;
}

struct FtpState {
    std::uint16_t multi_line : 10 = 0;  ///< code of the reply whose last line has not arrived
    Proof proof : 3 = Proof::none;
    Auth auth : 2 = Auth::none;
    /// Code of a multi-line reply inside the one that was left, if that one has ended.
    std::uint16_t inner : 10 = 0;
    std::uint16_t passive : 2 = 0;  ///< code that PASV, LPSV or EPSV requires, less kBeforePassive
    std::uint16_t epsv_before : 4 = 0;  ///< of the final replies since EPSV ALL, before its own
    std::uint16_t flags : 12 = 0;
    std::uint16_t epsv_replies : 4 = 0;  ///< final replies since EPSV ALL, at most kMostReplies
    std::uint16_t port = 0;              ///< announced by PORT; host byte order
    // While commands are counted. Replies arrive in the order of commands (RFC 959 section 5.4).
    std::uint8_t unanswered = 0;     ///< commands without their final reply
    std::uint8_t over = 0;           ///< of these, number answered if the left reply has ended
    std::uint8_t port_reply = 0;     ///< which upcoming final reply answers it (1 = next); 0 = none
    std::uint8_t passive_reply = 0;  ///< the same for PASV, EPSV or LPSV
    std::uint8_t auth_reply = 0;     ///< the same for AUTH
    std::uint8_t slack = 0;          ///< further commands possibly answered in a reply's text
    std::uint8_t expected : 4 = 0;   ///< reply that answers the last command, see usual_reply()
    std::uint8_t names : 4 = 0;      ///< bits of names
    std::uint8_t epsv_200s = 0;      ///< a bit for each of epsv_replies: it was 200
    std::array<std::uint8_t, 16> host{};  ///< in PORT, of the client's family

    bool has(std::uint16_t f) const noexcept { return (flags & f) != 0; }
    void set(std::uint16_t f) noexcept { flags = (flags | f) & 0xfff; }
    void clear(std::uint16_t f) noexcept { flags = flags & ~f & 0xfff; }
    bool has_names(std::uint8_t bits) const noexcept { return (names & bits) != 0; }
    void set_names(std::uint8_t bits, bool to = true) noexcept {
        names = (to ? names | bits : names & ~bits) & 15;
    }
};
constexpr unsigned kMostReplies = 8;

/// Codes of positive replies that answer one command only, or few. FtpState::expected is an index.
inline constexpr std::uint16_t kUsualReplies[] = {0,   200, 211, 213, 215, 226, 227,
                                                  228, 229, 230, 250, 257, 331, 350};
/// The index of a code; 0: it is none of them.
constexpr std::uint8_t usual_reply(std::uint32_t code) noexcept {
    for (std::uint8_t i = 1; i < std::size(kUsualReplies); ++i)
        if (kUsualReplies[i] == code) return i;
    return 0;
}

// Bit-fields begin at the lowest bit of each word.
inline constexpr Field kState[] = {
    {"multi_line", 0, 2, 1, 999},
    {"proof", 0, 2, 1, unsigned(Proof::given), 10},
    {"auth", 0, 2, 1, unsigned(Auth::tls), 13},
    {"inner", 2, 2, 1, 999},
    {"passive", 2, 2, 1, 3, 10},
    {"epsv_before", 2, 2, 1, 15, 12},
    {"flags", 4, 2, 1, 4095},
    {"epsv_replies", 4, 2, 1, kMostReplies, 12},
    POSTERN_FIELD(FtpState, port),
    POSTERN_FIELD(FtpState, unanswered),
    POSTERN_FIELD(FtpState, over),
    POSTERN_FIELD(FtpState, port_reply),
    POSTERN_FIELD(FtpState, passive_reply),
    POSTERN_FIELD(FtpState, auth_reply),
    POSTERN_FIELD(FtpState, slack),
    {"expected", 14, 1, 1, std::size(kUsualReplies) - 1},
    {"names", 14, 1, 1, 15, 4},
    POSTERN_FIELD(FtpState, epsv_200s),
    POSTERN_FIELD(FtpState, host),
};

}  // namespace postern::ftp
