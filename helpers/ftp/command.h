// SPDX-License-Identifier: BSD-3-Clause
// The commands of FTP: which lines a client says before its protocol is proven.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "helper/text.h"
#include "net/cursor.h"

namespace postern::ftp {

/// Moves past `verb`, in any case, if the line goes on with it and nothing longer.
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

/// What a command is usually answered with where the server agrees (RFC 959 section 5.4); 0: that
/// differs.
struct Expected {
    std::uint16_t code;
};
/// A line that a client of FTP says, and no client of HTTP: its methods are any word, USER or STOR,
/// but its first line always ends in its version.
std::optional<Expected> read_command(Cursor line) noexcept;

}  // namespace postern::ftp
