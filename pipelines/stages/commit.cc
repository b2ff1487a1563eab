// SPDX-License-Identifier: BSD-3-Clause
// Creates connections for the packets that policy accepts, one after the other in order of arrival,
// so that the result is the same as with one packet a burst: a miss may belong to the connection
// which the packet before it has just begun.
#include <rte_mbuf.h>

#include "pipeline/ask_policy.h"
#include "pipeline/new_connection.h"
#include "pipeline/worker.h"
#include "pipeline/zones.h"
#include "stages/reject.h"
#include "stages/stages.h"

namespace postern {
namespace {

/// The helper of packet i's new connection; kNoHelper: none.
HelperId helper_of(Worker& worker, const Batch& b, unsigned i, const Conn& conn,
                   bool expected) noexcept {
    const PacketInfo& info = b.info[i];
    // Not with a sloppy one: a helper needs both directions, from the first byte.
    if (conn.sloppy) [[unlikely]]
        return kNoHelper;
    HelperId helper = b.verdict[i].helper;
    if (expected && b.match[i].child_helper != kNoHelper) helper = b.match[i].child_helper;
    if (helper == kNoHelper && !expected) {
        if (const auto* usual = b.plan->helper_ports.find(info.protocol, conn.dport.host())) {
            if (usual->assign)
                helper = usual->helper;
            else
                worker.counters().helpers_not_assigned.add();
        }
    }
    if (helper != kNoHelper && !b.plan->helpers[helper - 1u].supports(info.protocol))
        return kNoHelper;
    return helper;
}

/// The place that a new connection takes of its rule's limit. Gives it back unless the connection
/// keeps it.
class LimitShare {
  public:
    /// Of packet i, which stays as it is.
    LimitShare(Worker& worker, const Batch& b, unsigned i) noexcept
        : worker_(worker), b_(b), i_(i) {}
    ~LimitShare() {
        if (taken_) [[unlikely]]
            with_owner([&](const RuleLimits::Who& who) { limits().close(who); });
    }
    LimitShare(const LimitShare&) = delete;
    LimitShare& operator=(const LimitShare&) = delete;

    /// Returns `none`, or why the limit does not admit the connection.
    DropReason take(const RuleLimit& limit) noexcept {
        DropReason why = DropReason::none;
        with_owner([&](const RuleLimits::Who& who) { why = limits().open(who, limit, b_.now); });
        taken_ = why == DropReason::none && limit.counts();
        return why;
    }
    void keep(Conn& conn) noexcept {
        if (!taken_) return;
        conn.first.limited = 1;
        taken_ = false;
    }

  private:
    RuleLimits& limits() noexcept { return worker_.limits().rules(); }
    /// Read anew: nearly no connection needs it.
    template <class Fn>
    void with_owner(Fn&& fn) noexcept {
        const PacketInfo& info = b_.info[i_];
        const IpAddr source = tuple_of(b_.data[i_], info)->src;
        fn({b_.verdict[i_].rule, b_.plan->edges.zone_of(info.zones.from), source});
    }
    Worker& worker_;
    const Batch& b_;
    unsigned i_;
    bool taken_ = false;
};

/// Creates the connection of packet i. False if another worker claimed its expectation first: the
/// packet is then new like any other. If a later step fails, `made` releases what it took.
bool begin_connection(Worker& worker, Batch& b, unsigned i) noexcept {
    PacketInfo& info = b.info[i];
    const PolicyVerdict& verdict = b.verdict[i];
    const ExpectMatch& match = b.match[i];
    const bool expected = b.is_expected(i);
    WorkerCounters& counters = worker.counters();
    const Plan& plan = *b.plan;

    const auto drop = [&](DropReason why) {
        b.drop(i, why);
        return true;
    };
    const auto table_full = [&] {
        counters.table_full.add();
        return drop(DropReason::ct_table_full);
    };
    if (!expected) {
        const auto source_of = [&] { return tuple_of(b.data[i], info)->src; };
        const DropReason why =
            worker.limits().admit(plan.edges.zone_of(info.zones.from), source_of, b.now);
        if (why != DropReason::none) return drop(why);
    }
    const RuleEffect& effect = plan.effect(verdict.rule);
    LimitShare share(worker, b, i);
    if (effect.limit != 0 && !expected) [[unlikely]] {
        const DropReason why = share.take(plan.limits[effect.limit - 1u]);
        if (why != DropReason::none) {
            b.judge(i, verdict.rule);
            return drop(why);
        }
    }
    if (expected && worker.tracking().is_call_taken(i)) [[unlikely]]
        return drop(DropReason::wrong_zone);
    // The claim may be lost, and later steps end other connections. So it comes first, once room
    // has been found.
    const bool contested = (b.contested & bit(i)) != 0;
    NewConnection made(worker.tracking(), expected);
    if (!contested && !made.find_room(i)) return table_full();
    if (expected && !worker.expecting().claim(i)) return false;
    if (contested) {
        worker.tracking().end(info.conn, ConnEnd::zone_changed);
        if (!made.find_room(i)) return table_full();
    }
    if (!made.create(i)) return table_full();
    Conn& conn = made.conn();
    conn.set_timeouts(effect.timeouts);
    if (effect.liberal) conn.flags |= conn_flag::liberal;
    if (effect.sloppy) [[unlikely]]
        conn.sloppy = 1;
    if (!start_tracking(conn, info, b.data[i], b.now, plan.track)) {
        info.ct = CtState::invalid;
        return drop(DropReason::ct_not_first);
    }
    if (expected) {
        if (info.kind == L4Kind::gre_call && match.sport_mask.raw() != 0 && !made.pair_call(i))
            return table_full();
        conn.master = match.master;
        conn.expected_by = plan.serves(match.helper) ? match.helper : kNoHelper;
        conn.mark = match.mark;
        conn.label = match.label;
    } else {
        const PolicyLink link = link_of(b, i);
        conn.first = {.vlan = link.vlan & 0xfffu,
                      .dscp = link.dscp & 0x3fu,
                      .in_port = (link.in_port + 1u) & 0xffu,
                      .limited = 0};
    }
    conn.mark = RuleEffect::set(conn.mark, effect.mark, effect.mark_mask);
    conn.label = RuleEffect::set(conn.label, effect.label, effect.label_mask);
    conn.rule = verdict.rule;
    info.conn = made.slot();
    info.dir = Direction::original;
    b.judge(i, verdict.rule);
    (void)conn.account(Direction::original, rte_pktmbuf_pkt_len(b.pkt[i]));  // its first
    if (effect.sloppy) [[unlikely]]
        worker.tracking().check_half_open(conn);
    if (const HelperId helper = helper_of(worker, b, i, conn, expected); helper != kNoHelper) {
        worker.helping().begin(i, made.slot(), helper);
        if (conn.has(conn_flag::helped)) b.show_helper(i, conn);
    }
    if (effect.expects != 0 &&
        !worker.helping().expect_by_rule(made.slot(), plan.expects[effect.expects - 1u]))
        return drop(DropReason::expect);
    worker.rules().begin(conn, b.now);
    counters.connections_created.add();
    if (expected) counters.connections_expected.add();
    if (effect.sloppy) [[unlikely]]
        counters.connections_sloppy.add();
    share.keep(conn);
    made.commit();
    if (effect.log) [[unlikely]]
        worker.recording().log_accepted(i, verdict.rule);
    b.accept(i);
    return true;
}

/// Whether its rule's limit admits packet i, which the rule has accepted without a connection; else
/// drops it.
bool within_limit(Worker& worker, Batch& b, unsigned i) noexcept {
    const RuleId rule = b.verdict[i].rule;
    const RuleLimit* const limit = b.plan->limit_of(rule);
    if (limit == nullptr) [[likely]]
        return true;
    const PacketInfo& info = b.info[i];
    const IpAddr source = bare_tuple(b.data[i] + info.l3_off, info.family, info.protocol).src;
    const DropReason why = worker.limits().rules().packet(
        {rule, b.plan->edges.zone_of(info.zones.from), source}, *limit, b.now);
    if (why == DropReason::none) return true;
    b.drop(i, why);
    return false;
}

/// A rule has accepted packet i without a connection. Worker::finish() counts those that it drops.
void count_alone(Worker& worker, Batch& b, unsigned i) noexcept {
    const RuleId rule = b.verdict[i].rule;
    worker.rules().judged(rule, 1, rte_pktmbuf_pkt_len(b.pkt[i]), b.now);
    b.info[i].ct = CtState::untracked;
    if (b.plan->effect(rule).log) worker.recording().log_accepted(i, rule);
}

/// ICMP that belongs to no connection and begins none: policy judges this packet only. A rejected
/// one is not answered, like an ICMP error (RFC 1122 section 3.2.2).
void judge_alone(Worker& worker, Batch& b, unsigned i) noexcept {
    PacketInfo& info = b.info[i];
    const RuleId rule = b.verdict[i].rule;
    b.judge(i, rule);
    info.ct = CtState::untracked;
    // Without a rule that names its type, an error about no known connection is dropped.
    const bool unknown = info.kind == L4Kind::icmp_error && rule == kNoRule;
    switch (b.verdict[i].action) {
        case PolicyAction::accept:
            if (!within_limit(worker, b, i)) break;
            count_alone(worker, b, i);
            if (b.plan->effect(rule).untracked) worker.counters().passed_untracked.add();
            b.accept(i);
            break;
        case PolicyAction::reject: b.drop(i, DropReason::reject); break;
        case PolicyAction::drop:
            if (unknown) info.ct = CtState::invalid;
            b.drop(i, unknown ? DropReason::ct_not_first : DropReason::policy);
            break;
    }
}

/// Carries out policy's verdict on packet i without a connection: a rule with `track: no` accepted
/// it, or it can begin no connection, and no sloppy rule accepted it.
bool done_without_connection(Worker& worker, Batch& b, unsigned i) noexcept {
    PacketInfo& info = b.info[i];
    const PolicyVerdict& verdict = b.verdict[i];
    if (verdict.action == PolicyAction::accept) {
        const RuleEffect& effect = b.plan->effect(verdict.rule);
        if (effect.untracked) {
            b.judge(i, verdict.rule);
            if (!within_limit(worker, b, i)) return true;
            count_alone(worker, b, i);
            worker.counters().passed_untracked.add();
            b.pass_untracked(i);
            return true;
        }
        if (effect.sloppy) return false;
    }
    if ((b.mid_stream & bit(i)) == 0) return false;
    info.ct = CtState::invalid;
    b.drop(i, DropReason::ct_not_first);
    return true;
}

void run(Worker& worker, Batch& b) noexcept {
    // The upper bits of the hashes of connections begun in this burst: a packet that shares none of
    // them has no connection yet.
    std::uint64_t created = 0;
    const bool all = b.plan->asks_about_all;
    const auto mark_of = [](const PacketInfo& info) {
        return std::uint64_t{1} << (info.hash >> 26);
    };
    for_each(b[MaskId::miss], [&](unsigned i) {
        PacketInfo& info = b.info[i];
        if (((created & mark_of(info)) != 0 || (b.contested & bit(i)) != 0) &&
            info.why != DropReason::ct_collision) {
            b.contested &= ~bit(i);
            if (!worker.conns().lookup_one(info, b.data[i])) {
                // Ended, or never begun.
            } else if (between_its_zones(worker.conns().at(info.conn), info, b.plan->edges)) {
                info.why = DropReason::none;
                b[MaskId::miss] &= ~bit(i);
                b[MaskId::hit] |= bit(i);
                worker.tracking().track_hit(i);
                // Already ended (a reset, then a fresh SYN, in one burst): the sender will try
                // again.
                if (b[MaskId::miss] & bit(i))
                    b.drop(i, info.kind == L4Kind::tcp ? DropReason::tcp_state
                                                       : DropReason::ct_invalid);
                return;
            } else if (info.why == DropReason::none &&
                       b.verdict[i].action == PolicyAction::accept &&
                       worker.tracking().may_replace(i)) {
                b.contested |= bit(i);
            } else {
                b.drop(i, DropReason::wrong_zone);
                return;
            }
        }
        if (info.why != DropReason::none) {
            b.drop(i, info.why);
            return;
        }
        if (stays_alone(info)) {
            judge_alone(worker, b, i);
            return;
        }
        if (all && done_without_connection(worker, b, i)) return;
        if (b.verdict[i].action == PolicyAction::accept && !begin_connection(worker, b, i)) {
            info.ct = CtState::fresh;
            ask_policy(b, bit(i));
            if (all && done_without_connection(worker, b, i)) return;
            if (b.verdict[i].action == PolicyAction::accept) begin_connection(worker, b, i);
        }
        // A GRE call may have a second key.
        if ((b[MaskId::accept] & bit(i)) != 0)
            created |= info.kind == L4Kind::gre_call ? ~std::uint64_t{0} : mark_of(info);
        if (b.verdict[i].action == PolicyAction::accept) return;
        b.judge(i, b.verdict[i].rule);
        if (b.verdict[i].action == PolicyAction::reject) {
            if (b.plan->log.drops) worker.recording().log_rejected(i);
            if (reject(worker, b, i)) return;
        }
        b.drop(i, b.verdict[i].action == PolicyAction::reject ? DropReason::reject
                                                              : DropReason::policy);
    });
}

}  // namespace

extern const StageDesc stage_commit;
constinit const StageDesc stage_commit{
    .name = "commit",
    .help = "begin the connections that policy lets in",
    .on = MaskId::miss,
    .needs = fact::connection | fact::verdict,
    .provides = fact::committed,
    .run = run,
};

}  // namespace postern
