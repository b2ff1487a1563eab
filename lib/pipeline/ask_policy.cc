// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/ask_policy.h"

#include "plan/plan.h"

namespace postern {

PolicyLink link_of(const Batch& b, unsigned i) noexcept {
    const PacketInfo& info = b.info[i];
    return {vlan_id(info.vlan), dscp_in(b.data[i] + info.l3_off, info.family),
            info.in_port.number()};
}

void ask_policy(Batch& b, Mask which) noexcept {
    const Edges& edges = b.plan->edges;
    const bool links = b.plan->policy->judges_links();
    b.queries.clear();
    for_each(which, [&](unsigned i) {
        const PacketInfo& info = b.info[i];
        PolicyContext context{.from = edges.zone_of(info.zones.from),
                              .to = edges.zone_of(info.zones.to),
                              .state = info.ct};
        if (b.is_expected(i)) [[unlikely]] {
            context.related_by = b.match[i].helper;
            context.mark = b.match[i].mark;
        }
        if (has_plain_ends(info)) {
            PolicyLink& link = b.queries.add(i, info.family, info.protocol,
                                             addresses_in(b.data[i] + info.l3_off, info.family),
                                             b.data[i] + info.l4_off, context);
            if (links) [[unlikely]]
                link = link_of(b, i);
            return;
        }
        const bool is_error = info.kind == L4Kind::icmp_error;
        // For an error its own addresses, not those of the packet that it quotes.
        PolicyQuery query{is_error ? bare_tuple(b.data[i] + info.l3_off, info.family, info.protocol)
                                   : *tuple_of(b.data[i], info),
                          context};
        if (links) query.link = link_of(b, i);
        if (info.protocol == proto::icmp || info.protocol == proto::icmpv6) {
            const std::uint8_t* icmp = b.data[i] + info.l4_off;
            query.tuple.dport = icmp_port(icmp[0], icmp[1]);
            if (is_error)
                query.context.state =
                    info.ct == CtState::related ? CtState::established : CtState::invalid;
            else if (info.family == Family::ipv4 && only_by_name(icmp[0]))
                query.context.state = CtState::untracked;
        }
        b.queries.add(i, query);
    });
    b.plan->policy->classify(b.queries, b.verdict.data());
}

}  // namespace postern
