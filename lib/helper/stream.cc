// SPDX-License-Identifier: BSD-3-Clause
#include "helper/stream.h"

namespace postern {

Assembler::Assembler(std::uint32_t buffers, std::uint32_t buffer_bytes, std::uint32_t long_buffers,
                     std::uint32_t long_bytes)
    : buffers_(buffers),
      buffer_bytes_(std::clamp(buffer_bytes, 64u, kMaxBufferBytes)),
      longest_bytes_(std::min(long_bytes, kMaxBufferBytes)),
      // Zeroed, so that no page is touched for the first time on a worker. Slot 0 means "none".
      bytes_(std::make_unique<std::uint8_t[]>((std::size_t{buffers} + 1) * buffer_bytes_)),
      long_bytes_(std::make_unique<std::uint8_t[]>(std::size_t{long_buffers} * longest_bytes_)),
      ranges_(std::size_t{buffers} + long_buffers + 1) {
    free_.reserve(buffers);
    for (std::uint32_t i = buffers; i != 0; --i)
        free_.push_back(i);
    free_long_.reserve(long_buffers);
    for (std::uint32_t i = long_buffers; i != 0; --i)
        free_long_.push_back(buffers + i);
}

void Assembler::start(Stream& s, std::uint32_t isn) noexcept {
    const bool fresh = s.state == StreamState::open && !s.has_data && !s.fin_seen;
    if (s.state != StreamState::unseen && !fresh) return;
    s.state = StreamState::open;
    s.next_seq = isn + 1;
}

bool Assembler::take(Stream& s, std::size_t bytes) noexcept {
    std::vector<std::uint32_t>& from = bytes > buffer_bytes_ ? free_long_ : free_;
    if (from.empty()) return false;
    s.buffer = from.back();
    from.pop_back();
    s.start = s.fill = 0;
    ranges_[s.buffer].count = 0;
    return true;
}

bool Assembler::grow(Stream& s) noexcept {
    if (free_long_.empty()) return false;
    const std::uint32_t to = free_long_.back();
    free_long_.pop_back();
    const Ranges& r = ranges_[s.buffer];
    const std::size_t end = r.count != 0 ? r.at[r.count - 1u].end : std::size_t{s.start} + s.fill;
    std::memcpy(data(to), data(s.buffer), end);
    ranges_[to] = r;
    released_[released_count_++] = s.buffer;
    s.buffer = to;
    return true;
}

void Assembler::compact(Stream& s) noexcept {
    Ranges& r = ranges_[s.buffer];
    const std::size_t end = r.count != 0 ? r.at[r.count - 1u].end : std::size_t{s.start} + s.fill;
    std::uint8_t* buf = data(s.buffer);
    std::memmove(buf, buf + s.start, end - s.start);
    for (unsigned i = 0; i < r.count; ++i) {
        r.at[i].begin = static_cast<std::uint16_t>(r.at[i].begin - s.start);
        r.at[i].end = static_cast<std::uint16_t>(r.at[i].end - s.start);
    }
    s.start = 0;
    moved_ = true;
}

// Copies into the holes only, then joins the ranges that the new one overlaps or touches.
bool Assembler::store(Stream& s, std::size_t at, Bytes bytes, unsigned max_ranges) noexcept {
    Ranges& r = ranges_[s.buffer];
    std::uint8_t* buf = data(s.buffer);
    const std::size_t end = at + bytes.size();
    const auto copy = [&](std::size_t from, std::size_t to) {
        std::memcpy(buf + from, bytes.data() + (from - at), to - from);
    };

    unsigned first = 0;  // the first range that the new one reaches
    while (first < r.count && r.at[first].end < at)
        ++first;
    std::size_t begin = at, whole_end = end, hole = at;
    unsigned last = first;  // one past the last that it reaches
    for (; last < r.count && r.at[last].begin <= end; ++last) {
        if (r.at[last].begin > hole) copy(hole, r.at[last].begin);
        hole = std::max<std::size_t>(hole, r.at[last].end);
        begin = std::min<std::size_t>(begin, r.at[last].begin);
        whole_end = std::max<std::size_t>(whole_end, r.at[last].end);
    }
    if (hole < end) copy(hole, end);

    if (first == last) {
        if (r.count >= max_ranges) return false;
        std::copy_backward(r.at.begin() + first, r.at.begin() + r.count,
                           r.at.begin() + r.count + 1);
        ++r.count;
    } else {
        std::copy(r.at.begin() + last, r.at.begin() + r.count, r.at.begin() + first + 1);
        r.count = static_cast<std::uint16_t>(r.count - (last - first - 1));
    }
    r.at[first] = Range{static_cast<std::uint16_t>(begin), static_cast<std::uint16_t>(whole_end)};
    return true;
}

// The range that starts where the bytes in order end, if any, joins them.
void Assembler::absorb(Stream& s) noexcept {
    Ranges& r = ranges_[s.buffer];
    if (r.count == 0 || r.at[0].begin != s.start + s.fill) return;
    const auto n = static_cast<std::uint16_t>(r.at[0].end - r.at[0].begin);
    s.fill = static_cast<std::uint16_t>(s.fill + n);
    s.next_seq += n;
    std::copy(r.at.begin() + 1, r.at.begin() + r.count, r.at.begin());
    --r.count;
}

// Early bytes beyond the FIN: its receiver throws them away too.
void Assembler::cut_ranges(Stream& s) noexcept {
    Ranges& r = ranges_[s.buffer];
    const std::size_t end = std::size_t{s.start} + s.fill + (s.fin_seq - s.next_seq);
    while (r.count != 0 && r.at[r.count - 1u].begin >= end)
        --r.count;
    if (r.count != 0 && r.at[r.count - 1u].end > end)
        r.at[r.count - 1u].end = static_cast<std::uint16_t>(end);
}

}  // namespace postern
