// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/recording.h"

#include <cstring>

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "plan/plan.h"

namespace postern {
namespace {

bool by_policy(DropReason why) noexcept {
    return why == DropReason::policy || why == DropReason::reject;
}

}  // namespace

void Recording::log_accepted(unsigned i, RuleId rule) noexcept {
    log(i, Fate::accept, batch_.plan->effect(rule).log, rules_.budget(rule));
}

void Recording::log_rejected(unsigned i) noexcept {
    batch_.info[i].why = DropReason::reject;
    batch_.logged |= bit(i);
    LogBudget* budget = nullptr;
    const LogRate rate = rate_of(i, budget);
    if (rate) log(i, Fate::reject, rate, *budget);
}

void Recording::log_dropped() noexcept {
    const Batch& b = batch_;
    for_each(b[MaskId::drop] & ~b.logged, [&](unsigned i) {
        LogBudget* budget = nullptr;
        const LogRate rate = rate_of(i, budget);
        if (rate)
            log(i, b.info[i].why == DropReason::reject ? Fate::reject : Fate::drop, rate, *budget);
    });
}

/// Of the rule that refused packet i, else of its reason.
LogRate Recording::rate_of(unsigned i, LogBudget*& budget) noexcept {
    const Batch& b = batch_;
    const LogPlan& plan = b.plan->log;
    const DropReason why = b.info[i].why;
    if (by_policy(why)) {
        const RuleId rule = b.rule[i];
        const LogRate rate = rule == kNoRule ? plan.of_default : b.plan->effect(rule).log;
        budget = &rules_.budget(rule);
        if (rate) return rate;
    }
    budget = &of_reasons_[static_cast<unsigned>(why)];
    return plan.of_reasons[static_cast<unsigned>(why)];
}

void Recording::log(unsigned i, Fate fate, LogRate rate, LogBudget& budget) noexcept {
    if (ring_.capacity() == 0) return;
    if (!budget.take(rate, batch_.now)) return counters_.log_limited.add();
    PacketRecord* record = ring_.reserve();
    if (record == nullptr) return counters_.log_lost.add();
    describe(*record, i, fate, batch_.data[i], rte_pktmbuf_data_len(batch_.pkt[i]),
             rte_pktmbuf_pkt_len(batch_.pkt[i]));
    ring_.publish();
    counters_.log_records.add();
}

void Recording::describe(PacketRecord& r, unsigned i, Fate fate, const std::uint8_t* data,
                         std::uint32_t readable, std::uint32_t frame_bytes) const noexcept {
    const Batch& b = batch_;
    const PacketInfo& info = b.info[i];
    r = {};
    r.tsc = rte_rdtsc();
    r.worker = conns_.worker();
    r.fate = fate;
    r.why = fate == Fate::accept ? DropReason::none : info.why;
    r.judged = (b.judged & bit(i)) != 0;
    r.rule = b.rule_of(i);
    r.frame_bytes = frame_bytes;
    r.in_port = info.in_port;
    const PortPlan& port = b.plan->ports[info.in_port.number()];
    r.has_out_port = port.has_peer;
    r.out_port = port.peer;
    r.vlan = info.vlan;
    r.ethertype = info.ethertype;
    r.from = info.zones.from;
    r.to = info.zones.to;
    if (info.family == Family::none || readable == 0) return;
    r.family = info.family;
    r.protocol = info.protocol;
    r.kind = info.kind;
    r.ct = info.ct;
    if (info.kind == L4Kind::tcp) r.tcp_flags = info.tcp_flags;
    if (const auto tuple = tuple_of(data, info)) {
        std::memcpy(r.src, tuple->src.bytes.data(), sizeof r.src);
        std::memcpy(r.dst, tuple->dst.bytes.data(), sizeof r.dst);
        r.sport = tuple->sport;
        r.dport = tuple->dport;
    }
    if (info.l4_off > info.l3_off) {
        r.ip_bytes = static_cast<std::uint16_t>(info.l4_off - info.l3_off + info.l4_len);
        r.payload_bytes = info.pay_len;
    }
    // Before the look-up `conn` is a guess.
    const bool begun = fate == Fate::accept && info.ct != CtState::untracked;
    if ((begun || (b[MaskId::hit] & bit(i)) != 0) && info.conn != 0)
        r.conn = conns_.id_of(info.conn);
    const bool icmp = info.protocol == proto::icmp || info.protocol == proto::icmpv6;
    if (icmp && info.kind != L4Kind::unparsed && info.kind != L4Kind::other &&
        info.l4_off + 2u <= readable) {
        r.icmp_type = data[info.l4_off];
        r.icmp_code = data[info.l4_off + 1];
        r.has_icmp = true;
    }
}

}  // namespace postern
