// SPDX-License-Identifier: BSD-3-Clause
// Reassembles datagrams from fragments. All fragments of a datagram meet on the worker that their
// addresses hash to; the complete datagram then continues like any other packet, to the worker of
// its connection. A packet that is not a fragment costs nothing here.
#include <rte_mbuf.h>

#include "pipeline/checksum.h"
#include "pipeline/worker.h"
#include "stages/send_home.h"
#include "stages/stages.h"

namespace postern {
namespace {

/// Fragment i has completed a datagram, which replaces it in the batch.
void go_on_with(Worker& worker, Batch& b, unsigned i, rte_mbuf* whole) noexcept {
    PacketInfo& info = b.info[i];
    const Plan& plan = worker.plan();
    b.pkt[i] = whole;
    b.chains = true;
    b.data[i] = rte_pktmbuf_mtod(whole, std::uint8_t*);
    parse_packet(b.data[i], rte_pktmbuf_data_len(whole), rte_pktmbuf_pkt_len(whole),
                 worker.steering().parse_context(plan.ports[info.in_port.number()]), info);
    info.set_zones(plan.ports[info.in_port.number()].zones_of(info.vlan));
    // The IP header was checked in each fragment, and is now written here.
    if (info.why == DropReason::none &&
        plan.ports[info.in_port.number()].checksums == Checksums::full)
        info.why = compute_checksums(whole, info, false, true);
    b[MaskId::fragment] &= ~bit(i);
    if (info.why == DropReason::truncated_l4)
        b.drop(i, DropReason::fragment_tiny);  // its header continues in the second fragment
    else if (info.why != DropReason::none)
        b.drop(i, info.why);
    else if (info.kind == L4Kind::icmp_nd)
        b.drop(i, DropReason::fragment_bad);  // RFC 6980: never in fragments
    else
        b[MaskId::ip] |= bit(i);
    if ((info.tcp_options & tcp_offer::limited) != 0) b.scale_limited |= bit(i);
}

void run(Worker& worker, Batch& b) noexcept {
    const Steering& steering = worker.steering();
    for_each(b[MaskId::fragment], [&](unsigned i) {
        const WorkerId home = steering.home(b.info[i].rss);
        if (home != worker.id()) {
            send_home(worker, b, i, home);
            return;
        }
        const Reassembly::Taken taken =
            worker.reassembly().take(b.pkt[i], b.info[i], b.now, worker.counters());
        if (taken.why != DropReason::none) {
            b.drop(i, taken.why);
        } else if (taken.whole != nullptr) {
            go_on_with(worker, b, i, taken.whole);
        } else {
            b.hold(i);
        }
    });
}

}  // namespace

extern const StageDesc stage_reassemble;
constinit const StageDesc stage_reassemble{
    .name = "reassemble",
    .help = "put fragments together",
    .on = MaskId::fragment,
    .needs = fact::headers,
    .provides = 0,
    .before = fact::home | fact::connection,
    .run = run,
};

}  // namespace postern
