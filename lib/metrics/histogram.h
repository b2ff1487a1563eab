// SPDX-License-Identifier: BSD-3-Clause
// A histogram of values by size. One writer, any number of readers.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "base/counter.h"

namespace postern {

/// Bucket i counts values below 2^i that no smaller bucket counts, the last one all others. Written
/// by its owner only, read at any time; a reader may see a value in its bucket before the sum
/// includes it.
class Histogram {
  public:
    static constexpr unsigned kBuckets = 24;

    void add(std::uint64_t value) noexcept {
        const unsigned i = static_cast<unsigned>(std::bit_width(value));
        buckets_[i < kBuckets ? i : kBuckets - 1].add();
        sum_.add(value);
    }
    std::uint64_t bucket(unsigned i) const noexcept { return buckets_[i].get(); }
    /// One past the largest value of bucket i; the last bucket has no such limit.
    static constexpr std::uint64_t limit(unsigned i) noexcept { return std::uint64_t{1} << i; }
    std::uint64_t count() const noexcept {
        std::uint64_t n = 0;
        for (const Counter& b : buckets_)
            n += b.get();
        return n;
    }
    std::uint64_t sum() const noexcept { return sum_.get(); }

  private:
    std::array<Counter, kBuckets> buckets_;
    Counter sum_;
};

}  // namespace postern
