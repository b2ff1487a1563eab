// SPDX-License-Identifier: BSD-3-Clause
#include "stages/reject.h"

#include <cstring>

#include <rte_mbuf.h>

#include "net/answer.h"

namespace postern {
namespace {

bool answer_with_reset(rte_mbuf* m, std::uint8_t* frame, const PacketInfo& info,
                       const Tuple& t) noexcept {
    const unsigned bytes = reset_bytes(info);
    if (rte_pktmbuf_pkt_len(m) < bytes) return false;
    write_reset(frame, info, t);
    return rte_pktmbuf_trim(m, static_cast<std::uint16_t>(rte_pktmbuf_pkt_len(m) - bytes)) == 0;
}

bool answer_with_icmp(rte_mbuf* m, std::uint8_t*& frame, const PacketInfo& info,
                      const Tuple& t) noexcept {
    const unsigned l2 = info.l3_off;
    const IcmpLayout layout = icmp_layout(info, rte_pktmbuf_pkt_len(m));
    const unsigned kept = l2 + layout.quoted;
    if (rte_pktmbuf_pkt_len(m) < kept) return false;
    if (rte_pktmbuf_trim(m, static_cast<std::uint16_t>(rte_pktmbuf_pkt_len(m) - kept)) != 0)
        return false;
    char* grown = rte_pktmbuf_prepend(m, static_cast<std::uint16_t>(layout.added));
    if (grown == nullptr) return false;
    frame = reinterpret_cast<std::uint8_t*>(grown);
    std::memmove(frame, frame + layout.added, l2);
    write_icmp_error(frame, info, t, layout, admin_prohibited(info.family));
    return true;
}

}  // namespace

bool reject(Worker& worker, Batch& b, unsigned i) noexcept {
    PacketInfo& info = b.info[i];
    rte_mbuf* m = b.pkt[i];
    if (!is_answerable(info, b.data[i])) {
        worker.counters().rejects_unanswerable.add();
        return false;
    }
    const Tuple t = *tuple_of(b.data[i], info);
    if (!is_host(t.src) || !is_host(t.dst) || t.src == t.dst) {
        worker.counters().rejects_unanswerable.add();
        return false;
    }
    const ZoneId zone = worker.plan().edges.zone_of(info.zones.from);
    if (!worker.limits().answers().admit(t.src, zone, b.now)) {
        worker.counters().rejects_limited.add();
        return false;
    }
    const std::uint32_t bytes = rte_pktmbuf_pkt_len(m);
    if (worker.reassembly().is_chain(m)) {
        worker.counters().count_dropped(worker.reassembly().frames_of(m) - 1, DropReason::reject,
                                        info.in_port);
        worker.reassembly().keep_first(m);
    }
    if (m->nb_segs != 1 || (info.kind == L4Kind::tcp ? !answer_with_reset(m, b.data[i], info, t)
                                                     : !answer_with_icmp(m, b.data[i], info, t))) {
        worker.counters().rejects_unanswerable.add();
        return false;
    }
    swap_macs(b.data[i]);
    info.out_port = info.in_port;
    info.why = DropReason::reject;
    // The received packet is dropped; the answer in its buffer is a new packet.
    worker.rules().judged(b.verdict[i].rule, 1, bytes, b.now);
    worker.counters().rejected.add();
    worker.counters().count_dropped(1, DropReason::reject, info.in_port);
    b.accept(i);
    b[MaskId::answer] |= bit(i);
    return true;
}

}  // namespace postern
