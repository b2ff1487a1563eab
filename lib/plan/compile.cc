// SPDX-License-Identifier: BSD-3-Clause
#include "plan/compile.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "plan/policy_rules.h"

namespace postern {
namespace {

static_assert(kMaxTimeoutNames + 1 <= kMaxTimeoutProfiles);

std::uint32_t visit_ms_of(const Timeouts& t) {
    const std::uint32_t shortest =
        std::min(t.tcp_ms[static_cast<unsigned>(TcpState::established)], t.udp_ms[1]);
    return std::clamp(shortest / 4, 250u, 60'000u);
}

/// Numbers the names of `spec`, except helpers, and converts its own references to the plan's
/// numbers. Zones, rules and profiles themselves stay by index.
struct Numbers {
    std::vector<ZoneId> zones;              ///< by index in the Spec
    std::vector<RuleId> rules;              ///< by index in the Spec
    std::vector<std::uint8_t> timeouts{0};  ///< by index in the Spec plus 1
};

Result<Numbers> number_names(Spec& spec, Names& names) {
    Numbers out;
    for (const ZoneSpec& z : spec.zones) {
        const auto number = names.edges.use(z.name);
        if (!number) return no_number("zone", z.name);
        out.zones.push_back(ZoneId::from(*number));
    }
    for (const TimeoutProfileSpec& t : spec.timeout_profiles) {
        const auto number = names.timeouts.use(t.name);
        if (!number) return no_number("timeout profile", t.name);
        out.timeouts.push_back(static_cast<std::uint8_t>(*number));
    }
    const auto renumber = [&](ZoneId& zone) { zone = out.zones[zone.number()]; };
    for (RuleSpec& r : spec.policy.rules) {
        const auto number = names.rules.use(r.name);
        if (!number) return no_number("rule", r.name);
        out.rules.push_back(RuleId::from(*number));
        std::ranges::for_each(r.from, renumber);
        std::ranges::for_each(r.to, renumber);
        r.timeouts = out.timeouts[r.timeouts];
    }
    for (PortSpec& p : spec.ports) {
        renumber(p.zone);
        for (auto& [vlan, zone] : p.zone_of_vlan)
            renumber(zone);
    }
    return out;
}

Edges edges_of(const Spec& spec, const Numbers& numbers) {
    // The least number of each set, so that it does not depend on the order in the file.
    std::map<std::string, EdgeId> loose;
    for (std::size_t z = 0; z < spec.zones.size(); ++z) {
        if (spec.zones[z].loose.empty()) continue;
        const EdgeId id(numbers.zones[z].number());
        const auto [set, fresh] = loose.try_emplace(spec.zones[z].loose, id);
        if (!fresh) set->second = std::min(set->second, id);
    }
    Edges out;
    for (std::size_t z = 0; z < spec.zones.size(); ++z) {
        const auto set = loose.find(spec.zones[z].loose);
        out.put_zone(EdgeId(numbers.zones[z].number()), spec.zones[z].name,
                     set == loose.end() ? std::nullopt : std::optional(set->second));
    }
    return out;
}

/// Edges that connections of earlier plans may have.
void put_gone_edges(const NameTable& names, Edges& edges) {
    for (NameTable::Number n = 0; n < names.end(); ++n) {
        if (!names.is_gone(n)) continue;
        const std::string& name = names.name(n);
        // The name of a port's edge is ZONE/PORT, and that zone may be removed, too.
        NameTable::Number zone = 0;
        while (zone < names.end() && names.name(zone) != name.substr(0, name.find('/')))
            ++zone;
        edges.put_gone(EdgeId::from(n), name, ZoneId::from(zone < names.end() ? zone : n));
    }
}

/// The edge of each VLAN of a port; [0]: of frames without a tag.
std::vector<EdgeId> edges_of(const PortSpec& port) {
    std::vector<EdgeId> out(kVlans, EdgeId(port.zone.number()));
    for (const auto& [vlan, zone] : port.zone_of_vlan)
        out[vlan] = EdgeId(zone.number());
    return out;
}

Result<void> join_zones(const Spec& spec, const BridgeSpec& bridge, std::vector<PortPlan>& ports,
                        Edges& edges, Names& names) {
    std::array<std::vector<EdgeId>, 2> of;
    for (int side = 0; side < 2; ++side) {
        const PortSpec& port = spec.ports[bridge.ports[side].number()];
        of[side] = edges_of(port);
        if (!bridge.sides_by_port) continue;
        std::map<EdgeId, EdgeId> own;
        for (EdgeId& zone : of[side]) {
            const auto [at, fresh] = own.try_emplace(zone);
            if (fresh) {
                const std::string name = edges[zone].name + "/" + port.name;
                const auto number = names.edges.use(name);
                if (!number) return no_number("side", name);
                at->second = EdgeId::from(*number);
                edges.put_port(at->second, port.name, zone);
            }
            zone = at->second;
        }
    }
    const bool by_vlan = std::ranges::any_of(
        bridge.ports, [&](PortId p) { return !spec.ports[p.number()].zone_of_vlan.empty(); });
    std::pair<EdgeId, EdgeId> last(kAnyEdge, kAnyEdge);
    for (unsigned vlan = 0; vlan < (by_vlan ? kVlans : 1); ++vlan) {
        const std::pair both(of[0][vlan], of[1][vlan]);
        if (both == last) continue;  // of most VLANs
        last = both;
        // Without a number for the pair, edges are compared.
        edges.join(both.first, both.second,
                   names.sides.use(edges.name_of_sides(both.first, both.second)));
    }
    for (int side = 0; side < 2; ++side) {
        PortPlan& p = ports[bridge.ports[side].number()];
        p.zones = edges.pair(of[side][0], of[1 - side][0]);
        for (unsigned vlan = 0; by_vlan && vlan < kVlans; ++vlan)
            p.vlan_pairs.push_back(edges.pair(of[side][vlan], of[1 - side][vlan]));
    }
    return {};
}

constexpr Checksums checksums_of(ChecksumMode mode) {
    switch (mode) {
        case ChecksumMode::off: break;
        case ChecksumMode::nic: return Checksums::nic;
        case ChecksumMode::full: return Checksums::full;
    }
    return Checksums::off;
}

Result<std::vector<PortPlan>> ports_of(const Spec& spec, Edges& edges, Names& names) {
    std::vector<PortPlan> out;
    for (const PortSpec& p : spec.ports) {
        PortPlan plan;
        plan.name = p.name;
        plan.zones = {EdgeId(p.zone.number()), EdgeId(p.zone.number())};
        plan.checksums = checksums_of(p.checksums);
        out.push_back(plan);
    }
    for (std::size_t b = 0; b < spec.bridges.size(); ++b) {
        const BridgeSpec& bridge = spec.bridges[b];
        for (int side = 0; side < 2; ++side) {
            PortPlan& p = out[bridge.ports[side].number()];
            p.has_peer = true;
            p.peer = bridge.ports[1 - side];
            p.ct_zone = bridge.ct_zone;
            p.vlan_zones = bridge.vlan_zones;
            p.routing_headers = bridge.routing_headers;
            p.pass_all_non_ip = bridge.pass.all_non_ip;
            p.pass_bpdu = bridge.pass.llc;
            p.pass_cisco = bridge.pass.cdp;
            p.pass_isis = bridge.pass.isis;
            p.pass_nd = bridge.pass.neighbour_discovery;
            p.pass_ethertypes = bridge.pass.ethertypes;
        }
        if (auto joined = join_zones(spec, bridge, out, edges, names); !joined)
            return joined.error();
    }
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i].fill_images(PortId::from(i));
    return out;
}

RuleRate rate_of(const RateSpec& spec, std::uint32_t burst) {
    if (spec.number == 0) return {};
    const std::uint64_t period = std::uint64_t{spec.period_s} * 1000 * RuleRate::kUnitsPerMs;
    const std::uint64_t cost = std::max<std::uint64_t>((period + spec.number / 2) / spec.number, 1);
    return {cost, cost * (burst != 0 ? burst : spec.number)};
}
RuleLimit limit_of(const LimitSpec& all) {
    const PerSourceSpec& one = all.per_source;
    return {.connections = rate_of(all.connections, all.burst),
            .source_connections = rate_of(one.connections, one.burst),
            .packets = rate_of(all.packets, all.burst),
            .source_packets = rate_of(one.packets, one.burst),
            .at_once = all.at_once,
            .source_at_once = one.at_once};
}

void log_plan_of(const LogSpec& spec, unsigned workers, LogPlan& out) {
    out.of_default = spec.of_default.share(workers);
    out.drops |= bool(spec.of_default);
    for (unsigned r = 0; r < kDropReasons; ++r) {
        out.of_reasons[r] = spec.of_reasons[r].share(workers);
        out.drops |= bool(spec.of_reasons[r]);
    }
}

/// A new set gets the contents that its description names; one that is known keeps its own.
std::vector<SetPlan> sets_of(const Spec& spec, const CompileOptions& options) {
    std::vector<SetPlan> out;
    const auto shared = options.set_shared ? options.set_shared : std::make_shared<SetShared>();
    for (const LiveSetSpec& s : spec.sets) {
        SetPlan& plan = out.emplace_back(SetPlan{s.name, s.max, s.timeout_s, nullptr});
        if (const auto known = options.sets.find(s.name); known != options.sets.end()) {
            plan.set = known->second;
            continue;
        }
        plan.set = std::make_shared<LiveSet>(shared);
        if (s.entries == nullptr) continue;
        for (const TimedPrefix& e : *s.entries)
            plan.set->add({e.prefix, plan.set->until(e.timeout_s.value_or(s.timeout_s))});
    }
    return out;
}

}  // namespace

std::vector<bool> rules_in_force(const Spec& spec, std::int64_t wall_s) {
    std::vector<bool> out;
    for (const RuleSpec& r : spec.policy.rules)
        out.push_back(!r.schedule || r.schedule->active_at(wall_s));
    return out;
}

Result<Plan> compile(const Spec& configured, const Names& previous, const Catalogue& catalogue,
                     const CompileOptions& options) {
    Spec spec = configured;
    Plan plan;
    const std::vector<bool> in_force = rules_in_force(spec, options.wall_s);
    for (std::size_t i = 0; i < in_force.size(); ++i)
        if (!in_force[i]) spec.policy.rules[i].enabled = false;
    Names names = previous;
    names.begin_plan();
    auto helpers = HelperInstances::create(
        spec, names.helpers,
        {catalogue.find_helper, options.workers, options.scanner_cache, options.previous_helpers});
    if (!helpers) return helpers.error();
    const auto end_of = [&options](std::string_view step) {
        if (options.times != nullptr) options.times->end_of(step);
    };
    end_of("patterns of helpers");
    plan.helper_instances = std::move(helpers.value());
    for (const HelperId id : plan.helper_instances->ids())
        plan.helpers_in_service |= std::uint64_t{1} << id;
    auto numbered = number_names(spec, names);
    if (!numbered) return numbered.error();
    const Numbers& numbers = numbered.value();
    plan.edges = edges_of(spec, numbers);
    auto ports = ports_of(spec, plan.edges, names);
    if (!ports) return ports.error();
    plan.ports = std::move(ports.value());
    names.end_plan();
    put_gone_edges(names.edges, plan.edges);
    plan.recheck = spec.policy.on_change == OnChange::recheck;
    plan.sweep = names.has_gone() || plan.recheck;
    plan.some_without_peer =
        !std::ranges::all_of(plan.ports, [](const PortPlan& p) { return p.has_peer; });
    plan.workers = options.workers;
    plan.believe_checksums = options.believe_checksums;
    if (options.believe_checksums)
        for (PortPlan& port : plan.ports)
            port.checksums = Checksums::off;
    std::vector<std::pair<Prefix, ZoneId>> prefixes;
    for (std::size_t z = 0; z < spec.zones.size(); ++z)
        for (const Prefix& p : spec.zones[z].prefixes)
            prefixes.emplace_back(p, numbers.zones[z]);
    if (!prefixes.empty()) {
        auto built = ZonePrefixes::build(prefixes);
        if (!built) return built.error();
        plan.zone_prefixes = std::move(built.value());
    }
    plan.rules.resize(names.rules.end());
    plan.effects.resize(names.rules.end());
    plan.fallback = to_policy_action(spec.policy.fallback);
    for (std::size_t i = 0; i < spec.policy.rules.size(); ++i) {
        const RuleSpec& r = spec.policy.rules[i];
        const RuleId id = numbers.rules[i];
        plan.rule_lines.push_back({id, to_policy_action(r.action), in_force[i]});
        plan.rules[id.number()] = r.name;
        RuleEffect& effect = plan.effects[id.number()];
        effect = {.mark = r.set.mark,
                  .mark_mask = r.set.mark_mask,
                  .label = r.set.label,
                  .label_mask = r.set.label_mask,
                  .timeouts = r.timeouts,
                  .liberal = r.liberal || r.track == TrackMode::sloppy,
                  .sloppy = r.track == TrackMode::sloppy,
                  .untracked = r.track == TrackMode::no,
                  .log = r.log.share(options.workers)};
        plan.log.drops |= r.enabled && r.log && r.action != RuleAction::accept;
        plan.asks_about_all |= r.enabled && r.track != TrackMode::yes;
        if (r.limit && r.enabled) {
            plan.limits.push_back(limit_of(*r.limit));
            effect.limit = static_cast<std::uint16_t>(plan.limits.size());
            // Running connections of the rule are counted from now on, too.
            plan.sweep |= plan.limits.back().counts();
        }
        if (!r.expect) continue;
        plan.expects.push_back({.protocol = r.expect->protocol,
                                .to_server = r.expect->to_server,
                                .first_port = r.expect->dport.first,
                                .last_port = r.expect->dport.last,
                                .timeout_ms = r.expect->timeout_s * 1000,
                                .class_max = r.expect->max,
                                .permanent = r.expect->permanent});
        effect.expects = static_cast<std::uint16_t>(plan.expects.size());
    }
    log_plan_of(spec.log, options.workers, plan.log);
    plan.helpers = helper_plans_of(spec, *plan.helper_instances);
    plan.helpers.resize(names.helpers.end() - 1);
    for (std::size_t h = 0; h < spec.helpers.size(); ++h)
        for (const std::uint16_t port : spec.helpers[h].ports)
            for (const std::uint8_t protocol : spec.helpers[h].protocols)
                plan.helper_ports.add(
                    {port, protocol, plan.helper_instances->ids()[h], spec.helpers[h].auto_assign});
    plan.track.timeouts[0] = Timeouts::of(spec.timeouts);
    plan.visit_ms = visit_ms_of(plan.track.timeouts[0]);
    plan.track.timeouts.fill(plan.track.timeouts[0]);  // also of removed profiles
    plan.timeout_names.resize(names.timeouts.end() - 1);
    for (std::size_t i = 0; i < spec.timeout_profiles.size(); ++i) {
        const std::uint8_t number = numbers.timeouts[i + 1];
        plan.timeout_names[number - 1u] = spec.timeout_profiles[i].name;
        plan.track.timeouts[number] = Timeouts::of(spec.timeout_profiles[i].timeouts);
        plan.visit_ms = std::min(plan.visit_ms, visit_ms_of(plan.track.timeouts[number]));
    }
    for (const std::string& name : spec.pipeline)
        plan.stages.push_back(catalogue.find_stage(name));
    if (const auto wrong = catalogue.order_problem(plan.stages))
        return Error{"pipeline: " + *wrong};
    end_of("policy");
    plan.sets = sets_of(spec, options);
    end_of("sets");
    PolicyLiveSets live_sets;
    for (const SetPlan& s : plan.sets)
        live_sets.push_back(s.set);
    auto policy = build_policy(spec, numbers.rules, std::move(live_sets));
    if (!policy) return policy.error();
    plan.policy = std::move(policy.value());
    end_of("policy");
    plan.names = std::move(names);
    if (options.as_compiled != nullptr) *options.as_compiled = std::move(spec);
    return plan;
}

}  // namespace postern
