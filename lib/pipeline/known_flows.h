// SPDX-License-Identifier: BSD-3-Clause
// KnownFlows: connections that were seen from their first packet, remembered after they are
// forgotten.
//
// What: two Bloom filters of flow hashes, one a period; a flow is remembered for one to two
// periods. It may return true for a flow that was never noted, never false for one that was. A full
// filter returns true for more of them: it fails closed.
// Used by: its worker only. No allocation after construction.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "base/types.h"

namespace postern {

class KnownFlows {
  public:
    static constexpr std::uint32_t kPeriodMs = 4 * 3600 * 1000;

    /// `hash`: of the flow's key, keyed.
    void note(std::uint32_t hash) noexcept {
        for (const std::uint32_t bit : bits(hash))
            filters_[current_][bit / 64] |= std::uint64_t{1} << bit % 64;
    }
    bool knows(std::uint32_t hash) const noexcept {
        return std::any_of(filters_.begin(), filters_.end(), [&](const auto& filter) {
            const auto each = bits(hash);
            return std::all_of(each.begin(), each.end(), [&](std::uint32_t bit) {
                return (filter[bit / 64] >> bit % 64 & 1) != 0;
            });
        });
    }
    /// Forgets flows older than two periods. Call it regularly.
    void age(Tick now) noexcept {
        if (!began_) {
            since_ = now;
            began_ = true;
        }
        if (now - since_ < static_cast<std::int32_t>(kPeriodMs)) return;
        since_ = now;
        current_ ^= 1;
        std::fill(filters_[current_].begin(), filters_[current_].end(), 0);
    }

  private:
    static constexpr std::uint32_t kBits = 1u << 20;  ///< of a filter: 128 KiB

    static std::array<std::uint32_t, 2> bits(std::uint32_t hash) noexcept {
        const std::uint64_t spread = hash * std::uint64_t{0x9e3779b97f4a7c15};
        return {static_cast<std::uint32_t>(spread >> 44),
                static_cast<std::uint32_t>(spread >> 24) % kBits};
    }

    std::array<std::vector<std::uint64_t>, 2> filters_{std::vector<std::uint64_t>(kBits / 64),
                                                       std::vector<std::uint64_t>(kBits / 64)};
    Tick since_{};
    unsigned current_ = 0;
    bool began_ = false;
};

}  // namespace postern
