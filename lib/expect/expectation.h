// SPDX-License-Identifier: BSD-3-Clause
// One expectation as it lies in memory; private to lib/expect.
//
// Life-cycle: `state` goes  (unused) -> live or inactive -> claimed or dead -> (unused) ...
// Only its owner takes it from unused to live, with the next generation. Any thread may try to end
// it; the compare-and-swap on `state` has one winner, and only the winner unlinks it, accounts for
// it and gives it back. It is used again after a grace period, so a reader that reached it before
// it was unlinked still finds what it was.
#pragma once

#include <atomic>
#include <cstdint>

#include "expect/types.h"
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
}  // namespace expect_state

struct alignas(64) Expectation {
    // First line, all that a look-up reads. Readers: any thread, found through the shard's chain.
    // Generation and state. Released by the owner when it goes live, which publishes all plain
    // fields; acquired by whoever acts on it.
    std::atomic<std::uint32_t> state{0};
    // Next candidate of the same key. Written under the shard's lock; released and acquired, so
    // that a reader sees the candidate it leads to. Kept when unlinked: readers may stand here.
    std::atomic<std::uint32_t> next{0};
    std::atomic<std::uint32_t> deadline_ms{0};  // any thread: rw, relaxed
    std::uint32_t position = 0;                 // in the shard's rte_hash; shard's lock
    // From here on immutable from publication to reuse.
    std::uint64_t src[2]{};       // already masked
    std::uint64_t src_mask[2]{};  // network byte order
    std::uint16_t sport = 0;      // raw, already masked
    std::uint16_t sport_mask = 0;
    std::uint8_t flags = 0;  // as asked; the state tells whether it is inactive now
    std::uint8_t class_index = 0;
    HelperId helper = kNoHelper;
    HelperId child_helper = kNoHelper;
    std::uint32_t mark = 0;
    RuleId rule = kNoRule;
    OwnerId owner = 0;
    std::uint8_t src_prefix = 0;

    // Second line: who claims or ends it reads this.
    ExpectKey key;
    std::uint64_t hash = 0;
    ConnId master;
    std::uint32_t label = 0;
    std::uint32_t timeout_ms = 0;
    std::uint32_t host_slot[2]{};  // where its host is counted
    // Next in the owner's free, retired or returned list. Written by the owner, or by the thread
    // that ended it before it pushes it back (release/acquire on the stack's head).
    std::uint32_t link = 0;
    std::uint32_t tag = 0;  // immutable like the above

    // Third line: the owner's own, but for master_tuple, which is immutable like the above.
    alignas(64) MasterExpectations* list = nullptr;
    std::uint32_t older = 0;
    std::uint32_t newer = 0;
    WheelLink wheel;
    Tuple master_tuple;
};
static_assert(sizeof(Expectation) == 192);
static_assert(offsetof(Expectation, key) == 64);

}  // namespace postern
