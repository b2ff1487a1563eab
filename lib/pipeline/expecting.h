// SPDX-License-Identifier: BSD-3-Clause
// Expecting: one worker's access to the expectation table.
//
// What: looks up and claims expectations for packets without a connection; files and ends
// expectations of this worker's connections, by helper slot. The table itself is shared
// (lib/expect); this is the worker's owner in it.
// Used by: the stages of its worker, and the parts that read control connections. Synchronisation:
// the table's; everything else is private to the worker. Cost: while nothing is expected a look-up
// reads one counter; else one line of the table for each packet without a connection.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "conntrack/conn.h"
#include "expect/owner.h"
#include "helper/emit.h"
#include "metrics/metric.h"
#include "pipeline/batch.h"
#include "plan/plan.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_EXPECTING_METRICS(X)                                             \
    X(claims_lost, counter, expectations, "claims lost to another worker")       \
    X(rule_expectations_failed, counter, connections,                            \
      "connections refused because their rule's expectation could not be filed") \
    X(expectations_failed, counter, expectations, "expectations that could not be filed")

struct ExpectingCounters {
    POSTERN_METRICS(POSTERN_EXPECTING_METRICS)
};

class Expecting {
  public:
    /// `slots`: helper slots of the worker, numbered from 1. All references outlive it.
    Expecting(ExpectTable& table, ExpectOwner& owner, Batch& batch, std::uint32_t slots,
              ExpectingCounters& counters)
        : table_(table),
          owner_(owner),
          batch_(batch),
          counters_(counters),
          masters_(new MasterExpectations[slots + 1]) {}

    // --- packets of the batch that belong to no connection ---
    bool any_pending() const noexcept { return table_.live() != 0; }
    /// Prefetches the memory that peek() of packet i reads.
    void probe(unsigned i) noexcept;
    /// Returns whether packet i was expected; the expectation is in Batch::match. Claims nothing.
    ExpectAnswer peek(unsigned i) noexcept;
    /// Claims the expectation that peek() found for packet i. False, and counted: it has ended.
    bool claim(unsigned i) noexcept;

    // --- for connections of this worker, by their helper slots ---
    MasterExpectations& of(std::uint32_t slot) noexcept { return masters_[slot]; }
    std::uint32_t slot_of(const MasterExpectations& master) const noexcept {
        return static_cast<std::uint32_t>(&master - masters_.get());
    }
    /// Initialises a slot with a new owner, with nothing pending.
    void begin(std::uint32_t slot, bool unproven) noexcept {
        masters_[slot] = {};
        masters_[slot].unproven = unproven;
    }
    /// Files a helper's requests for `master`, whose id is `id`: as many of a range of ports as
    /// possible. Returns the last failure, if any; failures are counted.
    InsertOutcome file(const PinHole& hole, const Conn& master, ConnId id) noexcept;
    /// Files the expectations of the rule of `master`. False, and counted: not all could be filed.
    bool file_for_rule(const RuleExpect& wish, const Conn& master, ConnId id) noexcept;
    void count_rule_failed() noexcept { counters_.rule_expectations_failed.add(); }
    /// Files control's request, with the fields of the master filled in.
    InsertResult file_for_control(ExpectRequest& request, const Conn& master, ConnId id) noexcept;
    /// Carries out a helper's other requests, except those for running children.
    void act(const EmitAction& action, const Conn& master) noexcept;
    /// The TCP session of `master` has ended: ends the expectations that do not outlive it.
    void end_session(const Conn& master, std::span<const ExpectClass> classes) noexcept;
    void end_all(std::uint32_t slot, ExpectEnd why) noexcept {
        owner_.remove_all(masters_[slot], why, turn());
        masters_[slot].claimed = false;  // see for_each_claimed()
    }
    void promote(std::uint32_t slot) noexcept { owner_.promote(masters_[slot], turn()); }
    /// Calls fn(slot) for masters of which an expectation was claimed since the last call.
    template <class Fn>
    void for_each_claimed(Fn&& fn) noexcept {
        owner_.for_each_claimed([&](MasterExpectations& master) {
            if (master.claimed) fn(slot_of(master));
        });
    }
    /// Whether it has grants that outlive its connection's timeout.
    bool has_lasting(std::uint32_t slot) noexcept {
        return owner_.has_lasting(masters_[slot], batch_.now);
    }
    /// Ends expired expectations, at most `budget`; returns how many.
    std::uint32_t expire(std::uint32_t budget) noexcept { return owner_.tick(turn(), budget); }

    ExpectOwner& owner() noexcept { return owner_; }
    ExpectTable& table() noexcept { return table_; }

  private:
    ExpectTurn turn() const noexcept { return {batch_.now, batch_.cookie}; }
    /// Sets the sides of an expectation as far as the ends of its master determine them: another
    /// host may be in any zone, and policy decides.
    void fix_sides(ExpectRequest& r, const Conn& master) const noexcept;
    void grant_in_master(const EmitAction& action, const Conn& conn) noexcept;

    ExpectTable& table_;
    ExpectOwner& owner_;
    Batch& batch_;
    ExpectingCounters& counters_;
    std::unique_ptr<MasterExpectations[]> masters_;
};

}  // namespace postern
