// SPDX-License-Identifier: BSD-3-Clause
// LineFilter: rules out, without Hyperscan, text in which no pattern of a helper can match.
//
// What: patterns are anchored to the start of a line, and few lines begin like a pattern. The
// filter is made from the patterns themselves: the possible first four bytes of a match. It errs to
// one side only: Hyperscan would not match in text that it rules out; other text is scanned.
// Life-cycle: made when a configuration is loaded, immutable then. Synchronisation: none needed.
// Cost: for a line, a search for its LF, and four reads of a 2 KiB table, of which text uses a few
// cache lines.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include <emmintrin.h>

#include "helper/descriptor.h"
#include "net/cursor.h"

namespace postern {

class LineFilter {
  public:
    static constexpr unsigned kDepth = 4;  ///< bytes of a line that are compared

    /// Null if some pattern is not anchored to the start of a line, or uses unsupported syntax
    /// (counts in braces, captures, look-around, ...): then all text has to be scanned.
    static std::unique_ptr<const LineFilter> make(std::span<const PatternDesc> patterns);

    /// One that rules out nothing.
    static const LineFilter& nothing() noexcept;

    /// False: no line of `text`, which begins at the start of a line, matches.
    [[gnu::always_inline]] bool may_match(Bytes text) const noexcept {
        // Usually one short line.
        if (text.size() > kDepth && text.size() <= kShort && !has_lf(text.data(), text.size() - 1))
            return may_begin(text.data());
        return may_match_anywhere(text);
    }

  private:
    /// A bit for each way in which a match can begin.
    using Ways = std::uint16_t;
    static constexpr unsigned kWays = 16;
    static constexpr std::size_t kShort = 64;  ///< beyond it memchr() is faster than has_lf()

    LineFilter() = default;

    /// may_match() for text of any form.
    bool may_match_anywhere(Bytes text) const noexcept;
    /// `line` has at least kDepth bytes.
    [[gnu::always_inline]] bool may_begin(const std::uint8_t* line) const noexcept {
        static_assert(kDepth == 4);
        return (ways_[0][line[0]] & ways_[1][line[1]] & ways_[2][line[2]] & ways_[3][line[3]]) != 0;
    }

    static bool has_lf(__m128i bytes) noexcept {
        return _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n'))) != 0;
    }
    /// Whether a text of at least four bytes has an LF. The last step overlaps the one before.
    static bool has_lf(const std::uint8_t* text, std::size_t n) noexcept {
        if (n < 8)
            return has_lf(_mm_unpacklo_epi32(_mm_loadu_si32(text), _mm_loadu_si32(text + n - 4)));
        if (n < 16)
            return has_lf(_mm_unpacklo_epi64(_mm_loadu_si64(text), _mm_loadu_si64(text + n - 8)));
        const auto look = [&](std::size_t at) {
            return has_lf(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(text + at)));
        };
        for (std::size_t at = 0; at + 16 < n; at += 16)
            if (look(at)) return true;
        return look(n - 16);
    }

    /// By position in the line and byte: the ways that it is compatible with.
    std::array<std::array<Ways, 256>, kDepth> ways_{};
};

}  // namespace postern
