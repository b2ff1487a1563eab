// SPDX-License-Identifier: BSD-3-Clause
// SourceTable: the number of half-open connections of each source, and its rate of new ones.
//
// What: a count-min sketch (source_sketch.h): memory is fixed for any number of sources, and a
// source's count is never too low.
// Used by: the worker that owns it, when it begins a connection and when one stops being half-open.
// Cost: two cache lines a call. Packets of known connections do not touch it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/types.h"
#include "conntrack/source_sketch.h"
#include "net/addr.h"
#include "net/keyed_hash.h"

namespace postern {

struct SourceLimits {
    std::uint32_t half_open = 0;       ///< at once; 0 = no limit
    std::uint32_t new_per_second = 0;  ///< 0 = no limit

    bool any() const noexcept { return half_open != 0 || new_per_second != 0; }
};

class SourceTable {
  public:
    enum class Answer : std::uint8_t {
        ok,
        too_many_half_open,
        too_fast
    };
    static constexpr std::uint32_t kCells = 1u << 15;  ///< a row; 8 bytes each

    SourceTable(SourceLimits limits, const HashSecret& secret)
        : limits_(limits), cells_(limits.any() ? kCells : 0, secret) {}

    bool enabled() const noexcept { return static_cast<bool>(cells_); }

    /// Whether this source may open one more now. Counts the attempt, also a refused one, so that a
    /// source that continues too fast stays excluded.
    Answer admit(ZoneId zone, const IpAddr& source, Tick now) noexcept {
        const auto [a, b] = cells_.find(zone, source);
        const std::uint32_t second = now.ms / 1000;
        for (Cell* c : {&a, &b}) {
            if (c->second != second) *c = {second, 0, c->half_open};
            if (c->fresh != UINT16_MAX) ++c->fresh;
        }
        if (limits_.new_per_second != 0 && std::min(a.fresh, b.fresh) > limits_.new_per_second)
            return Answer::too_fast;
        if (limits_.half_open != 0 && std::min(a.half_open, b.half_open) >= limits_.half_open)
            return Answer::too_many_half_open;
        return Answer::ok;
    }
    void opened(ZoneId zone, const IpAddr& source) noexcept {
        const auto [a, b] = cells_.find(zone, source);
        for (Cell* c : {&a, &b})
            if (c->half_open != UINT16_MAX) ++c->half_open;
    }
    /// Exactly once for each opened().
    void closed(ZoneId zone, const IpAddr& source) noexcept {
        const auto [a, b] = cells_.find(zone, source);
        // A cell that was ever full no longer has an exact count: it stays full, which is the safe
        // side.
        for (Cell* c : {&a, &b})
            if (c->half_open != UINT16_MAX) --c->half_open;
    }

  private:
    struct Cell {
        std::uint32_t second = 0;  ///< that `fresh` counts
        std::uint16_t fresh = 0;
        std::uint16_t half_open = 0;
    };
    static_assert(sizeof(Cell) == 8);

    SourceLimits limits_;
    SourceSketch<Cell> cells_;
};

}  // namespace postern
