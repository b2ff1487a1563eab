// SPDX-License-Identifier: BSD-3-Clause
#include "helper/stream.h"

namespace postern {

/// Buffers from `first` on; the last `unproven` of them are for unproven connections.
Assembler::Kind Assembler::make_kind(std::uint32_t first, std::uint32_t last,
                                     std::uint32_t unproven) {
    // In a full pool, one source may hold a quarter, one destination half.
    const auto pool = [last](std::uint32_t n) {
        return Pool(last, n,
                    {{{kAccounts, std::max(1u, n / 4)}, {kAccounts, std::max(1u, n / 2)}}});
    };
    const std::uint32_t n = last + 1 - first;
    Kind kind{{}, {pool(unproven), pool(n - unproven)}};
    kind.free.reserve(n);
    for (std::uint32_t i = last; i >= first; --i)
        kind.free.push_back(i);
    return kind;
}

Assembler::Assembler(const Sizes& sizes, Hooks hooks)
    : buffers_(sizes.buffers + sizes.unproven_buffers),
      buffer_bytes_(std::clamp(sizes.buffer_bytes, 64u, kMaxBufferBytes)),
      longest_bytes_(std::min(sizes.long_bytes, kMaxBufferBytes)),
      // Zeroed, so that no page is touched for the first time on a worker. Slot 0 means "none".
      bytes_(std::make_unique<std::uint8_t[]>((std::size_t{buffers_} + 1) *
                                              with_slack(buffer_bytes_))),
      long_bytes_(std::make_unique<std::uint8_t[]>(
          std::size_t{sizes.long_buffers + sizes.unproven_long_buffers} *
          with_slack(longest_bytes_))),
      ranges_(std::size_t{buffers_} + sizes.long_buffers + sizes.unproven_long_buffers + 1),
      owners_(ranges_.size()),
      usual_(make_kind(1, buffers_, sizes.unproven_buffers)),
      long_(make_kind(buffers_ + 1, buffers_ + sizes.long_buffers + sizes.unproven_long_buffers,
                      sizes.unproven_long_buffers)),
      hooks_(hooks) {}

void Assembler::start(Stream& s, std::uint32_t isn) noexcept {
    if (!is_untouched(s)) return;
    s.state = StreamState::open;
    s.next_seq = isn + 1;
}

bool Assembler::make_room(Kind& kind, const Party& party) noexcept {
    Pool& pool = kind.pools[index(party.standing)];
    if (!pool.full()) return true;
    const auto victim = pool.victim({party.source, party.destination}, [](std::uint32_t) {
        return Tick{};  // buffers are touched at each use
    });
    Stream* loser = victim.item != 0 ? owners_[victim.item] : nullptr;
    // Given back by the current push, whose undo may need it again.
    if (loser == nullptr || loser->buffer != victim.item) return false;
    loser->state = StreamState::blind;
    loser->buffer = 0;
    loser->start = loser->fill = 0;
    give(victim.item);
    moved_ = true;  // the displaced one may belong to the current connection
    if (hooks_.displaced != nullptr) hooks_.displaced(hooks_.context, *loser);
    return true;
}

std::uint32_t Assembler::obtain(Kind& kind, Stream& s) noexcept {
    const Party party = party_of(s);
    if (!make_room(kind, party) || kind.free.empty()) return 0;
    const std::uint32_t buffer = kind.free.back();
    kind.free.pop_back();
    kind.pools[index(party.standing)].insert(buffer, {party.source, party.destination}, {});
    owners_[buffer] = &s;
    return buffer;
}

void Assembler::recharge(Stream& s) noexcept {
    if (s.buffer == 0) return;
    Kind& kind = kind_of(s.buffer);
    const Party party = party_of(s);
    for (auto& pool : kind.pools)
        pool.remove(s.buffer);
    if (make_room(kind, party))
        kind.pools[index(party.standing)].insert(s.buffer, {party.source, party.destination}, {});
    else
        stop(s, StreamState::blind);
}

bool Assembler::take(Stream& s, std::size_t bytes) noexcept {
    const std::uint32_t buffer = obtain(bytes > buffer_bytes_ ? long_ : usual_, s);
    if (buffer == 0) return false;
    s.buffer = buffer;
    s.start = s.fill = 0;
    ranges_[s.buffer].count = 0;
    return true;
}

bool Assembler::grow(Stream& s) noexcept {
    const std::uint32_t to = obtain(long_, s);
    if (to == 0) return false;
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

// Joins the range that starts where the bytes in order end, if any.
void Assembler::absorb(Stream& s) noexcept {
    Ranges& r = ranges_[s.buffer];
    if (r.count == 0 || r.at[0].begin != s.start + s.fill) return;
    const auto n = static_cast<std::uint16_t>(r.at[0].end - r.at[0].begin);
    s.fill = static_cast<std::uint16_t>(s.fill + n);
    s.next_seq += n;
    std::copy(r.at.begin() + 1, r.at.begin() + r.count, r.at.begin());
    --r.count;
}

// Early bytes beyond the FIN: the receiver discards them too.
void Assembler::cut_ranges(Stream& s) noexcept {
    Ranges& r = ranges_[s.buffer];
    const std::size_t end = std::size_t{s.start} + s.fill + (s.fin_seq - s.next_seq);
    while (r.count != 0 && r.at[r.count - 1u].begin >= end)
        --r.count;
    if (r.count != 0 && r.at[r.count - 1u].end > end)
        r.at[r.count - 1u].end = static_cast<std::uint16_t>(end);
}

}  // namespace postern
