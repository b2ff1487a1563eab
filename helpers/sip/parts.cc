// SPDX-License-Identifier: BSD-3-Clause
#include "sip/parts.h"

#include <algorithm>

#include "helper/text.h"
#include "sip/fields.h"

namespace postern::sip {
namespace {

/// Transfer encodings that change nothing (RFC 2045 section 6.2).
bool is_plain(Bytes encoding) noexcept {
    return same_word(encoding, "7bit") || same_word(encoding, "8bit") ||
           same_word(encoding, "binary");
}

}  // namespace

/// RFC 2046 section 5.1.1: a line "--boundary" begins a part, "--boundary--" ends the last.
Parts::Line Parts::kind_of(Bytes line, Bytes boundary) const noexcept {
    Cursor l{line};
    if (!take(l, '-') || !take(l, '-')) return Line::text;
    const auto name = l.take(boundary.size());
    if (!name || !std::equal(name->begin(), name->end(), boundary.begin())) return Line::text;
    if (l.at_end()) return Line::begins_part;
    return take(l, '-') && take(l, '-') && l.at_end() ? Line::ends_last : Line::text;
}

/// Parses a part's header fields. True if it is a session description, not encoded. Parts of a
/// multipart one are parsed too; all others are skipped as text.
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
    bool sdp = false;  // of the current part
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
            c_ = before;  // the line is parsed again
            if (!found.empty()) return found;
            sdp = false;
            continue;
        }
        depth_ = kind == Line::begins_part ? level + 1 : level;
        if (kind != Line::begins_part) continue;
        sdp = begin_part();
        part = c_;
    }
    // The body is complete: the line that ends its last part may be missing.
    return sdp ? part.rest() : Bytes{};
}

}  // namespace postern::sip
