// SPDX-License-Identifier: BSD-3-Clause
// RTSP's messages as text (RFC 2326 sections 4 to 7): start lines, headers, numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "helper/text.h"
#include "net/cursor.h"
#include "rtsp/transport.h"

namespace postern::rtsp {

constexpr bool is_space(std::uint8_t c) noexcept {
    return c == ' ';
}

/// A line without its end, and moves to the next one.
Bytes take_line(Cursor& c) noexcept;

bool starts_with(Bytes text, std::string_view word) noexcept;
/// A request's line ends with the version, a status line begins with it (sections 6 and 7).
bool is_start_line(Bytes line) noexcept;

/// Calls f(name, value) for the headers after the start line, until f returns true. A line that
/// begins with a blank continues the value of the one before it (section 4.1).
template <class F>
void for_each_header(Bytes head, F&& f) noexcept {
    Cursor c{head};
    take_line(c);
    while (!c.at_end()) {
        const Bytes rest = c.rest();
        do
            take_line(c);
        while (c.peek() && is_blank(*c.peek()));
        Cursor header{rest.first(rest.size() - c.remaining())};
        const Bytes name = take_until(header, [](std::uint8_t b) { return b == ':'; });
        if (take(header, ':') && f(trimmed(name), trimmed(header.rest()))) return;
    }
}

/// The value of the first header of this name.
std::optional<Bytes> find_header(Bytes head, std::string_view wanted) noexcept;
/// The whole text, as a number.
std::optional<std::uint32_t> read_number(Bytes text) noexcept;
/// Whether a message has its CSeq.
bool has_number(Bytes head) noexcept;

}  // namespace postern::rtsp
