// SPDX-License-Identifier: BSD-3-Clause
// Reads the headers of every frame, once. Malformed ones are dropped with their reason; what is not
// IP, and IPv6 neighbour discovery, passes or not as the port's configuration says.
#include <rte_mbuf.h>

#include "net/parse_plain.h"
#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

/// A packet's connection is guessed this many packets after its line of the index was asked for.
/// Sooner, that line is not there yet; later, fewer connections are here when they are looked up.
/// Best of 8 to 24, as far as noise lets tell.
constexpr unsigned kLookBehind = 20;

/// Packet i is not plain, or perhaps damaged: reads it the general way.
void read(const Plan& plan, const ConnTable& conns, Batch& b, unsigned i) noexcept {
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
        b[MaskId::fragment] |= bit(i);
    } else if (info.kind == L4Kind::icmp_nd) {
        info.ct = CtState::untracked;
        if (port.pass_nd)
            b.accept(i);
        else
            b.drop(i, DropReason::neighbour_discovery);
    } else {
        b[MaskId::ip] |= bit(i);
        if ((info.tcp_options & tcp_offer::limited) != 0) b.scale_limited |= bit(i);
        conns.prefetch(info.hash);
    }
}

void run(Worker& worker, Batch& b) noexcept {
    const Plan& plan = worker.plan();
    const ConnTable& conns = worker.conns();
    const PortPlan* const ports = plan.ports.data();
    const unsigned checked = modes_to_check(b.flags);
    const Mask live = b[MaskId::live];
    Mask plain = 0, guessed = 0;
    ParseContext context = plan.parse_context(0);
    for_each(live, [&](unsigned i) {
        PacketInfo& info = b.info[i];
        if ((plain << kLookBehind & bit(i)) != 0) {
            conns.prefetch_conn(b.info[i - kLookBehind]);
            guessed |= bit(i - kLookBehind);
        }
        // Of a plain packet nothing else depends on the port. Without a branch on it: a burst may
        // have packets of several, in any order.
        const PortPlan& port = ports[info.in_port];
        context.ct_zone = port.ct_zone;
        if (!parse_plain(b.data[i], rte_pktmbuf_data_len(b.pkt[i]), context, info)) return;
        // A wrong checksum is rare enough to be found once more below.
        if ((checked >> static_cast<unsigned>(port.checksums) & 1) != 0 &&
            check_checksums(b.pkt[i], info, port.checksums) != DropReason::none)
            return;
        plain |= bit(i);
        conns.prefetch(info.hash);
    });
    b[MaskId::ip] = plain;
    b[MaskId::fragment] = 0;
    b.guessed = guessed;
    for_each(live & ~plain, [&](unsigned i) { read(plan, conns, b, i); });
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
