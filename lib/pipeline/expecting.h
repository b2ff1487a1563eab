// SPDX-License-Identifier: BSD-3-Clause
// Expecting: one worker's dealings with the expectation table.
//
// What: looks up what packets without a connection were expected by, claims, and files and ends
// expectations for this worker's connections, by helper slot. The table itself is shared
// (lib/expect); this is the owner that the worker has in it.
// Who: the stages of its worker, and the parts that read control connections. Synchronisation: the
// table's; all else is the worker's own. Cost: while nothing is expected a look-up reads one
// counter; else one line of the table for each packet without a connection.
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
    /// Starts to fetch what peek() of packet i reads.
    void probe(unsigned i) noexcept;
    /// Whether packet i was expected; Batch::match tells by whom. Claims nothing.
    ExpectAnswer peek(unsigned i) noexcept;
    /// Claims what peek() saw for packet i. False, and counted: it is gone.
    bool claim(unsigned i) noexcept;

    // --- for connections of this worker, by their helper slots ---
    MasterExpectations& of(std::uint32_t slot) noexcept { return masters_[slot]; }
    std::uint32_t slot_of(const MasterExpectations& master) const noexcept {
        return static_cast<std::uint32_t>(&master - masters_.get());
    }
    /// A slot has a new owner, with nothing pending.
    void begin(std::uint32_t slot, bool unproven) noexcept {
        masters_[slot] = {};
        masters_[slot].unproven = unproven;
    }
    /// Files what a helper asks for on behalf of `master`, whose id is `id`: of a range of ports
    /// as many as can be. The last failure, if there was one; failures are counted.
    InsertOutcome file(const PinHole& hole, const Conn& master, ConnId id) noexcept;
    /// Files what the rule of `master` expects. False, and counted: not all could be.
    bool file_for_rule(const RuleExpect& wish, const Conn& master, ConnId id) noexcept;
    void count_rule_failed() noexcept { counters_.rule_expectations_failed.add(); }
    /// Files what control asks for; what is the master's to say is filled in.
    InsertResult file_for_control(ExpectRequest& request, const Conn& master, ConnId id) noexcept;
    /// What a helper asks for besides; not for running children.
    void act(const EmitAction& action, const Conn& master) noexcept;
    /// The TCP session of `master` is over: what lives no longer than that ends.
    void end_session(const Conn& master, std::span<const ExpectClass> classes) noexcept;
    void end_all(std::uint32_t slot, ExpectEnd why) noexcept {
        owner_.remove_all(masters_[slot], why, turn());
        masters_[slot].claimed = false;  // see for_each_claimed()
    }
    void promote(std::uint32_t slot) noexcept { owner_.promote(masters_[slot], turn()); }
    /// fn(slot) for those of which something was claimed since the last call.
    template <class Fn>
    void for_each_claimed(Fn&& fn) noexcept {
        owner_.for_each_claimed([&](MasterExpectations& master) {
            if (master.claimed) fn(slot_of(master));
        });
    }
    /// Whether it has what is granted for longer than its connection may be silent.
    bool has_lasting(std::uint32_t slot) noexcept {
        return owner_.has_lasting(masters_[slot], batch_.now);
    }
    /// Ends those whose time is over, at most `budget`; returns how many.
    std::uint32_t expire(std::uint32_t budget) noexcept { return owner_.tick(turn(), budget); }

    ExpectOwner& owner() noexcept { return owner_; }
    ExpectTable& table() noexcept { return table_; }

  private:
    ExpectTurn turn() const noexcept { return {batch_.now, batch_.cookie}; }
    /// Fixes the sides of an expectation as far as the ends of its master tell them: another host
    /// may be anywhere, and policy decides.
    void fix_sides(ExpectRequest& r, const Conn& master) const noexcept;
    void grant_in_master(const EmitAction& action, const Conn& conn) noexcept;

    ExpectTable& table_;
    ExpectOwner& owner_;
    Batch& batch_;
    ExpectingCounters& counters_;
    std::unique_ptr<MasterExpectations[]> masters_;
};

}  // namespace postern
