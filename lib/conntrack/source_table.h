// SPDX-License-Identifier: BSD-3-Clause
// SourceTable: how many half-open connections a source has, and how fast it opens new ones.
//
// What: a count-min sketch of two rows under a keyed hash: memory is fixed however many sources
// there are, a source is never counted too low, and it can be counted too high only by sharing its
// cell in both rows, which nobody can arrange without the secret. A source is an IPv4 address or an
// IPv6 /64 (who has one address of a /64 has them all).
// Who: the worker that owns it, when it begins a connection and when one stops being half-open.
// Cost: two cache lines a call. Not touched by packets of known connections.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

#include "base/types.h"
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
        : limits_(limits), secret_(secret), cells_(limits.any() ? new Cell[2 * kCells] : nullptr) {}

    bool enabled() const noexcept { return cells_ != nullptr; }

    /// Whether this source may open one more now. Counts the attempt, also a refused one, so that a
    /// source that goes on too fast stays shut out.
    Answer admit(const IpAddr& source, Tick now) noexcept {
        const auto [a, b] = find(source);
        const std::uint32_t second = now.ms / 1000;
        for (Cell* c : {a, b}) {
            if (c->second != second) *c = {second, 0, c->half_open};
            if (c->fresh != UINT16_MAX) ++c->fresh;
        }
        if (limits_.new_per_second != 0 && std::min(a->fresh, b->fresh) > limits_.new_per_second)
            return Answer::too_fast;
        if (limits_.half_open != 0 && std::min(a->half_open, b->half_open) >= limits_.half_open)
            return Answer::too_many_half_open;
        return Answer::ok;
    }
    void opened(const IpAddr& source) noexcept {
        const auto [a, b] = find(source);
        for (Cell* c : {a, b})
            if (c->half_open != UINT16_MAX) ++c->half_open;
    }
    /// Exactly once for each opened().
    void closed(const IpAddr& source) noexcept {
        const auto [a, b] = find(source);
        // A cell that was ever full no longer knows its count: it stays on the safe side, full.
        for (Cell* c : {a, b})
            if (c->half_open != UINT16_MAX) --c->half_open;
    }

  private:
    struct Cell {
        std::uint32_t second = 0;  ///< that `fresh` counts
        std::uint16_t fresh = 0;
        std::uint16_t half_open = 0;
    };
    static_assert(sizeof(Cell) == 8);

    std::pair<Cell*, Cell*> find(const IpAddr& source) noexcept {
        IpAddr who = source;
        if (who.family == Family::ipv6) std::fill(who.bytes.begin() + 8, who.bytes.end(), 0);
        const std::uint64_t h = keyed_hash<16, 1>(who.bytes.data(), secret_);
        return {&cells_[h % kCells], &cells_[kCells + (h >> 32) % kCells]};
    }

    SourceLimits limits_;
    HashSecret secret_;
    std::unique_ptr<Cell[]> cells_;
};

}  // namespace postern
