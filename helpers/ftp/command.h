// SPDX-License-Identifier: BSD-3-Clause
// The commands of FTP: lines that a client may send before the proof of protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "helper/text.h"
#include "net/cursor.h"

namespace postern::ftp {

/// Moves past `verb`, in any case, if it is the line's whole first word.
inline bool take_verb(Cursor& c, std::string_view verb) noexcept {
    for (std::size_t i = 0; i < verb.size(); ++i) {
        const auto b = c.peek(i);
        if (!b || upper(*b) != verb[i]) return false;
    }
    const auto after = c.peek(verb.size());
    if (after && *after != ' ') return false;
    return c.skip(verb.size());
}

inline void skip_spaces(Cursor& c) noexcept {
    while (take(c, ' ')) {
    }
}

/// A command's usual positive reply (RFC 959 section 5.4); 0: it differs.
struct Expected {
    std::uint16_t code;
};
/// Whether a client of FTP sends the line, and no client of HTTP. HTTP's methods are any word, USER
/// or STOR, but its first line always ends in its version.
std::optional<Expected> read_command(Cursor line) noexcept;

}  // namespace postern::ftp
