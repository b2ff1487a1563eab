// SPDX-License-Identifier: BSD-3-Clause
// Parses the headers of every frame, once. Drops malformed ones with their reason. Frames without
// IP, and IPv6 neighbour discovery, pass or not by the port's configuration.
#include <rte_mbuf.h>

#include "net/parse_plain.h"
#include "pipeline/checksum.h"
#include "pipeline/worker.h"
#include "pipeline/zones.h"
#include "stages/stages.h"

namespace postern {
namespace {

/// A packet's connection is guessed this many packets after its line of the index was prefetched.
/// With less, that line has not arrived; with more, fewer connections have arrived when they are
/// looked up. Best of 8 to 24, as far as noise allows.
constexpr unsigned kLookBehind = 20;

/// Packet i is not plain, or possibly malformed: takes the general path.
void read(Worker& worker, Batch& b, unsigned i) noexcept {
    const Plan& plan = worker.plan();
    PacketInfo& info = b.info[i];
    const PortPlan& port = plan.ports[info.in_port.number()];
    parse_packet(b.data[i], rte_pktmbuf_data_len(b.pkt[i]), rte_pktmbuf_pkt_len(b.pkt[i]),
                 worker.steering().parse_context(port), info);
    info.set_zones(port.zones_of(info.vlan));
    if (info.why == DropReason::none && info.family != Family::none)
        info.why = check_checksums(b.pkt[i], info, port.checksums);
    if (info.why != DropReason::none) {
        b.drop(i, info.why);
    } else if (info.family == Family::none) {
        info.ct = CtState::untracked;
        if (!port.passes(info.ethertype)) {
            b.drop(i, DropReason::non_ip);
            return;
        }
        worker.counters().passed_non_ip.add();
        b.pass_untracked(i);
    } else if (info.fragment) {
        b[MaskId::fragment] |= bit(i);
    } else if (info.kind == L4Kind::icmp_nd) {
        info.ct = CtState::untracked;
        if (!port.pass_nd) {
            b.drop(i, DropReason::neighbour_discovery);
            return;
        }
        if (is_spoofed(b, i)) {
            b.drop(i, DropReason::spoofed);
            return;
        }
        worker.counters().passed_nd.add();
        b.pass_untracked(i);
    } else {
        b[MaskId::ip] |= bit(i);
        if ((info.tcp_options & tcp_offer::limited) != 0) b.scale_limited |= bit(i);
        if (worker.steering().home(info.rss) == worker.id()) worker.conns().prefetch(info.hash);
    }
}

/// A packet received on a port without a bridge has no output port, and may begin nothing either.
void drop_without_peer(const Plan& plan, Batch& b) noexcept {
    for_each(b[MaskId::live], [&](unsigned i) {
        if (!plan.ports[b.info[i].in_port.number()].has_peer) b.drop(i, DropReason::no_peer);
    });
}

/// Parses plain packets, and prefetches their connections. With several workers (`kSeveral`) only
/// those of this one: for packets handed over, the prefetched lines would be wasted.
template <bool kSeveral>
void read_plain(Worker& worker, Batch& b) noexcept {
    const Plan& plan = worker.plan();
    const ConnTable& conns = worker.conns();
    const Steering& steering = worker.steering();
    const PortPlan* const ports = plan.ports.data();
    const unsigned checked = modes_to_check(b.flags);
    Mask plain = 0, fetched = 0, guessed = 0;
    ParseContext context = steering.parse_context(ports[0]);
    for_each(b[MaskId::live], [&](unsigned i) {
        PacketInfo& info = b.info[i];
        if ((fetched << kLookBehind & bit(i)) != 0) {
            conns.prefetch_conn(b.info[i - kLookBehind]);
            guessed |= bit(i - kLookBehind);
        }
        // Nothing else of a plain packet depends on the port. Without a branch on it: a burst may
        // have packets of several, in any order.
        const PortPlan& port = ports[info.in_port.number()];
        context.plain = &port.plain;
        if (!parse_plain(b.data[i], rte_pktmbuf_data_len(b.pkt[i]), context, info)) return;
        // A wrong checksum is rare, so finding it a second time below costs little.
        if ((checked >> static_cast<unsigned>(port.checksums) & 1) != 0 &&
            check_checksums(b.pkt[i], info, port.checksums) != DropReason::none)
            return;
        plain |= bit(i);
        if (kSeveral && steering.home(info.rss) != worker.id()) return;
        fetched |= bit(i);
        conns.prefetch(info.hash);
    });
    b[MaskId::ip] = plain;
    b[MaskId::fragment] = 0;
    b.guessed = guessed;
}

void run(Worker& worker, Batch& b) noexcept {
    const Plan& plan = worker.plan();
    if (plan.some_without_peer) [[unlikely]]
        drop_without_peer(plan, b);
    const Mask live = b[MaskId::live];
    if (worker.steering().workers == 1)
        read_plain<false>(worker, b);
    else
        read_plain<true>(worker, b);
    for_each(live & ~b[MaskId::ip], [&](unsigned i) { read(worker, b, i); });
}

}  // namespace

extern const StageDesc stage_parse;
constinit const StageDesc stage_parse{
    .name = "parse",
    .help = "read the headers; drop what is malformed, pass non-IP as configured",
    .on = MaskId::live,
    .needs = 0,
    .provides = fact::headers,
    .run = run,
};

}  // namespace postern
