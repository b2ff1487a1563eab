// SPDX-License-Identifier: BSD-3-Clause
#include "sip/message.h"

#include <algorithm>
#include <string_view>

#include "helper/text.h"

namespace postern::sip {
namespace {

/// A longer body is treated as endless.
constexpr std::uint32_t kMaxBody = 1u << 30;

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
    Bytes word;              ///< the method as in the message
    std::uint16_t code = 0;  ///< 0: a request
};
/// Parses "INVITE sip:b@192.0.2.1 SIP/2.0" or "SIP/2.0 200 OK" (sections 7.1 and 7.2), without line
/// end.
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

}  // namespace

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
        // Some senders count a line end that they do not send.
        constexpr std::uint32_t kLineEnd = 2;
        if (length > m.body.size() + kLineEnd) return std::nullopt;
        if ((seen & kLength) != 0 && length < m.body.size()) m.body = m.body.first(length);
    }
    if (encoded && m.content != Content::none) m.content = Content::other;
    return m;
}

namespace {

/// Progress::part of a message: the part that contains `read`.
enum Part : std::uint32_t {
    kStartLine,
    kFields,
    kBody
};
/// Progress::flags
constexpr std::uint32_t kHasLength = 1, kHasContent = 2, kHasSession = 4;

/// Evaluates the whole field at p.part_at, which ends at p.read, for the body. False if it is no
/// field, or contradicts an earlier one.
bool note_field(Bytes bytes, Progress& p) noexcept {
    Cursor c{bytes.first(p.read + 1)};  // the byte after it shows that it is complete
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

/// Reads to the end of the line that contains p.read. False if it has not arrived yet.
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
        // Without its length the end of the body is unknown (section 20.14).
        if ((p.flags & (kHasLength | kHasContent)) == kHasContent) return kNotSip;
        p.part = kBody;
    }
    const auto head = static_cast<std::int32_t>(p.part_at);
    if ((p.flags & kHasSession) != 0) return head + static_cast<std::int32_t>(p.length);
    return {head, p.length};
}

}  // namespace postern::sip
