// SPDX-License-Identifier: BSD-3-Clause
// SearchTrees: ascending numbers, searched a cache line at a time.
//
// find(tree, n) returns how many numbers of the tree are less than n. A tree has a line of 16
// numbers of 32 bits (8 of 64) on each level; a node's entry is the greatest number below the child
// of the same position. A line is compared in a few instructions without a branch, so 100,000
// numbers cost four or five loads, and the searches of a burst overlap.
//
// Built by control, never changed; read by all workers.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "policy/huge_vector.h"

namespace postern {

template <class T>
class SearchTrees {
  public:
    static constexpr unsigned kPerLine = 64 / sizeof(T);

    struct Tree {
        std::uint32_t levels = 0;  ///< 1 or more
        /// Nodes of each level from the root's on, up to the leaves.
        std::array<std::uint32_t, 8> level_start{};
    };

    /// `numbers`: ascending, not empty.
    Tree add(std::span<const T> numbers) {
        // Levels from the leaves up; each entry of a level is the last number of a child.
        std::vector<std::vector<T>> levels{{numbers.begin(), numbers.end()}};
        while (levels.back().size() > kPerLine) {
            const std::vector<T>& below = levels.back();
            std::vector<T> above;
            for (std::size_t i = kPerLine - 1; i < below.size(); i += kPerLine)
                above.push_back(below[i]);
            if (below.size() % kPerLine != 0) above.push_back(below.back());
            levels.push_back(std::move(above));
        }
        Tree tree;
        for (auto level = levels.rbegin(); level != levels.rend(); ++level) {
            tree.level_start[tree.levels++] = static_cast<std::uint32_t>(lines_.size());
            for (std::size_t at = 0; at < level->size(); at += kPerLine)
                lines_.push_back(line_of(std::span(*level).subspan(at)));
        }
        return tree;
    }

    /// For each of the `count` numbers, at most kMaxBurst: how many of the tree's are less, if its
    /// last one is not. Level by level, so that their loads overlap.
    void find(const Tree& tree, const T* numbers, unsigned count,
              std::uint32_t* out) const noexcept {
        const Line* lines = &lines_[tree.level_start[0]];
        for (unsigned k = 0; k < count; ++k)
            out[k] = less(*lines, numbers[k]);
        for (std::uint32_t level = 1, levels = tree.levels; level < levels; ++level) {
            lines = &lines_[tree.level_start[level]];
            for (unsigned k = 0; k < count; ++k)
                out[k] = out[k] * kPerLine + less(lines[out[k]], numbers[k]);
        }
    }
    /// The same for one number.
    std::uint32_t find(const Tree& tree, T number) const noexcept {
        std::uint32_t at = 0;
        find(tree, &number, 1, &at);
        return at;
    }

    std::size_t bytes() const noexcept { return lines_.size() * sizeof(Line); }

  private:
    // Numbers are kept with the upper bit inverted, for the processor compares with signs.
    using Signed = std::make_signed_t<T>;
    struct alignas(64) Line {
        std::array<Signed, kPerLine> numbers;
    };
    static constexpr Signed with_sign(T n) noexcept {
        return static_cast<Signed>(n ^ (T{1} << (sizeof(T) * 8 - 1)));
    }
    static Line line_of(std::span<const T> numbers) noexcept {
        Line line;
        for (unsigned i = 0; i < kPerLine; ++i)
            line.numbers[i] =
                with_sign(i < numbers.size() ? numbers[i] : std::numeric_limits<T>::max());
        return line;
    }
    static unsigned less(const Line& line, T n) noexcept {
#if defined(__AVX2__)
        const auto* const half = reinterpret_cast<const __m256i*>(line.numbers.data());
        if constexpr (sizeof(T) == 4) {
            const __m256i key = _mm256_set1_epi32(with_sign(n));
            const auto low = _mm256_movemask_ps(
                _mm256_castsi256_ps(_mm256_cmpgt_epi32(key, _mm256_load_si256(half))));
            const auto high = _mm256_movemask_ps(
                _mm256_castsi256_ps(_mm256_cmpgt_epi32(key, _mm256_load_si256(half + 1))));
            return static_cast<unsigned>(std::popcount(static_cast<unsigned>(low | high << 8)));
        } else {
            const __m256i key = _mm256_set1_epi64x(with_sign(n));
            const auto low = _mm256_movemask_pd(
                _mm256_castsi256_pd(_mm256_cmpgt_epi64(key, _mm256_load_si256(half))));
            const auto high = _mm256_movemask_pd(
                _mm256_castsi256_pd(_mm256_cmpgt_epi64(key, _mm256_load_si256(half + 1))));
            return static_cast<unsigned>(std::popcount(static_cast<unsigned>(low | high << 4)));
        }
#else
        unsigned n_less = 0;
        for (const Signed number : line.numbers)
            n_less += number < with_sign(n) ? 1 : 0;
        return n_less;
#endif
    }

    HugeVector<Line> lines_;
};

}  // namespace postern
