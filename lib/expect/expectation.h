// SPDX-License-Identifier: BSD-3-Clause
// One expectation in memory, and its owner's data beside it; private to lib/expect.
//
// Life-cycle: `state` goes  (unused) -> live or inactive -> claimed or dead -> (unused) ... Only
// its owner takes it from unused to live, with the next generation. Any thread may try to end it.
// The compare-and-swap on `state` has one winner; only the winner unlinks it, uncounts it and gives
// it back. It is reused after a grace period, so a reader that reached it before it was unlinked
// still reads its old contents.
#pragma once

#include <atomic>
#include <cstdint>

#include "expect/rte_array.h"
#include "expect/types.h"
#include "table/sketch.h"
#include "table/timing_wheel.h"

namespace postern {

namespace expect_state {
inline constexpr std::uint32_t kBits = 3, kMask = (1u << kBits) - 1;
inline constexpr std::uint32_t unused = 0, live = 1, inactive = 2, claimed = 3, dead = 4,
                               dead_inactive = 5;
constexpr std::uint32_t of(std::uint32_t word) noexcept {
    return word & kMask;
}
constexpr std::uint32_t generation(std::uint32_t word) noexcept {
    return word >> kBits;
}
constexpr std::uint32_t with(std::uint32_t word, std::uint32_t state) noexcept {
    return (word & ~kMask) | state;
}
/// Neither claimed nor ended.
constexpr bool pending(std::uint32_t word) noexcept {
    return of(word) == live || of(word) == inactive;
}
}  // namespace expect_state

struct alignas(64) Expectation {
    // First line, all that a look-up reads. Readers: any thread, found through the shard's chain.
    // Generation and state. Released by the owner when it goes live, which publishes all plain
    // fields; acquired by threads that use it.
    std::atomic<std::uint32_t> state{0};
    // Next candidate of the same key. Written under the shard's lock; released and acquired, so
    // that a reader sees the candidate it leads to. Kept when unlinked, for readers that are on it.
    std::atomic<std::uint32_t> next{0};
    std::atomic<std::uint32_t> deadline_ms{0};  // any thread: rw, relaxed
    std::uint32_t position = 0;                 // in the shard's rte_hash; shard's lock
    // From here on immutable from publication to reuse.
    std::uint64_t src[2]{};       // already masked
    std::uint64_t src_mask[2]{};  // network byte order
    std::uint16_t sport = 0;      // raw, already masked
    std::uint16_t sport_mask = 0;
    EdgeId from_side, to_side;  // kAnyEdge: any
    OwnerId owner = 0;
    ZoneId master_zone;  // the zone from which its master was begun; undefined without a master
    // Next in the owner's free, retired or returned list. Written by the owner, or by the thread
    // that ended it before it pushes it back (release/acquire on the stack's head).
    std::uint32_t link = 0;

    // Second line: read by claims and ends.
    alignas(64) ExpectKey key;
    std::uint64_t hash = 0;
    ExpectInherited inherited;
    SketchPlace host;  // the counter of its master's host

    // Third line: private to the owner, except master_tuple, which is immutable like the above.
    alignas(64) MasterExpectations* list = nullptr;
    std::uint32_t older = 0;
    std::uint32_t newer = 0;
    WheelLink wheel;
    Tuple master_tuple;
};
static_assert(sizeof(Expectation) == 192 && offsetof(Expectation, list) == 128);

inline bool is_expired(const Expectation& e, Tick now) noexcept {
    return reached(Tick{e.deadline_ms.load(std::memory_order_relaxed)}, now);
}

/// The limits for which an expectation counts, in addition to the table's.
enum class ExpectAccount : std::uint8_t {
    shared,    ///< its conntrack zone and its host
    unproven,  ///< its master is not proven yet: no others, and it blocks nothing
    closed     ///< none any more
};

/// Beside each expectation. `terms` are immutable like the expectation; the chain is its owner's.
/// `head` is independent of it: it is one slot of the owner's hash of masters and calls.
struct ExpectBooks {
    ExpectTerms terms;  ///< flags as requested; the state shows whether it is inactive now
    std::uint32_t older = 0, newer = 0;  ///< in the chain of its slot
    std::uint32_t head = 0;              ///< newest of the chain
    // Matches left that do not end it. Owner: set before publication. A match decrements it
    // (relaxed: it guards no data, and has its own order).
    std::atomic<std::uint8_t> again{0};
    // Owner: set before publication, `shared` when the master is proven. The thread that ends it
    // closes it. Relaxed: it guards no data, and each change is one exchange.
    std::atomic<ExpectAccount> account{ExpectAccount::shared};

    ExpectAccount counts_as() const noexcept { return account.load(std::memory_order_relaxed); }
};
static_assert(sizeof(ExpectBooks) == 32);

/// All objects of the table, by index; 0 is never used. Those of owner o begin at o * per_owner +
/// 1.
struct ExpectStore {
    RteArray<Expectation> objects;
    RteArray<ExpectBooks> books_of;
    std::uint32_t per_owner = 0;

    Expectation& at(std::uint32_t index) const noexcept { return objects[index]; }
    ExpectBooks& books(std::uint32_t index) const noexcept { return books_of[index]; }
    std::uint32_t index_of(const Expectation& e) const noexcept {
        return static_cast<std::uint32_t>(&e - objects.get());
    }
    ExpectBooks& books(const Expectation& e) const noexcept { return books_of[index_of(e)]; }
    std::uint32_t first_of(OwnerId owner) const noexcept { return owner * per_owner + 1; }
};

}  // namespace postern
