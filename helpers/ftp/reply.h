// SPDX-License-Identifier: BSD-3-Clause
// Lines of the server: which of them are replies, and how many commands wait for one.
#pragma once

#include <cstdint>

#include "ftp/state.h"
#include "net/cursor.h"

namespace postern::ftp {

/// The first `n` commands have their answers.
void shift(FtpState& s, unsigned n) noexcept;
/// Commands without an answer, if the reply that was left has ended.
unsigned outstanding(const FtpState& s) noexcept;
/// Whether it is a positive reply to the last command. Servers end transfers by 226 or 250 (RFC 959
/// section 5.4).
bool fits(const FtpState& s, std::uint32_t code) noexcept;

struct ReplyLine {
    std::uint32_t code = 0;  ///< 0: no reply begins or ends with it
    bool ends = false;
    Bytes text;             ///< after the code
    bool indented = false;  ///< begins with a blank, or is empty
};
ReplyLine read_line(Bytes line) noexcept;

/// Whether a multi-line reply with this code may list names that the client has asked for. Log-ins
/// and refusals list none.
bool may_list_names(const FtpState& s, std::uint32_t code) noexcept;
/// The client leaves a reply with this code. True if its text may be the client's choice, so that
/// nothing in it shows that it has ended.
bool may_have_names(const FtpState& s, std::uint32_t code, std::uint8_t bit) noexcept;
/// In a reply that was left: an apparent reply may be a line of its text.
bool is_doubtful(const FtpState& s) noexcept;

/// Takes a line inside a multi-line reply. True if it ends that reply, or if it is a reply of its
/// own in case that one has ended.
bool read_text(FtpState& s, const ReplyLine& line) noexcept;

}  // namespace postern::ftp
