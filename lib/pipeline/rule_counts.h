// SPDX-License-Identifier: BSD-3-Clause
// RuleCounts: the packets, bytes and connections of each rule, as one worker has seen them.
//
// What: a packet of a connection counts for the rule that accepted the connection, but not when it
// passes. The connection itself counts its packets, and what its rule has not got yet is added at
// three moments: when the connection ends, when 128 packets of one direction have passed, and when
// a slow pass over the table visits it. A packet that policy decides alone (dropped, rejected,
// accepted without a connection) counts at once.
//
// How: the bytes in Conn::recent are those that the rule has not got. The packets in it stay where
// they are, and one byte a slot says how many of both directions the rule has got.
//
// Used by: its worker; control reads the sums. Life-cycle: control makes the memory of a rule's
// sums before it publishes a plan with that rule (RuleSumsMemory). Synchronisation: Counters.
// Cost: nothing for an established packet; the pass visits a table of up to a million connections
// in 8 seconds, and at most 128 slots a millisecond of a larger one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/counter.h"
#include "base/log_rate.h"
#include "base/result.h"
#include "base/types.h"
#include "conntrack/conn_table.h"

namespace postern {

/// The sums of one rule. Written by its worker, read by control.
struct alignas(64) RuleSums {
    Counter packets;
    Counter bytes;
    Counter connections;
    Counter last;   ///< Tick of the last packet, with kSeen; 0: none yet
    LogBudget log;  ///< the worker's own

    static constexpr std::uint64_t kSeen = std::uint64_t{1} << 32;
    void saw(Tick at) noexcept { last.set(kSeen | at.ms); }
};

/// The sums of all rules of one worker, by number. Room for all numbers is reserved at once, so
/// that nothing ever moves; pages get memory as rules get numbers. Control's, except for the sums.
class RuleSumsMemory {
  public:
    static Result<RuleSumsMemory> create();
    RuleSumsMemory(RuleSumsMemory&& other) noexcept;
    RuleSumsMemory& operator=(RuleSumsMemory&&) = delete;
    ~RuleSumsMemory();

    /// Touches the memory of all numbers below `end`, so that no packet causes a page fault.
    void prepare(std::uint32_t end) noexcept;

    /// Of the default.
    RuleSums& of_default() const noexcept { return sums_[0]; }
    /// `rule` may be kNoRule: of connections whose rule is gone, or that were restored without one.
    RuleSums& of(RuleId rule) const noexcept { return of(sums_, rule); }
    RuleSums* all() const noexcept { return sums_; }
    static RuleSums& of(RuleSums* all, RuleId rule) noexcept {
        // kNoRule is -1.
        return all[static_cast<std::int32_t>(rule.number()) + std::ptrdiff_t{2}];
    }

  private:
    explicit RuleSumsMemory(RuleSums* sums) noexcept : sums_(sums) {}
    RuleSums* sums_;
    std::size_t prepared_ = 0;  ///< elements
};
static_assert(kNoRule.number() == 0xffffffff);

class RuleCounts {
  public:
    /// Both outlive it.
    RuleCounts(const RuleSumsMemory& sums, ConnTable& conns);

    // --- connections ---
    /// A rule has accepted a new connection.
    void begin(const Conn& conn, Tick now) noexcept {
        RuleSums& sums = of(conn.rule);
        sums.connections.add();
        sums.saw(now);
    }
    /// A connection was restored: its packets were counted before.
    void begin_restored(std::uint32_t slot) noexcept {
        Conn& conn = conns_.at(slot);
        fold(conn);
        counted_[slot] = recent_packets(conn);
    }
    /// A connection ends.
    [[gnu::always_inline]] void end(const Conn& conn, std::uint32_t slot) noexcept {
        add(conn, slot);
        counted_[slot] = 0;
    }
    /// account() has said that the round of one direction is full.
    void end_round(std::uint32_t slot, Direction d) noexcept;
    /// Adds what the rule of a connection has not got yet. Call before the connection gets another
    /// rule.
    void catch_up(std::uint32_t slot) noexcept;

    // --- packets without a connection ---
    /// A rule, or the default (kNoRule), has decided about packets that belong to no connection.
    void judged(RuleId rule, std::uint64_t packets, std::uint64_t bytes, Tick now) noexcept {
        RuleSums& sums = rule == kNoRule ? sums_[0] : of(rule);
        sums.packets.add(packets);
        sums.bytes.add(bytes);
        sums.saw(now);
    }

    /// Of a rule, or of the default (kNoRule).
    LogBudget& budget(RuleId rule) noexcept { return (rule == kNoRule ? sums_[0] : of(rule)).log; }

    /// Once a turn: the slow pass.
    void step(Tick now) noexcept {
        if (now == stepped_) return;
        visit_some(now - stepped_);
        stepped_ = now;
    }

  private:
    static std::uint8_t recent_packets(const Conn& conn) noexcept {
        return static_cast<std::uint8_t>(conn.recent_packets(Direction::original) +
                                         conn.recent_packets(Direction::reply));
    }
    static void fold(Conn& conn) noexcept {
        conn.fold_bytes(Direction::original);
        conn.fold_bytes(Direction::reply);
    }
    /// Adds what is in `recent`, and `more` packets.
    void add(const Conn& conn, std::uint32_t slot, std::uint32_t more = 0) noexcept {
        RuleSums& sums = of(conn.rule);
        // Both before the first store, so that the compiler reads `recent` once.
        const std::uint32_t packets = more + conn.recent_packets(Direction::original) +
                                      conn.recent_packets(Direction::reply) - counted_[slot];
        const std::uint32_t bytes =
            conn.recent_bytes(Direction::original) + conn.recent_bytes(Direction::reply);
        sums.packets.add(packets);
        sums.bytes.add(bytes);
    }
    /// As many slots as are due after so many milliseconds; a turn stays short.
    void visit_some(std::int32_t ms) noexcept;

    RuleSums& of(RuleId rule) const noexcept { return RuleSumsMemory::of(sums_, rule); }

    RuleSums* sums_;
    ConnTable& conns_;
    /// By slot: of the packets in Conn::recent of both directions, those that the rule has got.
    std::unique_ptr<std::uint8_t[]> counted_;
    std::uint32_t slots_a_ms_;  ///< that the slow pass visits
    std::uint32_t at_ = 1;      ///< next slot of the slow pass
    Tick stepped_;
};

}  // namespace postern
