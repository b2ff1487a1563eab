// SPDX-License-Identifier: BSD-3-Clause
// FreeList: hands out the indices 1..capacity of a slab that the caller owns, and takes them back.
// Free objects are chained through a word inside themselves, so the list itself is two words.
//
// Who: one worker, single threaded. Last freed is handed out first (its lines are still warm).
// Indices never used so far come after those returned, lowest first: memory is touched only when
// the slab really fills. Cost: alloc and free touch the object's own line.
#pragma once

#include <cassert>
#include <concepts>
#include <cstdint>

namespace postern {

template <class S>
concept FreeListSlots = requires(S& s, std::uint32_t i) {
    { s.next_free(i) }
    noexcept->std::same_as<std::uint32_t&>;
};

template <FreeListSlots Slots>
class FreeList {
  public:
    /// The slab has capacity + 1 objects: index 0 means "none".
    FreeList(Slots slots, std::uint32_t capacity) noexcept : slots_(slots), capacity_(capacity) {}

    std::uint32_t capacity() const noexcept { return capacity_; }
    std::uint32_t used() const noexcept { return used_; }

    /// 0 when all are in use.
    std::uint32_t alloc() noexcept {
        std::uint32_t index = head_;
        if (index != 0)
            head_ = slots_.next_free(index);
        else if (fresh_ <= capacity_)
            index = fresh_++;
        else
            return 0;
        ++used_;
        return index;
    }

    void free(std::uint32_t index) noexcept {
        assert(index != 0 && index < fresh_ && used_ > 0);
        slots_.next_free(index) = head_;
        head_ = index;
        --used_;
    }

  private:
    [[no_unique_address]] Slots slots_;
    std::uint32_t capacity_;
    std::uint32_t head_ = 0;
    std::uint32_t fresh_ = 1;  ///< the lowest index never handed out
    std::uint32_t used_ = 0;
};

}  // namespace postern
