// SPDX-License-Identifier: BSD-3-Clause
// Reads the headers of every frame, once. Malformed ones are dropped with their reason; what is not
// IP, and IPv6 neighbour discovery, passes or not as the port's configuration says.
#include <rte_mbuf.h>

#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch& b) noexcept {
    const Plan& plan = worker.plan();
    Mask ip = 0, fragments = 0;
    for_each(b[MaskId::live], [&](unsigned i) {
        PacketInfo& info = b.info[i];
        const PortPlan& port = plan.ports[info.in_port];
        parse_packet(b.data[i], rte_pktmbuf_data_len(b.pkt[i]), rte_pktmbuf_pkt_len(b.pkt[i]),
                     plan.parse_context(info.in_port), info);
        if (info.why == DropReason::none && info.family != Family::none)
            info.why = check_checksums(b.pkt[i], info, port.checksums);
        if (info.why != DropReason::none) {
            b.drop(i, info.why);
        } else if (info.family == Family::none) {
            info.ct = CtState::untracked;
            if (port.passes(info.ethertype))
                b.accept(i);
            else
                b.drop(i, DropReason::non_ip);
        } else if (info.fragment) {
            fragments |= bit(i);
        } else if (info.kind == L4Kind::icmp_nd) {
            info.ct = CtState::untracked;
            if (port.pass_nd)
                b.accept(i);
            else
                b.drop(i, DropReason::neighbour_discovery);
        } else {
            ip |= bit(i);
            worker.conns().prefetch(info.hash);
        }
    });
    b[MaskId::ip] = ip;
    b[MaskId::fragment] = fragments;
}

}  // namespace

constinit const StageDesc kParseStage{
    .name = "parse",
    .help = "read the headers; drop what is malformed, pass non-IP as configured",
    .on = MaskId::live,
    .needs = 0,
    .provides = fact::headers,
    .run = run,
};

}  // namespace postern
