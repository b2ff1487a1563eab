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
    Bytes text;  ///< after the code
};
ReplyLine read_line(Bytes line) noexcept;

/// Takes a line inside a multi-line reply. True if it ends that reply, or if it is a reply of its
/// own in case that one has ended.
bool read_text(FtpState& s, const ReplyLine& line) noexcept;

}  // namespace postern::ftp
