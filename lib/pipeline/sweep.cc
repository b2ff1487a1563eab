// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/sweep.h"

#include "net/flow_key.h"
#include "pipeline/gone_names.h"

namespace postern {
namespace {

// Slots a turn. Three lines of memory each, read in order: some 3 microseconds.
constexpr std::uint32_t kSweepBudget = 128;
// Those of which policy is asked as well, a burst: as much as a burst of new connections costs.
constexpr std::uint32_t kRecheckBudget = kMaxBurst;

/// What was asked about its first packet.
PolicyQuery query_of(const Conn& conn, const Edges& edges) noexcept {
    PolicyQuery q{conn.tuple(),
                  {.from = edges.zone_of(conn.edge(Direction::original)),
                   .to = edges.zone_of(conn.edge(Direction::reply))}};
    if (conn.protocol() == proto::icmp || conn.protocol() == proto::icmpv6)
        q.tuple.dport = icmp_port(icmp_question(conn.family(), conn.key_class), 0);
    else if (!has_ports(conn.protocol()))
        q.tuple.sport = q.tuple.dport = {};
    // 0 is no port, and its number less 1 is kUnknownPort.
    q.link = {static_cast<std::uint16_t>(conn.first.vlan),
              static_cast<std::uint8_t>(conn.first.dscp),
              static_cast<std::uint8_t>(conn.first.in_port - 1)};
    return q;
}

}  // namespace

void Sweep::begin() noexcept {
    const Plan& plan = *batch_.plan;
    // A running sweep continues; the next one visits the slots that it has passed.
    if (at_ != 0) return;
    if (!plan.sweep) {
        swept_.store(plan.version, std::memory_order_release);
        return;
    }
    at_ = 1;
    version_ = plan.version;
}

bool Sweep::step() noexcept {
    const bool no_orphans = end_orphans();
    if (at_ == 0) [[likely]]
        return no_orphans;
    const Plan& plan = *batch_.plan;
    const ConnTable& conns = tracking_.table();
    const std::uint32_t end = conns.capacity() + 1;
    if (plan.recheck) {
        // Else nothing to do in this turn: another worker ends children first.
        if (!tracking_.may_refuse(kRecheckBudget)) return no_orphans;
        recheck(end);
    } else {
        for (std::uint32_t n = 0; n < kSweepBudget && at_ < end; ++n, ++at_)
            if (conns.at(at_).alive()) sweep(at_);
    }
    if (at_ < end) return false;
    if (version_ == plan.version || !plan.sweep) {
        at_ = 0;
        swept_.store(plan.version, std::memory_order_release);
        return no_orphans;
    }
    swept_.store(version_, std::memory_order_release);
    at_ = 1;
    version_ = plan.version;
    return false;
}

void Sweep::recheck(std::uint32_t end) noexcept {
    const Plan& plan = *batch_.plan;
    ConnTable& conns = tracking_.table();
    std::uint32_t asked[kRecheckBudget];
    unsigned n = 0;
    batch_.queries.clear();
    for (std::uint32_t looked = 0; looked < kRecheckBudget && at_ < end; ++looked, ++at_) {
        const Conn& conn = conns.at(at_);
        if (!conn.alive()) continue;
        if (is_zone_gone(conn, plan.names)) {
            sweep(at_);
            continue;
        }
        // The mark and the helper that its first packet was judged by are not kept.
        if (conn.has(conn_flag::expected)) {
            sweep(at_);
            continue;
        }
        batch_.queries.add(n, query_of(conn, plan.edges));
        asked[n++] = at_;
    }
    if (n == 0) return;
    plan.policy->classify(batch_.queries, batch_.verdict.data());
    for (unsigned i = 0; i < n; ++i) {
        const PolicyVerdict& verdict = batch_.verdict[i];
        if (verdict.action == PolicyAction::accept) {
            sweep(asked[i]);  // the packets so far were the former rule's
            tracking_.give_rule(conns.at(asked[i]), verdict.rule);
            continue;
        }
        tracking_.counters().connections_refused.add();
        tracking_.refuse(asked[i], ConnEnd::policy);
    }
}

bool Sweep::end_orphans() noexcept {
    RefusedMasters& refused = tracking_.refused_masters();
    if (orphans_at_ == 0) {
        if (!refused.begin_pass()) [[likely]]
            return true;
        orphans_at_ = 1;
    }
    const ConnTable& conns = tracking_.table();
    const std::uint32_t end = conns.capacity() + 1;
    for (std::uint32_t n = 0; n < kSweepBudget && orphans_at_ < end; ++n, ++orphans_at_) {
        const Conn& conn = conns.at(orphans_at_);
        if (!conn.alive() || !conn.master || !refused.contains(conn.master)) continue;
        tracking_.counters().children_ended.add();
        tracking_.refuse(orphans_at_, ConnEnd::parent);
    }
    if (orphans_at_ < end) return false;
    orphans_at_ = 0;
    return refused.room() == RefusedMasters::kMost;
}

/// A removed name becomes "none". A zone cannot be none: no packet comes from or goes to a removed
/// one, so its connections end.
void Sweep::sweep(std::uint32_t slot) noexcept {
    ConnTable& conns = tracking_.table();
    Conn& conn = conns.at(slot);
    const Plan& plan = *batch_.plan;
    const Names& names = plan.names;
    if (is_zone_gone(conn, names)) return tracking_.end(slot, ConnEnd::zone_removed);
    if (!plan.serves(conn.helper)) helping_.take_away(slot);
    tracking_.rules().catch_up(slot);  // before its rule is forgotten
    if (names.rules.is_gone(conn.rule.number())) tracking_.give_rule(conn, kNoRule);
    tracking_.join_rule(conn);
    if (forget_gone_names(conn, names)) {
        const std::uint32_t before = conn.timeout_ms;
        conn.timeout_ms = timeout_of(conn, plan.track);
        helping_.keep_min_timeout(conn);
        conns.arm_if_shorter(slot, before, conn.timeout_ms);
    }
    if (names.sides.is_gone(conn.sides_number()))
        conn.set_edges(
            plan.edges.pair(conn.edge(Direction::original), conn.edge(Direction::reply)));
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
