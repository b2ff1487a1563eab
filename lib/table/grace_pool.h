// SPDX-License-Identifier: BSD-3-Clause
// GracePool: manages the indices of one owner's slab, and reuses an index only after a grace
// period, when no reader can hold it any more.
//
// Life-cycle of an index: allocate(), published by the caller, ended by any thread, given back, a
// grace period, free again. The owner gives it back by retire(), another thread by send_back(), and
// then take_returned() retires it. reclaim(), once a turn, checks whether a grace period has
// passed; it never waits.
//
// Synchronisation: only the owner's thread calls the functions, except send_back() and fresh().
// Objects are chained through a word of their own, which belongs to the thread that ended the
// object until it is back here.
//
// Cost: allocate(), retire() and send_back() touch the object's own line. The RCU variable's line,
// which all threads share, is written at most once a turn. Needs DPDK.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>

#include <rte_rcu_qsbr.h>

namespace postern {

/// `next(i)` is the word of object i that chains it; `prefetch(i)` prefetches what the callback of
/// take_returned() writes.
template <class S>
concept GraceSlots = requires(S& s, std::uint32_t i) {
    { s.next(i) }
    noexcept->std::same_as<std::uint32_t&>;
    s.prefetch(i);
};

template <GraceSlots Slots>
class GracePool {
  public:
    /// The `count` indices from `first` on, all of them free; `first` is not 0, which means "none".
    GracePool(Slots slots, std::uint32_t first, std::uint32_t count, rte_rcu_qsbr* rcu) noexcept
        : slots_(slots), rcu_(rcu), free_count_(count), last_(first + count - 1), fresh_(first) {}

    /// Returns 0 if none is free. Indices never used before come after those returned, lowest
    /// first.
    std::uint32_t allocate() noexcept {
        if (free_ == 0) {
            const std::uint32_t fresh = fresh_.load(std::memory_order_relaxed);
            if (fresh <= last_) {
                fresh_.store(fresh + 1, std::memory_order_relaxed);
                --free_count_;
                return fresh;
            }
            reclaim();
            if (free_ == 0) return 0;
        }
        const std::uint32_t index = free_;
        free_ = slots_.next(index);
        --free_count_;
        return index;
    }
    /// Takes back an index that was never published: no grace period.
    void put_back(std::uint32_t index) noexcept {
        slots_.next(index) = free_;
        free_ = index;
        ++free_count_;
    }
    /// Takes back an index that readers may still hold.
    void retire(std::uint32_t index) noexcept {
        slots_.next(index) = retired_;
        if (retired_ == 0) retired_tail_ = index;
        retired_ = index;
        ++retired_count_;
    }
    /// The same from any thread.
    void send_back(std::uint32_t index) noexcept {
        std::uint32_t head = returned_.load(std::memory_order_relaxed);
        do
            slots_.next(index) = head;
        // Release pairs with take_returned()'s acquire. Single objects are never popped: no ABA.
        while (!returned_.compare_exchange_weak(head, index, std::memory_order_release,
                                                std::memory_order_relaxed));
    }
    /// Retires what other threads sent back; calls fn(index) before each.
    template <class Fn>
    void take_returned(Fn&& fn) noexcept {
        if (returned_.load(std::memory_order_relaxed) == 0) return;
        std::uint32_t i = returned_.exchange(0, std::memory_order_acquire);
        for (std::uint32_t next; i != 0; i = next) {
            next = slots_.next(i);
            if (next != 0) slots_.prefetch(next);
            fn(i);
            retire(i);
        }
    }
    /// Frees indices whose grace period has passed. Two batches: one collects, the other waits for
    /// the readers of its time. One token a batch, not one an object.
    void reclaim() noexcept {
        if (waiting_ != 0 && rte_rcu_qsbr_check(rcu_, token_, false) == 1) {
            slots_.next(waiting_tail_) = free_;
            free_ = waiting_;
            free_count_ += waiting_count_;
            waiting_ = waiting_count_ = 0;
        }
        if (waiting_ == 0 && retired_ != 0) {
            waiting_ = retired_;
            waiting_tail_ = retired_tail_;
            waiting_count_ = retired_count_;
            retired_ = retired_count_ = 0;
            token_ = rte_rcu_qsbr_start(rcu_);
        }
    }

    /// Indices available now, and those that become available later.
    std::uint32_t free() const noexcept { return free_count_; }
    std::uint32_t waiting() const noexcept { return retired_count_ + waiting_count_; }
    /// The lowest index never handed out. Any thread; relaxed: a missed index was handed out since.
    std::uint32_t fresh() const noexcept { return fresh_.load(std::memory_order_relaxed); }

  private:
    [[no_unique_address]] Slots slots_;
    rte_rcu_qsbr* rcu_;
    std::uint32_t free_ = 0;  ///< a list through next(), like the next two
    std::uint32_t free_count_;
    const std::uint32_t last_;
    std::uint32_t retired_ = 0, retired_tail_ = 0, retired_count_ = 0;  ///< under no token yet
    std::uint32_t waiting_ = 0, waiting_tail_ = 0, waiting_count_ = 0;  ///< under `token_`
    std::uint64_t token_ = 0;
    std::atomic<std::uint32_t> fresh_;  // owner: rw, any: r
    alignas(64) std::atomic<std::uint32_t> returned_{0};
};

}  // namespace postern
