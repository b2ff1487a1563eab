// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/rule_counts.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include <sys/mman.h>

#include "plan/names.h"

namespace postern {
namespace {

/// The default, "none", and all rules.
constexpr std::size_t kAllSums = std::size_t{kMaxRuleNumbers} + 2;
constexpr std::size_t kSumsAPage = 4096 / sizeof(RuleSums);
constexpr std::uint32_t kAhead = 8;    ///< slots
constexpr std::uint32_t kPass = 8192;  ///< milliseconds, of a table that kMostAStep does not bound
constexpr std::uint32_t kLeastAMs = 16, kMostAStep = 128;  ///< slots

}  // namespace

Result<RuleSumsMemory> RuleSumsMemory::create() {
    void* memory = ::mmap(nullptr, kAllSums * sizeof(RuleSums), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return Error{std::string("no address space for the counters of rules: ") +
                     std::strerror(errno)};
    return RuleSumsMemory(static_cast<RuleSums*>(memory));
}

RuleSumsMemory::RuleSumsMemory(RuleSumsMemory&& other) noexcept
    : sums_(std::exchange(other.sums_, nullptr)), prepared_(other.prepared_) {}

RuleSumsMemory::~RuleSumsMemory() {
    if (sums_ != nullptr) ::munmap(sums_, kAllSums * sizeof(RuleSums));
}

void RuleSumsMemory::prepare(std::uint32_t end) noexcept {
    // Whole pages: their other sums belong to no rule yet, and no worker writes to them.
    const std::size_t wanted = (std::size_t{end} + 2 + kSumsAPage - 1) / kSumsAPage * kSumsAPage;
    for (; prepared_ < std::min(wanted, kAllSums); ++prepared_)
        new (&sums_[prepared_]) RuleSums;
}

RuleCounts::RuleCounts(const RuleSumsMemory& sums, ConnTable& conns)
    : sums_(sums.all()),
      conns_(conns),
      counted_(std::make_unique<std::uint8_t[]>(std::size_t{conns.capacity()} + 1)),
      slots_a_ms_(std::clamp(conns.capacity() / kPass, kLeastAMs, kMostAStep)) {}

void RuleCounts::catch_up(std::uint32_t slot) noexcept {
    Conn& conn = conns_.at(slot);
    RuleSums& sums = of(conn.rule);
    const std::uint8_t packets = recent_packets(conn);
    if (packets == counted_[slot]) return;
    add(conn, slot);
    fold(conn);
    counted_[slot] = packets;
    const std::uint64_t last = sums.last.get();
    if (last == 0 || conn.last_seen() - Tick{static_cast<std::uint32_t>(last)} > 0)
        sums.saw(conn.last_seen());
}

void RuleCounts::end_round(std::uint32_t slot, Direction d) noexcept {
    Conn& conn = conns_.at(slot);
    // Its packets have left `recent`.
    add(conn, slot, Conn::kRound);
    fold(conn);
    conn.end_round(d);
    counted_[slot] = recent_packets(conn);
}

void RuleCounts::visit_some(std::int32_t ms) noexcept {
    // A worker that shares its processor turns less often than once a millisecond.
    const auto past = static_cast<std::uint32_t>(std::clamp<std::int32_t>(ms, 1, kMostAStep));
    const std::uint32_t due = std::min(slots_a_ms_ * past, kMostAStep);
    const std::uint32_t end = conns_.capacity() + 1;
    for (std::uint32_t n = 0; n < due && at_ < end; ++n, ++at_) {
        // They are cold: a pass over a million of them takes seconds.
        __builtin_prefetch(&conns_.at(std::min(at_ + kAhead, end - 1)));
        if (conns_.at(at_).alive()) catch_up(at_);
    }
    if (at_ == end) at_ = 1;
}

}  // namespace postern
