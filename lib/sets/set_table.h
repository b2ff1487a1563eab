// SPDX-License-Identifier: BSD-3-Clause
// SetTable: the prefixes of one length of one set, each with the time until which it is in the set.
//
// A hash table of cache lines. A key's search begins in the line that its hash selects, and ends at
// the key or at the first slot that was never used. A slot belongs to its first key for ever: a
// deleted key leaves it dead, and only the same key uses it again. So a reader never sees parts of
// two keys, and needs neither a lock nor a version. A table whose slots are used up is replaced by
// a new one (LiveSet), which has the live keys only.
//
// Synchronisation: control writes; any worker reads. Cost: of a look-up one line, rarely two; 8
// slots a line of IPv4, 3 of IPv6.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/huge_pages.h"
#include "net/keyed_hash.h"
#include "net/ranges.h"
#include "sets/set_filter.h"

namespace postern {

/// A second of the sets' clock (SetClock), until which a prefix is in the set. Alive means: later
/// than now. The clock begins at 1.
using SetTime = std::uint32_t;
inline constexpr SetTime kUnusedSlot = 0, kDeadSlot = 1, kForEver = UINT32_MAX;

/// A line of slots. Slots are used in their order.
template <class Key>
struct SetLine;

template <>
struct alignas(64) SetLine<std::uint32_t> {
    static constexpr unsigned kSlots = 8, kFill = 6;  ///< slots; those used on average, at most
    /// The key, then its time: one word, so neither is ever seen without the other. Control: w,
    /// workers: r; relaxed, since the word refers to nothing else.
    std::array<std::atomic<std::uint64_t>, kSlots> words{};

    SetTime time(unsigned i) const noexcept {
        return static_cast<SetTime>(words[i].load(std::memory_order_relaxed));
    }
    std::uint32_t key(unsigned i) const noexcept {
        return static_cast<std::uint32_t>(words[i].load(std::memory_order_relaxed) >> 32);
    }
    void set(unsigned i, std::uint32_t key, SetTime time) noexcept {
        words[i].store(std::uint64_t{key} << 32 | time, std::memory_order_relaxed);
    }
    /// The slot of the key, or the first unused one; kSlots: neither is here. `time` is the slot's.
    unsigned find(std::uint32_t key, SetTime& time) const noexcept {
        for (unsigned i = 0; i < kSlots; ++i) {
            const std::uint64_t word = words[i].load(std::memory_order_relaxed);
            time = static_cast<SetTime>(word);
            if (time == kUnusedSlot || word >> 32 == key) return i;
        }
        return kSlots;
    }
};

template <>
struct alignas(64) SetLine<Wide> {
    static constexpr unsigned kSlots = 3, kFill = 2;
    std::array<std::atomic<std::uint64_t>, kSlots> high{}, low{};
    /// Control: w, workers: r. Release pairs with acquire: the key is complete.
    std::array<std::atomic<SetTime>, kSlots> times{};

    SetTime time(unsigned i) const noexcept { return times[i].load(std::memory_order_acquire); }
    Wide key(unsigned i) const noexcept {
        return {high[i].load(std::memory_order_relaxed), low[i].load(std::memory_order_relaxed)};
    }
    void set(unsigned i, const Wide& key, SetTime time) noexcept {
        high[i].store(key.high, std::memory_order_relaxed);
        low[i].store(key.low, std::memory_order_relaxed);
        times[i].store(time, std::memory_order_release);
    }
    unsigned find(const Wide& wanted, SetTime& time) const noexcept {
        for (unsigned i = 0; i < kSlots; ++i) {
            time = this->time(i);
            if (time == kUnusedSlot || key(i) == wanted) return i;
        }
        return kSlots;
    }
};
static_assert(sizeof(SetLine<std::uint32_t>) == 64 && sizeof(SetLine<Wide>) == 64);

template <class Key>
class SetTable {
  public:
    using Line = SetLine<Key>;

    /// Has room for `entries` keys, dead ones included. `secret` outlives it.
    SetTable(std::size_t entries, const HashSecret& secret)
        : secret_(secret),
          lines_(entries / Line::kFill + 1),
          line_of_(make_huge_array<Line>(lines_)) {}

    // --- any thread ---
    const Line* line_of(const Key& key) const noexcept { return &line_of_[line_number(key)]; }
    /// The key's time, from the line of line_of(); kUnusedSlot if it was never here.
    SetTime find(const Line* line, const Key& key) const noexcept {
        for (;;) {
            SetTime time = kUnusedSlot;
            if (line->find(key, time) != Line::kSlots) return time;
            if (++line == &line_of_[0] + lines_) line = &line_of_[0];
        }
    }

    // --- control ---
    SetTime find(const Key& key) const noexcept { return find(line_of(key), key); }
    /// Whether a key that was never here finds room.
    bool has_room() const noexcept { return used_ < lines_ * Line::kFill; }
    /// Gives the key a time, or makes it dead. A new key needs room. Returns its former time.
    SetTime put(const Key& key, SetTime time) noexcept {
        for (std::size_t n = line_number(key);; n = n + 1 == lines_ ? 0 : n + 1) {
            SetTime before = kUnusedSlot;
            const unsigned i = line_of_[n].find(key, before);
            if (i == Line::kSlots) continue;
            if (before == kUnusedSlot) {
                if (time == kDeadSlot) return before;
                ++used_;
            }
            if (before <= kDeadSlot && time > kDeadSlot) ++live_;
            if (before > kDeadSlot && time == kDeadSlot) --live_;
            line_of_[n].set(i, key, time);
            return before;
        }
    }
    /// Keys that are not dead. Some may have expired.
    std::size_t live() const noexcept { return live_; }
    std::size_t lines() const noexcept { return lines_; }
    /// Calls fn(key, time) for the keys of a line that are not dead.
    template <class Fn>
    void for_each_in(std::size_t line, Fn&& fn) const {
        for (unsigned i = 0; i < Line::kSlots; ++i)
            if (const SetTime time = line_of_[line].time(i); time > kDeadSlot)
                fn(line_of_[line].key(i), time);
    }
    /// Calls fn(key, time) for the keys that are not dead and have a hash of `from` or more, of the
    /// line that such a hash selects. Returns the least hash of the next line, kHashes after the
    /// last one. Tables of other sizes have the same order, so that a walk goes on in the next one.
    template <class Fn>
    std::uint64_t for_each_from(std::uint64_t from, Fn&& fn) const {
        const std::size_t first = from * lines_ >> 32;
        // Some of its keys may be in the lines behind it, up to an unused slot.
        for (std::size_t n = first;; n = n + 1 == lines_ ? 0 : n + 1)
            for (unsigned i = 0; i < Line::kSlots; ++i) {
                const SetTime time = line_of_[n].time(i);
                if (time == kUnusedSlot) return ((first + 1) * kHashes + lines_ - 1) / lines_;
                const Key key = line_of_[n].key(i);
                const std::uint64_t hash = set_hash(key, secret_);
                if (time > kDeadSlot && hash >= from && hash * lines_ >> 32 == first) fn(key, time);
            }
    }
    static constexpr std::uint64_t kHashes = std::uint64_t{1} << 32;
    std::size_t bytes() const noexcept { return lines_ * sizeof(Line); }

  private:
    std::size_t line_number(const Key& key) const noexcept {
        return set_hash(key, secret_) * lines_ >> 32;
    }

    const HashSecret& secret_;
    std::size_t lines_;
    HugeArray<Line> line_of_;
    std::size_t used_ = 0, live_ = 0;
};

}  // namespace postern
