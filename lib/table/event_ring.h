// SPDX-License-Identifier: BSD-3-Clause
// Rings from one writing thread to one reading thread: from a worker to control, which the worker
// never waits for. SpscRing reports when it is full; EventRing discards events that do not fit, and
// counts them.
//
// Life-cycle: the constructor allocates the memory, before the writer starts. Cost: an element is
// filled in place, then one release store; the writer reads the reader's line once an element.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>

#include "base/counter.h"

namespace postern {

template <class T>
class SpscRing {
  public:
    /// Rounded up to a power of two; 0 = no capacity.
    explicit SpscRing(std::uint32_t capacity)
        : capacity_(capacity == 0 ? 0 : std::bit_ceil(capacity)),
          elements_(capacity_ == 0 ? nullptr : new T[capacity_]) {}

    std::uint32_t capacity() const noexcept { return capacity_; }
    /// Calls f(element, place) for each slot, to set up resources of elements once, before the ring
    /// is used.
    template <class F>
    void prepare(F&& f) {
        for (std::uint32_t i = 0; i < capacity_; ++i)
            f(elements_[i], i);
    }

    /// Returns room for the next element, or nothing. Writer only; publish() makes it visible.
    T* reserve() noexcept {
        // Acquire pairs with pop()'s release: the reader has finished with the slot.
        if (head_ - tail_.load(std::memory_order_acquire) == capacity_) return nullptr;
        return &elements_[head_ & (capacity_ - 1)];
    }
    void publish() noexcept {
        // Release pairs with pop()'s acquire: the element is complete.
        published_.store(++head_, std::memory_order_release);
    }

    /// Returns the oldest element in place, or nothing. Reader only; drop_front() gives the slot
    /// back.
    T* front() noexcept {
        const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
        if (tail == published_.load(std::memory_order_acquire)) return nullptr;
        return &elements_[tail & (capacity_ - 1)];
    }
    void drop_front() noexcept {
        tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
    }

    /// Reader only.
    bool pop(T& out) noexcept {
        const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
        if (tail == published_.load(std::memory_order_acquire)) return false;
        out = elements_[tail & (capacity_ - 1)];
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }

  private:
    std::uint32_t capacity_;
    std::unique_ptr<T[]> elements_;
    alignas(64) std::uint32_t head_ = 0;              // writer's own
    std::atomic<std::uint32_t> published_{0};         // writer: w, reader: r
    alignas(64) std::atomic<std::uint32_t> tail_{0};  // reader: w, writer: r
};

template <class Event>
class EventRing {
  public:
    /// Rounded up to a power of two; 0 = no events.
    explicit EventRing(std::uint32_t capacity) : ring_(capacity) {}

    bool enabled() const noexcept { return ring_.capacity() != 0; }
    /// Returns room for the next event, or nothing (counted). Writer only; publish() makes it
    /// visible.
    Event* reserve() noexcept {
        Event* event = ring_.reserve();
        if (event == nullptr) lost_.add();
        return event;
    }
    void publish() noexcept { ring_.publish(); }
    /// Reader only.
    bool pop(Event& out) noexcept { return ring_.pop(out); }
    std::uint64_t lost() const noexcept { return lost_.get(); }

  private:
    SpscRing<Event> ring_;
    Counter lost_;  // writer: w, any: r
};

}  // namespace postern
