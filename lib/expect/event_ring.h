// SPDX-License-Identifier: BSD-3-Clause
// Events of one owner on their way to whoever drains them: one writer (the owner's thread), one
// reader (control, or replay). Never blocks the writer; what does not fit is counted and gone.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>

#include "base/counter.h"
#include "expect/types.h"

namespace postern {

class EventRing {
  public:
    /// Rounded up to a power of two; 0 = no events at all.
    explicit EventRing(std::uint32_t capacity)
        : capacity_(capacity == 0 ? 0 : std::bit_ceil(capacity)),
          events_(capacity_ == 0 ? nullptr : new ExpectEvent[capacity_]) {}

    bool enabled() const noexcept { return capacity_ != 0; }

    /// Room for the next event, or nothing (counted). Writer only; publish() makes it visible.
    ExpectEvent* reserve() noexcept {
        // Acquire pairs with pop()'s release: the reader is done with the slot.
        if (head_ - tail_.load(std::memory_order_acquire) == capacity_) {
            lost_.add();
            return nullptr;
        }
        return &events_[head_ & (capacity_ - 1)];
    }
    void publish() noexcept {
        // Release pairs with pop()'s acquire: the event is complete.
        published_.store(++head_, std::memory_order_release);
    }

    /// Reader only.
    bool pop(ExpectEvent& out) noexcept {
        const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
        if (tail == published_.load(std::memory_order_acquire)) return false;
        out = events_[tail & (capacity_ - 1)];
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }
    std::uint64_t lost() const noexcept { return lost_.get(); }

  private:
    std::uint32_t capacity_;
    std::unique_ptr<ExpectEvent[]> events_;
    alignas(64) std::uint32_t head_ = 0;              // writer's own
    std::atomic<std::uint32_t> published_{0};         // writer: w, reader: r
    Counter lost_;                                    // writer: w, anybody: r
    alignas(64) std::atomic<std::uint32_t> tail_{0};  // reader: w, writer: r
};

}  // namespace postern
