// SPDX-License-Identifier: BSD-3-Clause
// Header fields of SIP (RFC 3261 sections 7.3, 20 and 25): one field after the other, and the
// values that matter to a firewall. Nothing is copied: what is handed out points into the message.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "helper/text.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern::sip {

/// A blank of a header field, whose value may be folded (linear white space).
constexpr bool is_lws(std::uint8_t b) noexcept {
    return is_blank(b) || b == '\r' || b == '\n';
}
/// Characters of methods, names and parameters (RFC 3261 section 25.1, token).
constexpr bool is_token(std::uint8_t b) noexcept {
    if (is_digit(b) || (upper(b) >= 'A' && upper(b) <= 'Z')) return true;
    return std::string_view("-.!%*_+`'~").find(static_cast<char>(b)) != std::string_view::npos;
}
constexpr bool is_line_end(std::uint8_t b) noexcept {
    return b == '\r' || b == '\n';
}
inline Bytes take_token(Cursor& c) noexcept {
    return take_until(c, [](std::uint8_t b) { return !is_token(b); });
}
inline void skip_lws(Cursor& c) noexcept {
    while (c.peek() && is_lws(*c.peek()))
        c.skip(1);
}
inline Bytes trimmed(Bytes b) noexcept {
    while (!b.empty() && is_lws(b.front()))
        b = b.subspan(1);
    while (!b.empty() && is_lws(b.back()))
        b = b.first(b.size() - 1);
    return b;
}

/// Whether a field has this name, in its long or its short form.
constexpr bool is_name(Bytes name, std::string_view full, std::string_view compact) noexcept {
    return same_word(name, full) || same_word(name, compact);
}

/// A header field. The value may be folded over several lines (RFC 3261 section 7.3.1): line ends
/// in it are blanks.
struct Header {
    Bytes name;
    Bytes value;  ///< without blanks around it
};
enum class HeaderStep : std::uint8_t {
    field,  ///< a field was taken
    end,    ///< the empty line after the last field was taken
    more,   ///< more bytes are needed
    bad     ///< neither a field nor an empty line
};
HeaderStep take_header(Cursor& c, Header& header) noexcept;

/// A number of seconds or bytes: any number of digits, limited to `max`.
std::optional<std::uint32_t> read_count(Bytes text, std::uint32_t max) noexcept;
std::uint32_t hash_of(Bytes text) noexcept;

/// The topmost Via of a request: the destination of its answers (RFC 3261 section 18.2.2).
struct Via {
    /// Its port, or the usual one. 0: answers go to the request's source port, as `rport` requests
    /// (RFC 3581), or to another address (`maddr`), or it cannot be parsed.
    Be16 port;
    std::uint32_t branch = 0;  ///< a hash; the same in each repetition and in each answer
};
/// Parses "SIP/2.0/TCP" (section 20.42), with blanks anywhere. False: another protocol, or another
/// version.
bool take_protocol(Cursor& c) noexcept;
/// Parses the rest of a Via's first value, "host:port;rport;branch=x", with blanks anywhere. The
/// host is ignored: answers go to the request's source address (section 18.2.1).
Via read_via(Cursor c) noexcept;
/// A hash of the tag of a From or To field (section 20.20), never 0; 0: it has none.
std::uint32_t tag_of(Bytes value) noexcept;

/// Kind of the body.
enum class Content : std::uint8_t {
    none,
    sdp,
    multipart,
    other  ///< some other type, or encoded
};

struct ContentType {
    Content content = Content::other;
    Bytes boundary;
};
ContentType read_content_type(Bytes value) noexcept;

/// Whether this is a Contact field's name, long or short.
bool names_contact(Bytes name) noexcept;

/// One value of a Contact field.
struct Contact {
    bool all = false;                      ///< "*": all registrations
    bool is_sip = false;                   ///< a sip or sips URI; else host and port are undefined
    IpAddr host;                           ///< family none: a name
    Be16 port;                             ///< the scheme's default if the URI has none
    std::uint8_t protocol = 0;             ///< 0: not given; 255: neither UDP nor TCP
    std::optional<std::uint32_t> expires;  ///< seconds
};
/// The next value of a Contact field, whose values are separated by commas; nothing at the end, and
/// if it cannot be parsed.
std::optional<Contact> take_contact(Cursor& c) noexcept;

}  // namespace postern::sip
