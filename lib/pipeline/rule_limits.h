// SPDX-License-Identifier: BSD-3-Clause
// RuleLimits: what the rules with `limit` have accepted lately, and what of it runs now; by rule,
// and by rule and source.
//
// What: one for all workers, so that a limit holds whatever worker the packets reach. A rule has
// exact cells. The sources share a count-min sketch of fixed size: the count of a source is never
// too low, and too high only if others share both of its cells.
//
// Used by: workers, for connections and packets that such a rule accepts; others touch nothing
// here. Control makes the memory before it publishes a plan. Synchronisation: each cell is an
// atomic number, relaxed: counts guard nothing. A refusal only reads, so a flood costs no line of
// memory that workers pass around. Cost: one line for the rule, and two for the source.
//
// Exactness: a rule's limits are exact. By source, workers that decide about one source at the same
// instant may accept one more each.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/drop_reason.h"
#include "base/result.h"
#include "base/types.h"
#include "net/addr.h"
#include "net/keyed_hash.h"
#include "plan/plan.h"
#include "table/sketch.h"

namespace postern {

class RuleLimits {
  public:
    static constexpr std::uint32_t kSourceCells = 1u << 18;  ///< a row; there are two

    /// Reserves the address space; pages get memory by prepare().
    static Result<std::unique_ptr<RuleLimits>> create(const HashSecret& secret);

    /// Control: touches the memory that this plan needs, so that no packet causes a page fault.
    void prepare(const Plan& plan) noexcept;

    /// Whose connection or packet it is.
    struct Who {
        RuleId rule;
        ZoneId zone;  ///< that it comes from: another zone's forged address uses up nothing
        const IpAddr& source;
    };
    /// Counts a connection if the limit admits it; else returns the reason.
    DropReason open(const Who& who, const RuleLimit& limit, Tick now) noexcept;
    /// Counts a connection that is there already.
    void count(const Who& who) noexcept;
    /// Once for each connection that open() of a limit with `counts` or count() has counted.
    void close(const Who& who) noexcept;
    /// Counts a packet if the limit admits it; else returns the reason.
    DropReason packet(const Who& who, const RuleLimit& limit, Tick now) noexcept;

    /// Connections of the rule at present, of those that count.
    std::uint32_t open_now(RuleId rule) const noexcept;

  private:
    /// What was taken lately, and the connections that run. Both 0 at first.
    struct Cell {
        /// The time that the taken items last at the limit's rate, in units of RuleRate, and above
        /// kDebtBits the time of that count, in milliseconds modulo 2^27.
        std::atomic<std::uint64_t> rate;
        std::atomic<std::uint32_t> open;
        std::uint32_t unused;
    };
    static_assert(sizeof(Cell) == 16);
    static constexpr unsigned kDebtBits = 37;
    struct Unmap {
        std::size_t bytes;
        void operator()(Cell* cells) const noexcept;
    };
    using Cells = std::unique_ptr<Cell[], Unmap>;

    RuleLimits(Cells rules, Cells sources, const HashSecret& secret) noexcept;
    static Result<Cells> reserve(std::size_t cells);
    std::pair<Cell&, Cell&> source(const Who& who) const noexcept;

    static std::uint64_t with_debt(std::uint64_t cell, Tick now, std::uint64_t& debt) noexcept;
    static bool take(Cell& cell, const RuleRate& rate, Tick now,
                     std::uint64_t worst = UINT64_MAX) noexcept;
    static bool take_of_rule(Cell& cell, const RuleRate& rate, Tick now) noexcept;
    static void charge(Cell& cell, const RuleRate& rate, Tick now) noexcept;
    bool take_of_source(const Who& who, const RuleRate& rate, Tick now) noexcept;

    Cell* all_sources_;
    Cells rules_;  ///< by number
    Sketch<Cell, Cells> sources_;
    HashSecret secret_;
    std::size_t prepared_ = 0;  ///< rules
    bool sources_prepared_ = false;
};

}  // namespace postern
