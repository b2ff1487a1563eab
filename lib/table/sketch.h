// SPDX-License-Identifier: BSD-3-Clause
// Sketch: a count-min sketch of two rows. It counts any number of items in fixed memory.
//
// What: an item has one cell in each row, which it may share with others; its count is added to
// both. So the smaller of its two cells is never too low, and it is too high only if others share
// both. With a keyed hash an attacker cannot arrange that without the secret.
// Used by: limits by source or host (lib/conntrack, lib/pipeline, lib/expect). The cell type
// determines whether several threads may count. Cost: two cache lines a look-up.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

namespace postern {

/// The place of an item: one cell in each row.
struct SketchPlace {
    std::uint32_t first = 0, second = 0;
    friend constexpr bool operator==(SketchPlace, SketchPlace) = default;
};

template <class Cell, class Memory = std::unique_ptr<Cell[]>>
class Sketch {
  public:
    /// Counts nothing: place() and the cells must not be used.
    Sketch() = default;
    /// `cells` are 2 * `row`, zeroed; `row` is a power of two, at most 2^32.
    Sketch(Memory cells, std::uint32_t row) noexcept : cells_(std::move(cells)), mask_(row - 1) {}

    explicit operator bool() const noexcept { return cells_ != nullptr; }
    /// `hash` is keyed with a secret.
    SketchPlace place(std::uint64_t hash) const noexcept {
        return {static_cast<std::uint32_t>(hash) & mask_,
                (static_cast<std::uint32_t>(hash >> 32) & mask_) + mask_ + 1};
    }
    std::pair<Cell&, Cell&> at(SketchPlace place) const noexcept {
        return {cells_[place.first], cells_[place.second]};
    }

  private:
    Memory cells_{};
    std::uint32_t mask_ = 0;
};

}  // namespace postern
