// SPDX-License-Identifier: BSD-3-Clause
#include "sip/fields.h"

#include <algorithm>

namespace postern::sip {
namespace {

/// A quoted string (section 25.1), its quotes included.
bool skip_quoted(Cursor& c) noexcept {
    if (!take(c, '"')) return false;
    while (const auto b = c.u8()) {
        if (*b == '"') return true;
        if (*b == '\\' && !c.skip(1)) return false;
    }
    return false;
}

struct Parameter {
    Bytes name;
    Bytes value;  ///< empty if there is none; of a quoted string the text between the quotes
};
/// Parses ";name=value" with blanks anywhere; nothing if there is no semicolon or no name.
std::optional<Parameter> take_parameter(Cursor& c) noexcept {
    skip_lws(c);
    if (!take(c, ';')) return std::nullopt;
    skip_lws(c);
    Parameter p{take_token(c), {}};
    if (p.name.empty()) return std::nullopt;
    skip_lws(c);
    if (!take(c, '=')) return p;
    skip_lws(c);
    if (c.peek() == std::uint8_t{'"'}) {
        Cursor quoted = c;
        if (!skip_quoted(c)) return std::nullopt;
        p.value = *quoted.take(c.position() - quoted.position());
        p.value = p.value.subspan(1, p.value.size() - 2);
    } else {  // a token or a host
        p.value = take_until(
            c, [](std::uint8_t b) { return is_lws(b) || b == ';' || b == ',' || b == '"'; });
    }
    return p;
}

/// A semicolon with nothing after it, as some telephones write it.
bool skip_empty_parameter(Cursor& c) noexcept {
    Cursor at = c;
    if (!take(at, ';')) return false;
    skip_lws(at);
    if (!at.at_end() && *at.peek() != ';' && *at.peek() != ',') return false;
    c = at;
    return true;
}

/// Parses "sip:user@[2001:db8::1]:5062;transport=tcp" (section 19.1), without blanks.
void read_uri(Bytes uri, Contact& out) noexcept {
    Cursor c{uri};
    const Bytes scheme = take_until(c, [](std::uint8_t b) { return b == ':'; });
    const bool secure = same_word(scheme, "sips");
    if ((!secure && !same_word(scheme, "sip")) || !take(c, ':')) return;
    Cursor host = c;
    take_until(c, [](std::uint8_t b) { return b == '@'; });
    if (take(c, '@')) {
        host = c;
        take_until(c, [](std::uint8_t b) { return b == '@'; });
        if (!c.at_end()) return;
    }
    Bytes name;
    if (take(host, '[')) {
        name = take_until(host, [](std::uint8_t b) { return b == ']'; });
        if (!take(host, ']')) return;
    } else {
        name = take_until(host, [](std::uint8_t b) { return b == ':' || b == ';' || b == '?'; });
    }
    if (name.empty()) return;
    std::uint32_t port = secure ? 5061 : 5060;
    if (take(host, ':')) {
        const auto n = take_number(host, 5, 65535);
        if (!n) return;
        port = *n;
    }
    if (secure) out.protocol = proto::tcp;
    Cursor params{take_until(host, [](std::uint8_t b) { return b == '?'; })};
    while (!params.at_end()) {
        if (skip_empty_parameter(params)) continue;
        const auto p = take_parameter(params);
        if (!p) return;
        if (!same_word(p->name, "transport")) continue;
        if (same_word(p->value, "udp"))
            out.protocol = proto::udp;
        else if (same_word(p->value, "tcp") || same_word(p->value, "tls"))
            out.protocol = proto::tcp;
        else
            out.protocol = 255;
    }
    out.port = Be16::from_host(static_cast<std::uint16_t>(port));
    if (const auto address = read_address(name)) out.host = *address;
    out.is_sip = true;
}

}  // namespace

HeaderStep take_header(Cursor& c, Header& header) noexcept {
    Cursor at = c;
    if (at.at_end()) return HeaderStep::more;
    if (is_line_end(*at.peek())) {
        take(at, '\r');
        if (at.at_end()) return HeaderStep::more;
        if (!take(at, '\n')) return HeaderStep::bad;
        c = at;
        return HeaderStep::end;
    }
    // A name of several words is unknown, and does not make the rest of the message unreadable.
    const Cursor name = at;
    std::size_t length = 0;
    while (!take_token(at).empty()) {
        length = at.position() - name.position();
        skip_blanks(at);
    }
    header.name = name.rest().first(length);
    if (at.at_end()) return HeaderStep::more;
    if (header.name.empty() || !take(at, ':')) return HeaderStep::bad;
    Cursor value = at;
    do {
        if (!take_whole_line(at) || at.at_end()) return HeaderStep::more;
    } while (is_blank(*at.peek()));
    header.value = trimmed(*value.take(at.position() - value.position()));
    c = at;
    return HeaderStep::field;
}

std::optional<std::uint32_t> read_count(Bytes text, std::uint32_t max) noexcept {
    if (text.empty()) return std::nullopt;
    std::uint64_t v = 0;
    for (const std::uint8_t b : text) {
        if (!is_digit(b)) return std::nullopt;
        v = std::min<std::uint64_t>(v * 10 + (b - std::uint64_t{'0'}), max);
    }
    return static_cast<std::uint32_t>(v);
}

std::uint32_t hash_of(Bytes text) noexcept {  // FNV-1a
    std::uint32_t h = 2166136261u;
    for (const std::uint8_t b : text)
        h = (h ^ b) * 16777619u;
    return h;
}

bool take_protocol(Cursor& c) noexcept {
    for (const std::string_view word : {"SIP", "2.0"}) {
        if (!same_word(take_token(c), word)) return false;
        skip_lws(c);
        if (!take(c, '/')) return false;
        skip_lws(c);
    }
    return !take_token(c).empty();
}

Via read_via(Cursor c) noexcept {
    Via via;
    skip_lws(c);
    if (take(c, '[')) {
        take_until(c, [](std::uint8_t b) { return b == ']'; });
        if (!take(c, ']')) return via;
    } else if (take_token(c).empty()) {
        return via;
    }
    skip_lws(c);
    std::uint32_t port = 5060;
    if (take(c, ':')) {
        skip_lws(c);
        const auto n = take_number(c, 5, 65535);
        if (!n) return via;
        port = *n;
    }
    while (const auto p = take_parameter(c)) {
        if (same_word(p->name, "branch")) via.branch = hash_of(p->value);
        if (same_word(p->name, "rport") || same_word(p->name, "maddr")) port = 0;
    }
    via.port = Be16::from_host(static_cast<std::uint16_t>(port));
    return via;
}

std::uint32_t tag_of(Bytes value) noexcept {
    Cursor c{value};
    if (c.peek() == std::uint8_t{'"'} && !skip_quoted(c)) return 0;
    Cursor ahead = c;
    take_until(ahead, [](std::uint8_t b) { return b == '<' || b == ';'; });
    if (ahead.peek() == std::uint8_t{'<'}) {  // the semicolons inside are the URI's
        take_until(ahead, [](std::uint8_t b) { return b == '>'; });
        if (!take(ahead, '>')) return 0;
    }
    while (const auto p = take_parameter(ahead))
        if (same_word(p->name, "tag")) return hash_of(p->value) | 1;
    return 0;
}

ContentType read_content_type(Bytes value) noexcept {
    Cursor c{value};
    const Bytes type = take_token(c);
    skip_lws(c);
    if (!take(c, '/')) return {};
    skip_lws(c);
    const Bytes subtype = take_token(c);
    if (same_word(type, "application") && same_word(subtype, "sdp")) return {Content::sdp, {}};
    if (!same_word(type, "multipart")) return {};
    while (const auto p = take_parameter(c))
        if (same_word(p->name, "boundary") && !p->value.empty())
            return {Content::multipart, p->value};
    return {};
}

bool names_contact(Bytes name) noexcept {
    return is_name(name, "Contact", "m");
}

std::optional<Contact> take_contact(Cursor& c) noexcept {
    Contact out;
    skip_lws(c);
    if (take(c, '*')) {
        out.all = true;
        skip_lws(c);
        if (!c.at_end()) return std::nullopt;
        return out;
    }
    // Either [display name] <URI>, or a bare URI without commas and semicolons (section 20.10).
    if (c.peek() == std::uint8_t{'"'}) {
        if (!skip_quoted(c)) return std::nullopt;
        skip_lws(c);
        if (c.peek() != std::uint8_t{'<'}) return std::nullopt;
    }
    Cursor ahead = c;
    // Tokens, and UTF-8, which should be in quotes.
    take_until(ahead, [](std::uint8_t b) { return !is_token(b) && !is_lws(b) && b < 0x80; });
    if (ahead.peek() == std::uint8_t{'<'}) {
        c = ahead;
        c.skip(1);
        read_uri(trimmed(take_until(c, [](std::uint8_t b) { return b == '>'; })), out);
        if (!take(c, '>')) return std::nullopt;
    } else {
        const Bytes uri = take_until(
            c, [](std::uint8_t b) { return is_lws(b) || b == ';' || b == ',' || b == '<'; });
        if (uri.empty()) return std::nullopt;
        read_uri(uri, out);
    }
    for (;;) {
        skip_lws(c);
        if (c.at_end()) return out;
        if (take(c, ',')) {
            skip_lws(c);
            return out;
        }
        if (skip_empty_parameter(c)) continue;
        const auto p = take_parameter(c);
        if (!p) return std::nullopt;
        if (same_word(p->name, "expires")) out.expires = read_count(p->value, UINT32_MAX);
    }
}

}  // namespace postern::sip
