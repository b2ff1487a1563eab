// SPDX-License-Identifier: BSD-3-Clause
// Makes connections of the packets that policy lets in, one after the other in order of arrival, so
// that the outcome is the same as if each had come in a burst of its own: a packet that missed may
// belong to the connection which the one before it has just begun.
#include <rte_mbuf.h>

#include "pipeline/worker.h"
#include "stages/reject.h"
#include "stages/stages.h"

namespace postern {
namespace {

/// Creates the connection of packet i. False when another worker claimed its expectation first: the
/// packet is then new like any other.
bool begin_connection(Worker& worker, Batch& b, unsigned i) noexcept {
    PacketInfo& info = b.info[i];
    const PolicyVerdict& verdict = b.verdict[i];
    const ExpectMatch& match = b.match[i];
    const bool expected = (b.expected & bit(i)) != 0;
    ConnTable& conns = worker.conns();
    const Plan& plan = worker.plan();

    if (!expected) {
        if (const DropReason why = worker.admit(i); why != DropReason::none) {
            b.drop(i, why);
            return true;
        }
    }
    const std::uint32_t slot = worker.make_connection(i, expected);
    if (slot == 0) {
        worker.counters().table_full.add();
        b.drop(i, DropReason::ct_table_full);
        return true;
    }
    Conn& conn = conns.at(slot);
    const RuleEffect& effect = plan.effects[verdict.rule];
    conn.timeouts = effect.timeouts & Conn::kTimeoutsMask;
    if (effect.liberal) conn.flags |= conn_flag::liberal;
    if (!start_tracking(conn, info, b.data[i], b.now, plan.track)) {
        worker.abandon(slot);
        info.ct = CtState::invalid;
        b.drop(i, DropReason::ct_not_first);
        return true;
    }
    HelperId helper = verdict.helper;
    if (expected) {
        if (info.kind == L4Kind::gre_call && match.sport_mask.raw() != 0 &&
            !worker.pair_call(i, slot)) {
            worker.abandon(slot);
            worker.counters().table_full.add();
            b.drop(i, DropReason::ct_table_full);
            return true;
        }
        if (!worker.claim(i)) {
            worker.abandon(slot);
            worker.counters().claims_lost.add();
            return false;
        }
        conn.master = match.master;
        conn.expected_by = match.helper;
        conn.mark = match.mark;
        conn.label = match.label;
        if (match.child_helper != kNoHelper) helper = match.child_helper;
        worker.counters().connections_expected.add();
    }
    conn.mark = RuleEffect::set(conn.mark, effect.mark, effect.mark_mask);
    conn.label = RuleEffect::set(conn.label, effect.label, effect.label_mask);
    conn.rule = verdict.rule;
    info.conn = slot;
    info.dir = Direction::original;
    info.rule = verdict.rule;
    conn.account(Direction::original, rte_pktmbuf_pkt_len(b.pkt[i]));
    if (helper == kNoHelper && !expected) {
        if (const auto* usual = plan.helper_ports.find(info.protocol, conn.dport.host())) {
            if (usual->assign)
                helper = usual->helper;
            else
                worker.counters().helpers_not_assigned.add();
        }
    }
    if (helper != kNoHelper && plan.helpers[helper - 1u].speaks(info.protocol)) {
        worker.attach_helper(slot, helper);
        if (conn.has(conn_flag::helped)) b.show_helper(i, conn);
    }
    conns.arm(slot);
    worker.counters().connections_created.add();
    worker.tell(ConnEventType::fresh, slot);
    if (effect.expects != 0 && !worker.expect_by_rule(slot, plan.expects[effect.expects - 1u])) {
        worker.end_connection(slot, ConnEnd::refused);
        b.drop(i, DropReason::expect);
        return true;
    }
    b.accept(i);
    return true;
}

void run(Worker& worker, Batch& b) noexcept {
    // Of the connections begun in this burst, the upper bits of their hashes: who shares none of
    // them has no connection yet.
    std::uint64_t created = 0;
    const auto mark_of = [](const PacketInfo& info) {
        return std::uint64_t{1} << (info.hash >> 26);
    };
    for_each(b[MaskId::miss], [&](unsigned i) {
        PacketInfo& info = b.info[i];
        if ((created & mark_of(info)) != 0 && info.why != DropReason::ct_collision &&
            worker.conns().lookup_one(info, b.data[i])) {
            info.why = DropReason::none;
            b[MaskId::miss] &= ~bit(i);
            b[MaskId::hit] |= bit(i);
            worker.track_hit(i);
            // Over already (a reset, then a fresh SYN, in one burst): the sender will try again.
            if (b[MaskId::miss] & bit(i)) b.drop(i, DropReason::ct_invalid);
            return;
        }
        if (info.why != DropReason::none) {
            b.drop(i, info.why);
            return;
        }
        if (b.verdict[i].action == PolicyAction::accept && !begin_connection(worker, b, i)) {
            b.expected &= ~bit(i);
            info.ct = CtState::fresh;
            worker.ask_policy(bit(i));
            if (b.verdict[i].action == PolicyAction::accept) begin_connection(worker, b, i);
        }
        // A GRE call may have a second key.
        if ((b[MaskId::accept] & bit(i)) != 0)
            created |= info.kind == L4Kind::gre_call ? ~std::uint64_t{0} : mark_of(info);
        if (b.verdict[i].action == PolicyAction::accept) return;
        info.rule = b.verdict[i].rule;
        if (b.verdict[i].action == PolicyAction::reject && reject(worker, b, i)) return;
        b.drop(i, b.verdict[i].action == PolicyAction::reject ? DropReason::reject
                                                              : DropReason::policy);
    });
}

}  // namespace

constinit const StageDesc kCommitStage{
    .name = "commit",
    .help = "begin the connections that policy lets in",
    .on = MaskId::miss,
    .needs = fact::connection | fact::verdict,
    .provides = fact::committed,
    .run = run,
};

}  // namespace postern
