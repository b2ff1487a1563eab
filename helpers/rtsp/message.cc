// SPDX-License-Identifier: BSD-3-Clause
#include "rtsp/message.h"

namespace postern::rtsp {
namespace {

/// "RTSP/1.0" or "RTSP/2.0".
bool is_version(Bytes word) noexcept {
    return same_word(word, "RTSP/1.0") || same_word(word, "RTSP/2.0");
}

}  // namespace

Bytes take_line(Cursor& c) noexcept {
    const auto line = take_whole_line(c);
    return without_line_end(line ? *line : c.take(c.remaining()).value_or(Bytes{}));
}

bool starts_with(Bytes text, std::string_view word) noexcept {
    return text.size() >= word.size() && same_word(text.first(word.size()), word);
}

bool is_start_line(Bytes line) noexcept {
    if (line.size() > 8 && line[8] == ' ' && is_version(line.first(8))) return true;
    Cursor c{line};
    const Bytes method = take_until(c, is_space);
    return !method.empty() && line.size() > method.size() + 8 && line[line.size() - 9] == ' ' &&
           is_version(line.last(8));
}

std::optional<Bytes> find_header(Bytes head, std::string_view wanted) noexcept {
    std::optional<Bytes> found;
    for_each_header(head, [&](Bytes name, Bytes value) {
        if (same_word(name, wanted)) found = value;
        return found.has_value();
    });
    return found;
}

std::optional<std::uint32_t> read_number(Bytes text) noexcept {
    Cursor c{text};
    const auto n = take_number(c, 10, UINT32_MAX);
    return n && c.at_end() ? n : std::nullopt;
}

bool has_number(Bytes head) noexcept {
    const auto cseq = find_header(head, "CSeq");
    return cseq && read_number(*cseq);
}

}  // namespace postern::rtsp
