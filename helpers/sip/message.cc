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
    Bytes word;              ///< the method as it stands
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
    start.word = first;
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

/// A semicolon with nothing behind it, as some telephones write it.
bool skip_empty_parameter(Cursor& c) noexcept {
    Cursor at = c;
    if (!take(at, ';')) return false;
    skip_lws(at);
    if (!at.at_end() && *at.peek() != ';' && *at.peek() != ',') return false;
    c = at;
    return true;
}

/// "SIP/2.0/TCP" (section 20.42), with blanks anywhere. False: another protocol, or another
/// version.
bool take_protocol(Cursor& c) noexcept {
    for (const std::string_view word : {"SIP", "2.0"}) {
        if (!same_word(take_token(c), word)) return false;
        skip_lws(c);
        if (!take(c, '/')) return false;
        skip_lws(c);
    }
    return !take_token(c).empty();
}

std::uint32_t hash_of(Bytes text) noexcept {  // FNV-1a
    std::uint32_t h = 2166136261u;
    for (const std::uint8_t b : text)
        h = (h ^ b) * 16777619u;
    return h;
}

/// The rest of a Via's first value, "host:port;rport;branch=x", with blanks anywhere. The host is
/// not looked at: answers go to the address that the request came from (section 18.2.1).
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

/// A hash of the tag of a From or To field (section 20.20), never 0; 0: it has none.
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
    // A name of several words is nobody's, and does not make the rest of the message unreadable.
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

    std::uint32_t from = 0, to = 0;
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
            Cursor v{h.value};
            const bool own = take_protocol(v);
            m.own_version = ((seen & kVia) == 0 || m.own_version) && own;
            if (own && (seen & kVia) == 0) m.via = read_via(v);
            seen |= kVia;
        } else if (is_name(h.name, "From", "f")) {
            once(kFrom);
            from = tag_of(h.value);
        } else if (is_name(h.name, "To", "t")) {
            once(kTo);
            to = tag_of(h.value);
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
            const Bytes word = v.rest();
            if (m.is_request &&
                !std::equal(word.begin(), word.end(), start->word.begin(), start->word.end()))
                return std::nullopt;
            m.method = method_of(word);
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
    if (to != 0) m.dialog = static_cast<std::uint16_t>(((from ^ to) ^ (from ^ to) >> 16) | 1);
    m.headers = bytes.subspan(headers_at, c.position() - headers_at);
    m.body = c.rest();
    if (m.content == Content::sdp || m.content == Content::multipart) {
        // Some count a line end that they do not send.
        constexpr std::uint32_t kLineEnd = 2;
        if (length > m.body.size() + kLineEnd) return std::nullopt;
        if ((seen & kLength) != 0 && length < m.body.size()) m.body = m.body.first(length);
    }
    if (encoded && m.content != Content::none) m.content = Content::other;
    return m;
}

/// RFC 2046 section 5.1.1: a line "--boundary" begins a part, "--boundary--" ends the last.
Parts::Line Parts::kind_of(Bytes line, Bytes boundary) const noexcept {
    Cursor l{line};
    if (!take(l, '-') || !take(l, '-')) return Line::text;
    const auto name = l.take(boundary.size());
    if (!name || !std::equal(name->begin(), name->end(), boundary.begin())) return Line::text;
    if (l.at_end()) return Line::begins_part;
    return take(l, '-') && take(l, '-') && l.at_end() ? Line::ends_last : Line::text;
}

/// Reads a part's header fields. True when it is a session description, not encoded. One that holds
/// parts itself is gone into; all others are text to be passed over.
bool Parts::begin_part() noexcept {
    ContentType type;
    bool encoded = false;
    Header h;
    HeaderStep step = HeaderStep::field;
    while ((step = take_header(c_, h)) == HeaderStep::field) {
        if (is_name(h.name, "Content-Type", "c"))
            type = read_content_type(h.value);
        else if (same_word(h.name, "Content-Transfer-Encoding"))
            encoded |= !is_plain(h.value);
        else if (is_name(h.name, "Content-Encoding", "e"))
            encoded |= !same_word(h.value, "identity");
    }
    if (step != HeaderStep::end || encoded) return false;
    if (type.content == Content::multipart && depth_ != kMaxDepth)
        boundary_[depth_++] = type.boundary;
    return type.content == Content::sdp;
}

Bytes Parts::next_description() noexcept {
    bool sdp = false;  // of the part that is being read
    Cursor part = c_;
    while (depth_ != 0 && !c_.at_end()) {
        const Cursor before = c_;
        auto line = take_whole_line(c_);
        if (!line) line = c_.take(c_.rest().size());
        const Bytes text = trimmed(*line);
        if (text.size() < 2 || text[0] != '-') continue;
        Line kind = Line::text;
        unsigned level = depth_;
        while (kind == Line::text && level != 0)
            kind = kind_of(text, boundary_[--level]);
        if (kind == Line::text) continue;
        if (sdp) {
            const Bytes found = *part.take(before.position() - part.position());
            c_ = before;  // the line is looked at again
            if (!found.empty()) return found;
            sdp = false;
            continue;
        }
        depth_ = kind == Line::begins_part ? level + 1 : level;
        if (kind != Line::begins_part) continue;
        sdp = begin_part();
        part = c_;
    }
    // The body is whole: the line that ends its last part may be missing.
    return sdp ? part.rest() : Bytes{};
}

namespace {

/// Progress::part of a message: what `read` lies in.
enum Part : std::uint32_t {
    kStartLine,
    kFields,
    kBody
};
/// Progress::flags
constexpr std::uint32_t kHasLength = 1, kHasContent = 2, kHasSession = 4;

/// The whole field at p.part_at, which ends at p.read: what it says of the body. False when it is
/// none, or contradicts an earlier one.
bool note_field(Bytes bytes, Progress& p) noexcept {
    Cursor c{bytes.first(p.read + 1)};  // the byte after it shows that it is whole
    c.skip(p.part_at);
    Header h;
    if (take_header(c, h) != HeaderStep::field) return false;
    if (is_name(h.name, "Content-Length", "l")) {
        const auto n = read_count(h.value, kMaxBody);
        if (!n || ((p.flags & kHasLength) != 0 && *n != p.length)) return false;
        p.length = *n;
        p.flags |= kHasLength;
    } else if (is_name(h.name, "Content-Type", "c")) {
        const Content content = read_content_type(h.value).content;
        p.flags &= ~(kHasContent | kHasSession);
        if (content != Content::none) p.flags |= kHasContent;
        if (content == Content::sdp || content == Content::multipart) p.flags |= kHasSession;
    }
    return true;
}

/// Reads on to the end of the line that p.read lies in. False when it is not there yet.
bool finish_line(Bytes bytes, Progress& p) noexcept {
    Cursor c{bytes};
    c.skip(p.read);
    const bool whole = take_whole_line(c).has_value();
    p.read = static_cast<std::uint32_t>(whole ? c.position() : bytes.size());
    return whole;
}

/// Reads fields until the line that ends the head.
HeaderStep finish_fields(Bytes bytes, Progress& p) noexcept {
    for (;;) {
        if (bytes[p.read - 1] != '\n' && !finish_line(bytes, p)) return HeaderStep::more;
        Cursor c{bytes};
        c.skip(p.read);
        const auto next = c.peek();
        if (!next) return HeaderStep::more;
        // A line that begins with a blank belongs to the one before it (section 7.3.1).
        if (p.read != p.part_at && !is_blank(*next)) {
            if (!note_field(bytes, p)) return HeaderStep::bad;
            p.part_at = p.read;
        }
        if (is_line_end(*next)) {
            take(c, '\r');
            if (c.at_end()) return HeaderStep::more;
            if (!take(c, '\n')) return HeaderStep::bad;
            p.read = p.part_at = static_cast<std::uint32_t>(c.position());
            return HeaderStep::end;
        }
        if (!finish_line(bytes, p)) return HeaderStep::more;
    }
}

}  // namespace

Measured measure(Bytes bytes, Progress& p) noexcept {
    constexpr Measured kMore{0}, kNotSip{-1};
    if (p.part == kStartLine) {
        if (p.read == 0) {
            Cursor c{bytes};
            const Bytes between = take_until(c, [](std::uint8_t b) { return !is_line_end(b); });
            if (!between.empty()) return static_cast<std::int32_t>(between.size());
        }
        if (!finish_line(bytes, p)) return kMore;
        if (!read_start_line(without_line_end(bytes.first(p.read)))) return kNotSip;
        p.part = kFields;
        p.part_at = p.read;
    }
    if (p.part == kFields) {
        const HeaderStep step = finish_fields(bytes, p);
        if (step != HeaderStep::end) return step == HeaderStep::more ? kMore : kNotSip;
        // Without its length nobody can tell where the body ends (section 20.14).
        if ((p.flags & (kHasLength | kHasContent)) == kHasContent) return kNotSip;
        p.part = kBody;
    }
    const auto head = static_cast<std::int32_t>(p.part_at);
    if ((p.flags & kHasSession) != 0) return head + static_cast<std::int32_t>(p.length);
    return {head, p.length};
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
