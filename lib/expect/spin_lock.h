// SPDX-License-Identifier: BSD-3-Clause
// The lock of one shard. Held for less than a microsecond; contended only when two threads write
// to the same of many shards.
#pragma once

#include <atomic>

#include <sched.h>

namespace postern {

class SpinLock {
  public:
    void lock() noexcept {
        unsigned spins = 0;
        // Acquire pairs with unlock()'s release: the writes of the last holder are visible.
        while (locked_.exchange(true, std::memory_order_acquire)) {
            while (locked_.load(std::memory_order_relaxed)) {
                pause();
                // Tens of microseconds, many times the longest hold: the kernel took the holder's
                // processor away, which happens only if workers share one. Yields to it. A worker
                // with a processor of its own never gets here.
                if (++spins % kSpinsBeforeYield == 0) sched_yield();
            }
        }
    }
    void unlock() noexcept { locked_.store(false, std::memory_order_release); }

  private:
    static constexpr unsigned kSpinsBeforeYield = 2048;
    static void pause() noexcept {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield" ::: "memory");
#endif
    }
    std::atomic<bool> locked_{false};
};

}  // namespace postern
