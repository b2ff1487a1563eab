// SPDX-License-Identifier: BSD-3-Clause
// Parsers of small parts of text protocols, over a Cursor, shared by helpers. Each take_…() moves
// the cursor past its match. On failure it returns that, and the cursor's position is undefined.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "net/addr.h"
#include "net/cursor.h"

namespace postern {

constexpr bool is_digit(std::uint8_t c) noexcept {
    return c >= '0' && c <= '9';
}
constexpr bool is_blank(std::uint8_t c) noexcept {
    return c == ' ' || c == '\t';
}
constexpr char upper(std::uint8_t c) noexcept {
    return static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
}

/// Whether the two are equal except for case (ASCII).
constexpr bool same_word(Bytes bytes, std::string_view word) noexcept {
    if (bytes.size() != word.size()) return false;
    for (std::size_t i = 0; i < word.size(); ++i)
        if (upper(bytes[i]) != upper(static_cast<std::uint8_t>(word[i]))) return false;
    return true;
}

/// The line without its line end.
constexpr Bytes without_line_end(Bytes line) noexcept {
    if (!line.empty() && line.back() == '\n') line = line.first(line.size() - 1);
    if (!line.empty() && line.back() == '\r') line = line.first(line.size() - 1);
    return line;
}

/// Whether a client or a server of HTTP/1 sends such a line before a body: a request line, a status
/// line, or a header field (RFC 9112 sections 2 to 5), without its end. A browser's request begins
/// with one, whatever method a page has chosen; bodies are arbitrary.
constexpr bool is_http_line(Bytes line) noexcept {
    while (!line.empty() && (is_blank(line.back()) || line.back() == '\r'))
        line = line.first(line.size() - 1);
    const auto is_version = [](Bytes word) {
        return word.size() == 8 && same_word(word.first(5), "HTTP/") && is_digit(word[5]) &&
               word[6] == '.' && is_digit(word[7]);
    };
    if (line.size() > 8 && is_blank(line[line.size() - 9]) && is_version(line.last(8))) return true;
    if (line.size() >= 8 && is_version(line.first(8))) return true;
    for (std::size_t i = 0; i < line.size(); ++i) {
        if (line[i] == ':') return i != 0;
        const bool letter = upper(line[i]) >= 'A' && upper(line[i]) <= 'Z';
        if (!letter && !is_digit(line[i]) && line[i] != '-' && line[i] != '_') return false;
    }
    return false;
}

/// Up to and including LF; nothing when there is none.
inline std::optional<Bytes> take_whole_line(Cursor& c) noexcept {
    const Bytes rest = c.rest();
    if (rest.empty()) return std::nullopt;
    const void* lf = std::memchr(rest.data(), '\n', rest.size());
    if (lf == nullptr) return std::nullopt;
    return c.take(static_cast<std::size_t>(static_cast<const std::uint8_t*>(lf) - rest.data()) + 1);
}

/// One past the last LF, or 0.
inline std::size_t after_last_lf(Bytes bytes) noexcept {
    if (bytes.empty()) return 0;
    const void* lf = ::memrchr(bytes.data(), '\n', bytes.size());
    return lf == nullptr
               ? 0
               : static_cast<std::size_t>(static_cast<const std::uint8_t*>(lf) - bytes.data()) + 1;
}

constexpr bool take(Cursor& c, std::uint8_t wanted) noexcept {
    return c.peek() == wanted && c.skip(1);
}

constexpr void skip_blanks(Cursor& c) noexcept {
    while (c.peek() && is_blank(*c.peek()))
        c.skip(1);
}

/// The bytes before the first byte for which `stop` is true, possibly none or all of the rest.
template <class Stop>
constexpr Bytes take_until(Cursor& c, Stop&& stop) noexcept {
    const Bytes rest = c.rest();
    std::size_t n = 0;
    while (n < rest.size() && !stop(rest[n]))
        ++n;
    c.skip(n);
    return rest.first(n);
}

/// A decimal number of 1 to `max_digits` (at most 10) digits, at most `max`.
constexpr std::optional<std::uint32_t> take_number(Cursor& c, unsigned max_digits,
                                                   std::uint32_t max) noexcept {
    std::uint64_t v = 0;
    unsigned digits = 0;
    while (const auto b = c.peek()) {
        if (!is_digit(*b)) break;
        if (++digits > max_digits) return std::nullopt;
        v = v * 10 + (*b - std::uint64_t{'0'});
        c.skip(1);
    }
    if (digits == 0 || v > max) return std::nullopt;
    return static_cast<std::uint32_t>(v);
}

/// An IPv4 or IPv6 address written as text, nothing around it.
inline std::optional<IpAddr> read_address(Bytes text) noexcept {
    return IpAddr::parse({reinterpret_cast<const char*>(text.data()), text.size()});
}

}  // namespace postern
