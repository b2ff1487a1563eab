// SPDX-License-Identifier: BSD-3-Clause
// ExpectShard: one of the parts over which the table's keys are distributed; private to lib/expect.
//
// What: an rte_hash (lock-free readers) from key to position; by position an anchor, the first of a
// chain of candidates that differ in their source; by slot of the hash a count of pending ones; a
// lock for its writers. Synchronisation: readers take no lock and write nothing. Every change
// requires the lock. Positions are reused only after a grace period (the rte_hash's own deferred
// queue), so a reader's position never becomes another key's.
#pragma once

#include <atomic>
#include <cstdint>

#include "expect/expectation.h"
#include "expect/rte_array.h"
#include "expect/spin_lock.h"
#include "expect/types.h"

struct rte_hash;
struct rte_rcu_qsbr;

namespace postern {

class alignas(64) ExpectShard {
  public:
    ExpectShard() = default;
    ~ExpectShard();
    ExpectShard(const ExpectShard&) = delete;
    ExpectShard& operator=(const ExpectShard&) = delete;

    /// For `keys` keys, with counters in `slots`, a power of two. `name` is unique in the process.
    /// False: no memory.
    bool create(const char* name, std::uint32_t keys, std::uint32_t slots, int socket,
                rte_rcu_qsbr* rcu);

    // --- readers: any thread ---
    // Relaxed: causality through the network, or through a ring between workers, orders these with
    // the insert; see "Order" in table.h.
    bool is_empty() const noexcept { return live_.load(std::memory_order_relaxed) == 0; }
    bool may_have(std::uint64_t hash) const noexcept {
        return !is_empty() && presence_[slot_of(hash)].load(std::memory_order_relaxed) != 0;
    }
    /// Prefetches the memory that may_have() reads.
    void prefetch(std::uint64_t hash) const noexcept {
        if (!is_empty()) __builtin_prefetch(&presence_[slot_of(hash)]);
    }
    /// The same for the thread that will count one in.
    void prefetch_for_writing(std::uint64_t hash) const noexcept {
        __builtin_prefetch(&presence_[slot_of(hash)], 1);
    }
    /// The first candidate of a key; 0: none. Each candidate reached by `next` is complete.
    std::uint32_t first(const ExpectKey& key, std::uint64_t hash) const noexcept;

    // --- writers: with the lock ---
    SpinLock& lock() noexcept { return lock_; }
    /// The position of the key; negative: none.
    std::int32_t position_of(const ExpectKey& key, std::uint64_t hash) const noexcept;
    /// Adds a key that does not exist. Negative: no room.
    std::int32_t add_key(const ExpectKey& key, std::uint64_t hash) noexcept;
    std::uint32_t first_at(std::int32_t position) const noexcept {
        return anchor_[static_cast<std::uint32_t>(position)].load(std::memory_order_relaxed);
    }
    /// Counts `e`, whose position is set. Before publish(): a reader that finds a count of 0 stops.
    void count_in(const Expectation& e) noexcept;
    /// Puts a complete candidate first in its chain: from here on readers find it.
    void publish(Expectation& e, std::uint32_t index) noexcept;
    /// Removes it from its chain. Its key stays until drop_key_if_unused().
    void unlink(Expectation& e, std::uint32_t index, const ExpectStore& store) noexcept;
    void drop_key_if_unused(const ExpectKey& key, std::uint64_t hash,
                            std::uint32_t position) noexcept;

  private:
    // Bits of the hash: the shard uses the top, this from bit 32 on, rte_hash the low 32.
    std::uint32_t slot_of(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(hash >> 32) & slot_mask_;
    }

    // Line 1: all that most misses read. Written under the lock.
    std::atomic<std::uint32_t> live_{0};
    std::uint32_t slot_mask_ = 0;  // set at start
    // Line 2: set at start.
    alignas(64) rte_hash* hash_ = nullptr;
    RteArray<std::atomic<std::uint32_t>> anchor_;    // by position: first candidate, 0 = none
    RteArray<std::atomic<std::uint16_t>> presence_;  // by slot_of(): pending ones
    // Line 3.
    alignas(64) SpinLock lock_;
};

}  // namespace postern
