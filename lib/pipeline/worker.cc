// SPDX-License-Identifier: BSD-3-Clause
// A worker's turn, from begin() to finish(), and its work once a turn without packets.
#include "pipeline/worker.h"

#include <rte_ether.h>
#include <rte_mbuf.h>

namespace postern {
namespace {

// Expired objects that one turn may end. At 200 cycles each this is 5 microseconds.
constexpr std::uint32_t kExpireBudget = 64;

/// Puts the VLAN tags back into frames from which the device has taken them: bridges, zones and the
/// next port see what was on the wire. Such devices do so although nobody asks them to.
[[gnu::noinline, gnu::cold]] void put_tags_back(Batch& b) noexcept {
    for_each(b[MaskId::live], [&](unsigned i) {
        if ((b.pkt[i]->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED) == 0) return;
        // It fails for a frame that is shorter than two addresses.
        if (rte_vlan_insert(&b.pkt[i]) != 0)
            b.drop(i, DropReason::truncated_l2);
        else
            b.data[i] = rte_pktmbuf_mtod(b.pkt[i], std::uint8_t*);
    });
}

}  // namespace

Worker::Worker(Parts parts)
    : plans_(parts.plans),
      steering_(*parts.steering),
      conns_(std::move(parts.conns)),
      reassembly_(std::move(parts.reassembly)),
      limits_(parts.limits, steering_.secret),
      peers_(*parts.rings, parts.id, counters_),
      expecting_(*parts.expectations, *parts.expect, batch_, parts.helpers->capacity(), counters_),
      helping_({.engine = std::move(parts.helpers),
                .userspace = parts.userspace,
                .worker = parts.id,
                .secret = steering_.secret,
                .batch = batch_,
                .conns = *conns_,
                .expecting = expecting_,
                .peers = peers_,
                .reassembly = *reassembly_,
                .drops = counters_,
                .counters = counters_}),
      rules_(*parts.rule_sums, *conns_),
      recording_(batch_, *conns_, rules_, counters_, parts.record_ring),
      tapping_(parts.taps, batch_, *conns_, recording_, *reassembly_, counters_),
      tracking_(*conns_, batch_, limits_, helping_, peers_, rules_, counters_, parts.event_ring),
      sweep_(tracking_, helping_, batch_, parts.plans->take()->version) {
    batch_.plan = plans_->take();
    plan_version_ = batch_.plan->version;
    find_stage_after_helpers();
}

void Worker::adopt(const Plan& plan) noexcept {
    batch_.plan = &plan;
    plan_version_ = plan.version;
    helping_.adopt(plan.helper_instances->set(), plan.helper_instances->scratch(id()));
    reassembly_->set_edges(plan.edges);
    conns_->set_visit_ms(plan.visit_ms);
    find_stage_after_helpers();
    sweep_.begin();
}

void Worker::find_stage_after_helpers() noexcept {
    after_helpers_ = 0;
    for (const StageDesc* stage : batch_.plan->stages) {
        ++after_helpers_;
        if ((stage->provides & fact::announced) != 0) break;
    }
}

void Worker::begin(rte_mbuf* const* pkts, unsigned n, Tick now, std::uint64_t cookie,
                   Arrival from) noexcept {
    Batch& b = batch_;
    b.n = n;
    b.now = now;
    b.cookie = cookie;
    limits_.refill(now);
    // One by one: g++ would clear all of them by `rep stos`, which takes longer than the stores.
#pragma GCC unroll 16
    for (Mask& mask : b.masks)
        mask = 0;
    b[MaskId::live] = first_n(n);
    std::uint64_t bytes = 0, flags = 0;
    for (unsigned i = 0; i < n; ++i) {
        b.pkt[i] = pkts[i];
        b.data[i] = rte_pktmbuf_mtod(pkts[i], std::uint8_t*);
        __builtin_prefetch(b.data[i]);
        b.info[i].in_port = PortId::from(pkts[i]->port);
        bytes += rte_pktmbuf_pkt_len(pkts[i]);
        flags |= pkts[i]->ol_flags;
    }
    b.flags = flags;
    if ((flags & RTE_MBUF_F_RX_VLAN_STRIPPED) != 0) [[unlikely]]
        put_tags_back(b);
    b.judged = 0;
    b.logged = 0;
    b.guessed = 0;
    b.scale_limited = 0;
    b.contested = 0;
    b.mid_stream = 0;
    b.chains = reassembly_->is_chain(flags);
    if (from == Arrival::port) {
        counters_.rx_packets.add(n);
        counters_.rx_bytes.add(bytes);
    }
    counters_.turns.add();
}

void Worker::run_tapped(rte_mbuf* const* pkts, unsigned n, Tick now, std::uint64_t cookie,
                        Arrival from) noexcept {
    begin(pkts, n, now, cookie, from);
    run_tapped_from(0);
}

/// From a later stage on: packets that were held.
void Worker::run_tapped_from(std::size_t first) noexcept {
    if (first == 0)
        tapping_.begin();
    else
        tapping_.begin_resumed();
    const auto& stages = batch_.plan->stages;
    for (std::size_t s = first; s < stages.size(); ++s) {
        if (batch_[stages[s]->on] == 0) continue;
        tapping_.enter(*stages[s]);
        stages[s]->run(*this, batch_);
        tapping_.leave(*stages[s]);
    }
    tapping_.decided();
}

void Worker::finish() noexcept {
    Batch& b = batch_;
    for_each(b[MaskId::live], [&](unsigned i) {
        b.drop(i, (b[MaskId::fragment] & bit(i)) ? DropReason::fragment : DropReason::undecided);
    });
    std::uint64_t tx_packets = 0, tx_bytes = 0;
    for_each(b[MaskId::accept], [&](unsigned i) {
        TxBuffer& out = tx_[b.info[i].out_port.number()];
        if (!b.chains || !reassembly_->is_chain(b.pkt[i])) {
            out.pkt[out.n++] = b.pkt[i];
            ++tx_packets;
            tx_bytes += rte_pktmbuf_pkt_len(b.pkt[i]);
            return;
        }
        const unsigned before = out.n;
        if (!send_fragments(i, out)) return b.drop(i, DropReason::tx_full);
        tx_packets += out.n - before;
        for (unsigned k = before; k < out.n; ++k)
            tx_bytes += rte_pktmbuf_pkt_len(out.pkt[k]);
    });
    counters_.tx_packets.add(tx_packets);
    counters_.tx_bytes.add(tx_bytes);
    if (b[MaskId::drop] == 0) return;
    if (b.plan->log.drops) [[unlikely]]
        recording_.log_dropped();
    free_dropped();
}

/// Neighbours mostly came in at one port, and are dropped for one reason, by one rule: they are
/// counted together.
void Worker::free_dropped() noexcept {
    Batch& b = batch_;
    unsigned n = 0, first = 0, frames = 0;  // of the run of equals: its first, its frames before
    rte_mbuf* dead[kMaxBurst];
    DropReason why = DropReason::none;
    RuleId rule = kNoRule;
    PortId port{0};
    std::uint32_t bytes = 0;
    const auto count_run = [&]() noexcept {
        unsigned of_run = n - first;
        if (b.chains)
            for (unsigned k = first; k < n; ++k)
                of_run += reassembly_->frames_of(dead[k]) - 1;
        frames += of_run;
        counters_.count_reason(of_run, why, port);
        if (why == DropReason::policy || why == DropReason::reject)
            rules_.judged(rule, n - first, bytes, b.now);
    };
    for_each(b[MaskId::drop], [&](unsigned i) {
        const PacketInfo& info = b.info[i];
        const PortId at = info.why == DropReason::tx_full ? info.out_port : info.in_port;
        // The rule of packets about which none has decided is that of an earlier packet.
        if (info.why != why || b.rule[i] != rule || at != port) [[unlikely]] {
            if (n != first) count_run();
            first = n;
            bytes = 0;
            why = info.why;
            rule = b.rule[i];
            port = at;
        }
        bytes += rte_pktmbuf_pkt_len(b.pkt[i]);
        dead[n++] = b.pkt[i];
    });
    count_run();
    counters_.dropped.add(frames);
    rte_pktmbuf_free_bulk(dead, n);
}

bool Worker::send_fragments(unsigned i, TxBuffer& out) noexcept {
    rte_mbuf* m = batch_.pkt[i];
    // The rest is for the packets of this burst that are one frame each.
    if (out.n + reassembly_->frames_of(m) > TxBuffer::kFragments) return false;
    out.n += reassembly_->take_apart(m, batch_.info[i], out.pkt.data() + out.n);
    return true;
}

bool Worker::housekeeping(Tick now, std::uint64_t cookie) noexcept {
    batch_.now = now;
    batch_.cookie = cookie;
    tracking_.handle_peers();
    const bool swept = sweep_.step();
    const std::uint32_t conns = tracking_.expire(kExpireBudget);
    const std::uint32_t expectations = expecting_.expire(kExpireBudget);
    rules_.step(now);
    helping_.look_at_unproven();
    helping_.engine().publish_use();
    const unsigned datagrams = reassembly_->expire(now, kExpireBudget, counters_);
    return swept && conns < kExpireBudget && expectations < kExpireBudget &&
           datagrams < kExpireBudget;
}

void Worker::release_held() noexcept {
    reassembly_->clear(counters_);
    helping_.release_held();
}

}  // namespace postern
