// SPDX-License-Identifier: BSD-3-Clause
#include "sip/message.h"

#include <algorithm>
#include <string_view>

#include "helper/text.h"

namespace postern::sip {
namespace {

constexpr bool is_lws(std::uint8_t b) noexcept {
    return is_blank(b) || b == '\r' || b == '\n';
}
/// A longer body is as good as an endless one.
constexpr std::uint32_t kMaxBody = 1u << 30;

/// Characters of methods, names and parameters (RFC 3261 section 25.1, token).
constexpr bool is_token(std::uint8_t b) noexcept {
    if (is_digit(b) || (upper(b) >= 'A' && upper(b) <= 'Z')) return true;
    return std::string_view("-.!%*_+`'~").find(static_cast<char>(b)) != std::string_view::npos;
}
constexpr bool is_line_end(std::uint8_t b) noexcept {
    return b == '\r' || b == '\n';
}

void skip_lws(Cursor& c) noexcept {
    while (c.peek() && is_lws(*c.peek()))
        c.skip(1);
}
Bytes trimmed(Bytes b) noexcept {
    while (!b.empty() && is_lws(b.front()))
        b = b.subspan(1);
    while (!b.empty() && is_lws(b.back()))
        b = b.first(b.size() - 1);
    return b;
}
Bytes take_token(Cursor& c) noexcept {
    return take_until(c, [](std::uint8_t b) { return !is_token(b); });
}

constexpr bool is_name(Bytes name, std::string_view full, std::string_view compact) noexcept {
    return same_word(name, full) || same_word(name, compact);
}

struct NamedMethod {
    std::string_view name;
    Method method;
};
constexpr NamedMethod kMethods[] = {
    {"INVITE", Method::invite},         {"UPDATE", Method::update}, {"ACK", Method::ack},
    {"PRACK", Method::prack},           {"BYE", Method::bye},       {"CANCEL", Method::cancel},
    {"REGISTER", Method::registration},
};
/// Methods are case-sensitive (section 7.1).
Method method_of(Bytes word) noexcept {
    for (const NamedMethod& m : kMethods)
        if (std::equal(word.begin(), word.end(), m.name.begin(), m.name.end())) return m.method;
    return Method::other;
}

struct StartLine {
    Method method = Method::other;
    std::uint16_t code = 0;  ///< 0: a request
};
/// "INVITE sip:b@192.0.2.1 SIP/2.0" or "SIP/2.0 200 OK" (sections 7.1 and 7.2), without line end.
std::optional<StartLine> read_start_line(Bytes line) noexcept {
    Cursor c{line};
    constexpr std::string_view kVersion = "SIP/2.0";
    const auto word = [](std::uint8_t b) { return b == ' '; };
    const Bytes first = take_until(c, word);
    StartLine start;
    if (!take(c, ' ')) return std::nullopt;
    if (same_word(first, kVersion)) {
        const auto code = take_number(c, 3, 699);
        if (!code || *code < 100 || (!c.at_end() && c.peek() != std::uint8_t{' '}))
            return std::nullopt;
        start.code = static_cast<std::uint16_t>(*code);
        return start;
    }
    if (first.empty() || !std::all_of(first.begin(), first.end(), is_token)) return std::nullopt;
    const Bytes uri = take_until(c, word);
    if (uri.empty() || !take(c, ' ') || !same_word(c.rest(), kVersion)) return std::nullopt;
    start.method = method_of(first);
    return start;
}

/// A count of seconds or bytes: any number of digits, of which too large ones mean `max`.
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
    Bytes value;  ///< empty when there is none; of a quoted string what is between the quotes
};
/// ";name=value" with blanks anywhere; nothing when there is no semicolon or no name.
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

/// Transfer encodings that change nothing (RFC 2045 section 6.2).
bool is_plain(Bytes encoding) noexcept {
    return same_word(encoding, "7bit") || same_word(encoding, "8bit") ||
           same_word(encoding, "binary");
}

struct ContentType {
    Content content = Content::other;
    Bytes boundary;
};
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
    header.name = take_token(at);
    skip_blanks(at);
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

bool is_sip(Bytes message) noexcept {
    Cursor c{message};
    const auto line = take_whole_line(c);
    return line && read_start_line(without_line_end(*line));
}

std::optional<Message> read_message(Bytes bytes) noexcept {
    Cursor c{bytes};
    const auto line = take_whole_line(c);
    const auto start = line ? read_start_line(without_line_end(*line)) : std::nullopt;
    if (!start) return std::nullopt;
    Message m;
    m.is_request = start->code == 0;
    m.method = start->method;
    m.code = start->code;

    enum : unsigned {
        kFrom = 1,
        kTo = 2,
        kCall = 4,
        kCSeq = 8,
        kVia = 16,
        kAll = 31,
        kLength = 32,
        kType = 64
    };
    unsigned seen = 0;
    bool encoded = false, twice = false;
    std::uint32_t length = 0;
    const auto once = [&](unsigned which) {
        twice |= (seen & which) != 0;
        seen |= which;
    };
    const std::size_t headers_at = c.position();
    Header h;
    HeaderStep step = HeaderStep::field;
    while ((step = take_header(c, h)) == HeaderStep::field) {
        if (is_name(h.name, "Via", "v")) {
            seen |= kVia;
        } else if (is_name(h.name, "From", "f")) {
            once(kFrom);
        } else if (is_name(h.name, "To", "t")) {
            once(kTo);
        } else if (is_name(h.name, "Call-ID", "i")) {
            once(kCall);
            if (h.value.empty()) return std::nullopt;
            m.call = hash_of(h.value);
        } else if (same_word(h.name, "CSeq")) {
            once(kCSeq);
            Cursor v{h.value};
            const auto number = take_number(v, 10, UINT32_MAX);
            if (!number || !v.peek() || !is_lws(*v.peek())) return std::nullopt;
            skip_lws(v);
            m.cseq = *number;
            const Method method = method_of(v.rest());
            if (m.is_request && method != m.method) return std::nullopt;
            m.method = method;
        } else if (is_name(h.name, "Content-Length", "l")) {
            const auto n = read_count(h.value, kMaxBody);
            if (!n || ((seen & kLength) != 0 && *n != length)) return std::nullopt;
            length = *n;
            seen |= kLength;
        } else if (is_name(h.name, "Content-Type", "c")) {
            once(kType);
            const ContentType t = read_content_type(h.value);
            m.content = t.content;
            m.boundary = t.boundary;
        } else if (is_name(h.name, "Content-Encoding", "e")) {
            encoded = !same_word(h.value, "identity");
        } else if (same_word(h.name, "Expires")) {
            m.expires = read_count(h.value, UINT32_MAX);
        }
    }
    if (step != HeaderStep::end || twice || (seen & kAll) != kAll) return std::nullopt;
    m.headers = bytes.subspan(headers_at, c.position() - headers_at);
    m.body = c.rest();
    if (m.content == Content::sdp || m.content == Content::multipart) {
        if (length > m.body.size()) return std::nullopt;
        if ((seen & kLength) != 0) m.body = m.body.first(length);
    }
    if (encoded && m.content != Content::none) m.content = Content::other;
    return m;
}

Bytes session_description(const Message& message) noexcept {
    if (message.content == Content::sdp) return message.body;
    if (message.content != Content::multipart) return {};
    // RFC 2046 section 5.1.1: a line "--boundary" begins a part, "--boundary--" ends the last.
    enum class Line : std::uint8_t {
        text,
        begins_part,
        ends_last
    };
    const auto kind_of = [&](Bytes line) {
        Cursor l{trimmed(line)};
        if (!take(l, '-') || !take(l, '-')) return Line::text;
        const auto name = l.take(message.boundary.size());
        if (!name || !std::equal(name->begin(), name->end(), message.boundary.begin()))
            return Line::text;
        if (l.at_end()) return Line::begins_part;
        return take(l, '-') && take(l, '-') && l.at_end() ? Line::ends_last : Line::text;
    };
    bool sdp = false;  // of the part that is being read
    Cursor c{message.body};
    Cursor part = c;
    for (Cursor before = c;; before = c) {
        const auto line = take_whole_line(c);
        const Line kind = line ? kind_of(*line) : Line::ends_last;
        if (kind == Line::text) continue;
        if (sdp) return line ? *part.take(before.position() - part.position()) : Bytes{};
        if (kind == Line::ends_last) return {};
        Header h;
        HeaderStep step = HeaderStep::field;
        while ((step = take_header(c, h)) == HeaderStep::field) {
            if (is_name(h.name, "Content-Type", "c"))
                sdp = read_content_type(h.value).content == Content::sdp;
            else if (same_word(h.name, "Content-Transfer-Encoding") && !is_plain(h.value))
                return {};
        }
        if (step != HeaderStep::end) return {};
        part = c;
    }
}

namespace {

/// The first header field that was not whole when `seen` bytes were there; nothing when not even
/// the start line was.
std::optional<std::size_t> first_unseen_field(Bytes bytes, std::size_t seen) noexcept {
    const Bytes old = bytes.first(std::min(seen, bytes.size()));
    Cursor c{old};
    if (!take_whole_line(c)) return std::nullopt;
    const std::size_t fields = c.position();
    // Back to the start of a line, and on while that line belongs to the one before it. The last
    // line end seen does not do: what followed it was perhaps not known.
    std::size_t at = after_last_lf(old);
    while (at > fields) {
        at = after_last_lf(old.first(at - 1));
        if (!is_blank(bytes[at])) break;
    }
    return at;
}

}  // namespace

Measured measure(Bytes bytes, std::size_t seen) noexcept {
    constexpr Measured kMore{0}, kNotSip{-1};
    // A head that comes in many small segments is not read anew with each.
    if (const auto field = first_unseen_field(bytes, seen)) {
        Cursor c{bytes};
        c.skip(*field);
        Header h;
        HeaderStep step = HeaderStep::field;
        while ((step = take_header(c, h)) == HeaderStep::field) {
        }
        if (step != HeaderStep::end) return step == HeaderStep::more ? kMore : kNotSip;
    }
    Cursor c{bytes};
    const Bytes between = take_until(c, [](std::uint8_t b) { return !is_line_end(b); });
    if (!between.empty()) return static_cast<std::int32_t>(between.size());
    const auto line = take_whole_line(c);
    if (!line) return kMore;
    if (!read_start_line(without_line_end(*line))) return kNotSip;
    std::optional<std::uint32_t> length;
    Content content = Content::none;
    for (;;) {
        Header h;
        switch (take_header(c, h)) {
            case HeaderStep::more: return kMore;
            case HeaderStep::bad: return kNotSip;
            case HeaderStep::end: {
                // Without its length nobody can tell where the body ends (section 20.14).
                if (!length && content != Content::none) return kNotSip;
                const auto head = static_cast<std::int32_t>(c.position());
                const auto body = static_cast<std::int32_t>(length.value_or(0));
                if (content == Content::sdp || content == Content::multipart) return head + body;
                return {head, static_cast<std::uint32_t>(body)};
            }
            case HeaderStep::field: break;
        }
        if (is_name(h.name, "Content-Length", "l")) {
            const auto n = read_count(h.value, kMaxBody);
            if (!n || (length && *n != *length)) return kNotSip;
            length = n;
        } else if (is_name(h.name, "Content-Type", "c")) {
            content = read_content_type(h.value).content;
        }
    }
}

bool names_contact(Bytes name) noexcept {
    return is_name(name, "Contact", "m");
}

namespace {

/// "sip:user@[2001:db8::1]:5062;transport=tcp" (section 19.1); no blanks in it.
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
    take_until(ahead, [](std::uint8_t b) { return !is_token(b) && !is_lws(b); });
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
            if (c.at_end()) return std::nullopt;
            return out;
        }
        const auto p = take_parameter(c);
        if (!p) return std::nullopt;
        if (same_word(p->name, "expires")) out.expires = read_count(p->value, UINT32_MAX);
    }
}

}  // namespace postern::sip
