// SPDX-License-Identifier: BSD-3-Clause
// Advice on probable mistakes, for a file without errors.
#include <algorithm>
#include <tuple>
#include <utility>

#include "config/loader.h"
#include "net/ipv6.h"

namespace postern::config {

/// Whether a helper of this file may assign this kind to connections that it expects.
bool Loader::is_child(const std::string& kind) const {
    return std::any_of(spec_.helpers.begin(), spec_.helpers.end(), [&](const HelperSpec& h) {
        const auto schema = std::find_if(schema_.helpers.begin(), schema_.helpers.end(),
                                         [&](const HelperSchema& s) { return s.name == h.kind; });
        return h.kind != kind && schema != schema_.helpers.end() &&
               std::count(schema->children.begin(), schema->children.end(), kind) != 0;
    });
}

constexpr bool is_link_type(std::uint8_t icmpv6_type) noexcept {
    return (icmpv6_type >= 130 && icmpv6_type <= 137) || icmpv6_type == 143;
}

/// Rules that match no packet, whatever the other rules are.
void Loader::advise_of_nothing(const RuleSpec& r, const std::string& path) {
    const auto warn = [&](const std::string& why) { report_.warning(r.where, path, why); };
    if (!r.match_new && !r.match_related)
        warn(
            "`ct: established` alone matches nothing: packets of accepted connections always pass");
    for (const auto& [key, list, sets] :
         {std::tuple{"src", &r.src, &r.src_sets}, std::tuple{"dst", &r.dst, &r.dst_sets}})
        if (!sets->allows(Family::ipv4, *list) && !sets->allows(Family::ipv6, *list))
            warn("`" + std::string(key) + "` has no address, so nothing can match");
    for (const auto& [key, list] : {std::pair{"sport", &r.sport}, std::pair{"dport", &r.dport}})
        if (*list == std::vector{PortRange{0, 0}})
            warn("`" + std::string(key) + ": 0` matches port 0 alone, which is reserved and used " +
                 "by no service (leave the key out for any port)");
}

/// Legal, but probably not intended. Only for a file without errors.
void Loader::advise() {
    const auto& rules = spec_.policy.rules;
    const auto rule_path = [&](std::size_t i) { return "policy.rules[" + std::to_string(i) + "]"; };

    std::vector<bool> bridged(spec_.ports.size());
    std::vector<bool> populated(spec_.zones.size());
    for (const auto& b : spec_.bridges)
        bridged[b.ports[0].number()] = bridged[b.ports[1].number()] = true;
    for (std::size_t i = 0; i < spec_.ports.size(); ++i) {
        const auto& p = spec_.ports[i];
        populated[p.zone.number()] = true;
        for (const auto& [vlan, zone] : p.zone_of_vlan)
            populated[zone.number()] = true;
        if (!bridged[i])
            report_.warning(p.where, "ports[" + std::to_string(i) + "]",
                            "port " + in_quotes(p.name) +
                                " is in no bridge, so what comes in by it is dropped");
    }

    advise_of_shared_zones();

    const bool any_related = std::any_of(rules.begin(), rules.end(), [](const RuleSpec& r) {
        return r.enabled && r.action == RuleAction::accept && r.match_related && r.related.empty();
    });
    std::vector<bool> assigned(spec_.helpers.size());
    for (std::size_t h = 0; h < assigned.size(); ++h)
        assigned[h] = is_child(spec_.helpers[h].kind);
    std::vector<bool> let_in(spec_.helpers.size());
    for (std::size_t i = 0; i < rules.size(); ++i) {
        const auto& r = rules[i];
        if (!r.enabled) continue;
        advise_of_nothing(r, rule_path(i));
        for (const auto* list : {&r.from, &r.to})
            if (!list->empty() && std::none_of(list->begin(), list->end(),
                                               [&](ZoneId z) { return populated[z.number()]; }))
                report_.warning(r.where, rule_path(i),
                                "no port is in zone " +
                                    in_quotes(spec_.zones[list->front().number()].name) +
                                    ", so nothing can match");
        for (const std::uint8_t protocol : r.protocols)
            if (r.family != Family::ipv4 && is_ipv6_extension(protocol))
                report_.warning(r.where, rule_path(i),
                                "of IPv6, protocol " + std::to_string(protocol) +
                                    " is an extension header: rules see what follows it");
        if (r.protocols == std::vector{proto::icmpv6} && !r.icmp_types.empty() &&
            std::all_of(r.icmp_types.begin(), r.icmp_types.end(), is_link_type))
            report_.warning(r.where, rule_path(i),
                            "neighbour discovery and multicast listeners (ICMPv6 130 to 137, 143) "
                            "never ask policy; bridges[].pass says `nd`, or does not");
        if (r.expect && !any_related)
            report_.warning(r.where, rule_path(i),
                            "no rule accepts what it expects (`ct: [related]`), so it is in vain");
        if (r.action != RuleAction::accept) continue;
        if (r.helper != kNoHelper) assigned[r.helper - 1u] = true;
        if (r.match_related)
            for (std::size_t h = 0; h < let_in.size(); ++h)
                if (r.related.empty() || std::count(r.related.begin(), r.related.end(), h + 1) != 0)
                    let_in[h] = true;
        if (r.helper != kNoHelper || !r.match_new || r.dport.empty() || r.track != TrackMode::yes)
            continue;
        for (const auto& h : spec_.helpers) {
            if (h.auto_assign) continue;
            if (std::none_of(h.protocols.begin(), h.protocols.end(), [&](std::uint8_t p) {
                    return std::count(r.protocols.begin(), r.protocols.end(), p) != 0;
                }))
                continue;
            const auto port = std::find_if(h.ports.begin(), h.ports.end(), [&](std::uint16_t p) {
                return std::any_of(r.dport.begin(), r.dport.end(), [&](const PortRange& range) {
                    return range.first <= p && p <= range.last;
                });
            });
            if (port != h.ports.end())
                report_.warning(r.where, rule_path(i),
                                "accepts port " + std::to_string(*port) + " without helper " +
                                    in_quotes(h.name) + " (add `helper: " + h.name + "`?)");
        }
    }
    for (std::size_t h = 0; h < spec_.helpers.size(); ++h) {
        const auto& helper = spec_.helpers[h];
        const std::string path = "helpers[" + std::to_string(h) + "]";
        if (!assigned[h] && !helper.auto_assign)
            report_.warning(helper.where, path,
                            "no rule has `helper: " + helper.name + "`, so it watches nothing");
        else if (!let_in[h])
            report_.warning(helper.where, path,
                            "no rule accepts what it expects (`ct: [related]`), so it is in vain");
    }
}

}  // namespace postern::config
