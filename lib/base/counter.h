// SPDX-License-Identifier: BSD-3-Clause
// A counter with one writer and any number of readers.
#pragma once

#include <atomic>
#include <cstdint>

#if defined(__SANITIZE_THREAD__)
#define POSTERN_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define POSTERN_TSAN
#endif
#endif

namespace postern {

/// Written by its owner only (so no locked instruction is needed), read by control at any time.
/// Relaxed throughout: a reader needs a recent number, not an order.
class Counter {
  public:
    void add(std::uint64_t n = 1) noexcept {
#if defined(__x86_64__) && !defined(POSTERN_TSAN)
        // One instruction, and not a locked one; g++ 12 makes three of a relaxed load and store.
        asm("addq %1, %0" : "+m"(value_) : "er"(n) : "cc");
#else
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
#endif
    }
    void set(std::uint64_t n) noexcept {
        value_.store(n, std::memory_order_relaxed);
    }
    std::uint64_t get() const noexcept {
        return value_.load(std::memory_order_relaxed);
    }

  private:
    std::atomic<std::uint64_t> value_{0};
};

}  // namespace postern
