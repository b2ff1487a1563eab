// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/sweep.h"

namespace postern {
namespace {

// Slots a turn. Three lines of memory each, read in order: some 3 microseconds.
constexpr std::uint32_t kSweepBudget = 128;

}  // namespace

void Sweep::begin() noexcept {
    const Plan& plan = *batch_.plan;
    // One that is on its way goes on; what it has passed is looked at by the next one.
    if (at_ != 0) return;
    if (!plan.sweep) {
        swept_.store(plan.version, std::memory_order_release);
        return;
    }
    at_ = 1;
    version_ = plan.version;
}

bool Sweep::step() noexcept {
    if (at_ == 0) [[likely]]
        return true;
    const ConnTable& conns = tracking_.table();
    const std::uint32_t end = conns.capacity() + 1;
    for (std::uint32_t n = 0; n < kSweepBudget && at_ < end; ++n, ++at_)
        if (conns.at(at_).alive()) sweep(at_);
    if (at_ < end) return false;
    const Plan& plan = *batch_.plan;
    if (version_ == plan.version || !plan.sweep) {
        at_ = 0;
        swept_.store(plan.version, std::memory_order_release);
        return true;
    }
    swept_.store(version_, std::memory_order_release);
    at_ = 1;
    version_ = plan.version;
    return false;
}

/// In place of what is gone, connections hold nothing. A zone cannot be nothing: no packet comes or
/// goes by one that is gone, so its connections end.
void Sweep::sweep(std::uint32_t slot) noexcept {
    ConnTable& conns = tracking_.table();
    Conn& conn = conns.at(slot);
    const Plan& plan = *batch_.plan;
    const Names& names = plan.names;
    const EdgeId from = conn.edge(Direction::original), to = conn.edge(Direction::reply);
    if (names.edges.is_gone(from.number()) || names.edges.is_gone(to.number()))
        return tracking_.end(slot, ConnEnd::zone_removed);
    if (!plan.serves(conn.helper)) helping_.take_away(slot);
    if (names.helpers.is_gone(conn.expected_by)) conn.expected_by = kNoHelper;
    if (names.rules.is_gone(conn.rule.number())) conn.rule = kNoRule;
    if (names.timeouts.is_gone(conn.timeouts())) {
        conn.set_timeouts(0);
        const std::uint32_t before = conn.timeout_ms;
        conn.timeout_ms = timeout_of(conn, plan.track);
        helping_.keep_min_timeout(conn);
        conns.arm_if_shorter(slot, before, conn.timeout_ms);
    }
    if (names.sides.is_gone(conn.sides_number())) conn.set_edges(plan.edges.pair(from, to));
}

void Sweep::detach_unserved() noexcept {
    Batch& b = batch_;
    for_each(b[MaskId::helped], [&](unsigned i) {
        const std::uint32_t slot = b.info[i].conn;
        if (b.plan->serves(tracking_.table().at(slot).helper)) return;
        sweep(slot);
        helping_.forget_shown(slot);
    });
}

}  // namespace postern
