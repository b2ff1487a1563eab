// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/tapping.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <rte_cycles.h>
#include <rte_mbuf.h>

namespace postern {
namespace {

/// Copies the first `most` bytes of a packet; returns how many.
std::uint16_t copy_head(std::uint8_t* to, const rte_mbuf* m, std::uint32_t most) noexcept {
    std::uint32_t done = 0;
    for (; m != nullptr && done < most; m = m->next) {
        const std::uint32_t n = std::min<std::uint32_t>(rte_pktmbuf_data_len(m), most - done);
        std::memcpy(to + done, rte_pktmbuf_mtod(m, const std::uint8_t*), n);
        done += n;
    }
    return static_cast<std::uint16_t>(done);
}

/// Bytes of a transport header that a tuple is read from, at most.
constexpr std::uint32_t kPorts = 8;

bool is_dropped(TapFate fate) noexcept {
    return fate == TapFate::drop || fate == TapFate::reject;
}

}  // namespace

bool Tapping::matches(const TapConfig& config, unsigned i) const noexcept {
    const rte_mbuf* m = batch_.pkt[i];
    return config.filter.matches({batch_.data[i], rte_pktmbuf_data_len(m)}, rte_pktmbuf_pkt_len(m));
}

void Tapping::begin() noexcept {
    resumed_ = false;
    const std::uint64_t tsc = rte_rdtsc();
    each_tap([&](const Tap& tap, Tap::OfWorker& mine) {
        const TapConfig& config = tap.config();
        mine.matched = 0;
        mine.began = tsc;
        for (unsigned i = 0; i < batch_.n; ++i) {
            if (!matches(config, i)) continue;
            mine.matched |= bit(i);
            // Stages may turn it into something else.
            mine.length[i] = rte_pktmbuf_pkt_len(batch_.pkt[i]);
            mine.kept[i] = copy_head(mine.came.get() + i * config.snap, batch_.pkt[i], config.snap);
            mine.n_steps[i] = 0;
        }
    });
}

void Tapping::begin_resumed() noexcept {
    begin();
    resumed_ = true;
}

void Tapping::leave(const StageDesc& stage) noexcept {
    const Batch& b = batch_;
    each_tap([&](const Tap& tap, Tap::OfWorker& mine) {
        if (!tap.config().trace) return;
        for_each(mine.matched & in_stage_, [&](unsigned i) {
            if (mine.n_steps[i] == TapRecord::kMaxSteps) return;
            TapStep& step = mine.steps[i][mine.n_steps[i]++];
            step = {};
            step.stage = &stage;
            step.ct = b.info[i].ct;
            step.why = b.info[i].why;
            for (unsigned m = 0; m < static_cast<unsigned>(MaskId::kCount); ++m)
                step.masks |= static_cast<std::uint16_t>((b.masks[m] >> i & 1) << m);
            // A miss that has been dropped was not asked about.
            const bool sound = (b[MaskId::miss] & bit(i)) != 0 && step.why == DropReason::none;
            if (!sound) return;
            if ((stage.provides & fact::expectation) != 0 && b.is_expected(i))
                step.expected_by = b.match[i].helper;
            if ((stage.provides & fact::verdict) != 0) {
                step.judged = true;
                step.action = b.verdict[i].action;
                step.rule = b.verdict[i].rule;
            }
        });
    });
}

TapFate Tapping::fate_of(unsigned i) const noexcept {
    const Batch& b = batch_;
    const auto in = [&](MaskId id) { return (b[id] & bit(i)) != 0; };
    if (in(MaskId::away)) return TapFate::handed;
    if (in(MaskId::held)) return TapFate::held;
    if (in(MaskId::answer)) return TapFate::reject;
    if (in(MaskId::accept)) return TapFate::accept;
    return why_of(i) == DropReason::reject ? TapFate::reject : TapFate::drop;
}

/// Worker::finish() gives those without a verdict the same reason.
DropReason Tapping::why_of(unsigned i) const noexcept {
    const Batch& b = batch_;
    if ((b[MaskId::live] & bit(i)) == 0) return b.info[i].why;
    return (b[MaskId::fragment] & bit(i)) != 0 ? DropReason::fragment : DropReason::undecided;
}

void Tapping::decided() noexcept {
    const Batch& b = batch_;
    each_tap([&](const Tap& tap, Tap::OfWorker& mine) {
        const TapConfig& config = tap.config();
        // A reassembled datagram may match though its last fragment did not.
        Mask seen = mine.matched;
        if (b.chains)
            for_each(first_n(b.n) & ~seen, [&](unsigned i) {
                if ((b[MaskId::away] & bit(i)) != 0 || !reassembly_.is_chain(b.pkt[i])) return;
                if (!matches(config, i)) return;
                seen |= bit(i);
                mine.kept[i] = 0;
                mine.n_steps[i] = 0;
            });
        if (config.receive && !resumed_)
            for_each(mine.matched, [&](unsigned i) {
                const TapFate fate = fate_of(i);
                if (fate != TapFate::handed) put(config, mine, i, TapPoint::receive, fate);
            });
        for_each(seen, [&](unsigned i) {
            const TapFate fate = fate_of(i);
            if (config.trace) put(config, mine, i, TapPoint::trace, fate);
            if (config.drop && is_dropped(fate) && config.reasons[static_cast<unsigned>(why_of(i))])
                put(config, mine, i, TapPoint::drop, fate);
            if (config.transmit && (b[MaskId::accept] & bit(i)) != 0)
                put(config, mine, i, TapPoint::transmit,
                    fate == TapFate::reject ? TapFate::answer : fate);
        });
        mine.matched = 0;
    });
}

void Tapping::put(const TapConfig& config, Tap::OfWorker& mine, unsigned i, TapPoint point,
                  TapFate fate) noexcept {
    TapRecord* record = mine.ring.reserve();
    if (record == nullptr) {
        mine.lost.add();
        counters_.capture_lost.add();
        return;
    }
    const Batch& b = batch_;
    const PacketInfo& info = b.info[i];
    TapRecord& r = *record;
    const std::uint8_t* const came = mine.came.get() + i * config.snap;
    // Another worker, or nobody, may have the packet by now: only its copy may be read. Of an
    // answer only the copy has the headers that `info` describes.
    const bool gone = fate == TapFate::handed || fate == TapFate::held;
    const bool answered = (b[MaskId::answer] & bit(i)) != 0;
    std::uint32_t length = 0;
    if (gone || (point != TapPoint::transmit && mine.kept[i] != 0)) {
        r.kept = mine.kept[i];
        if (r.kept != 0) length = mine.length[i];
        std::memcpy(r.bytes, came, r.kept);
    } else {
        length = rte_pktmbuf_pkt_len(b.pkt[i]);
        r.kept = copy_head(r.bytes, b.pkt[i], config.snap);
    }
    const std::uint8_t* data = came;
    std::uint32_t readable = 0;
    if (!gone && !answered) {
        data = b.data[i];
        readable = rte_pktmbuf_data_len(b.pkt[i]);
    } else if (!b.chains && mine.kept[i] >= info.l4_off + kPorts) {
        readable = mine.kept[i];  // a datagram's last fragment would have other headers
    }
    recording_.describe(r.packet, i,
                        fate == TapFate::accept   ? Fate::accept
                        : fate == TapFate::reject ? Fate::reject
                                                  : Fate::drop,
                        data, readable, length);
    if (answered && point == TapPoint::transmit) {
        std::swap(r.packet.src, r.packet.dst);
        std::swap(r.packet.sport, r.packet.dport);
    }
    if (point == TapPoint::receive) r.packet.tsc = mine.began;
    r.point = point;
    r.fate = fate;
    if ((b[MaskId::accept] & bit(i)) != 0) {
        r.packet.has_out_port = true;
        r.packet.out_port = info.out_port;
    }
    r.packet.why = is_dropped(fate) ? why_of(i) : DropReason::none;
    r.helper = r.expected_by = kNoHelper;
    r.conn_rule = kNoRule;
    r.state = nullptr;
    if (r.packet.conn) {
        const Conn& conn = conns_.at(r.packet.conn.index);
        r.dir = info.dir;
        r.helper = conn.helper;
        r.expected_by = conn.expected_by;
        r.conn_rule = conn.rule;
        r.state = conn.state_name();
    }
    r.n_steps = 0;
    if (config.trace) {
        r.n_steps = mine.n_steps[i];
        std::copy_n(mine.steps[i].begin(), r.n_steps, r.steps.begin());
    }
    mine.ring.publish();
    counters_.capture_records.add();
}

}  // namespace postern
