// SPDX-License-Identifier: BSD-3-Clause
#include "plan/policy_rules.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "policy/shadow.h"

namespace postern {

PolicyAction to_policy_action(RuleAction a) {
    switch (a) {
        case RuleAction::accept: return PolicyAction::accept;
        case RuleAction::reject: return PolicyAction::reject;
        case RuleAction::drop: break;
    }
    return PolicyAction::drop;
}

namespace {

std::vector<PolicyRange> to_ranges(const std::vector<PortRange>& list) {
    std::vector<PolicyRange> out;
    for (const auto& r : list)
        out.push_back({r.first, r.last});
    return out;
}

/// From these sets of numbers, each below 65,536.
std::vector<PolicyRange> to_ranges(const NumberSet<std::uint32_t>& set) {
    std::vector<PolicyRange> out;
    for (const auto& r : set)
        out.push_back({static_cast<std::uint16_t>(r.first), static_cast<std::uint16_t>(r.last)});
    return out;
}

/// The input ports from which a bridge leads to the rule's output ports; empty: any.
std::vector<PolicyRange> in_ports_of(const Spec& spec, const RuleSpec& rule) {
    if (rule.in_port.empty() && rule.out_port.empty()) return {};
    const auto within = [](const std::vector<PortId>& list, PortId port) {
        return list.empty() || std::ranges::find(list, port) != list.end();
    };
    std::vector<PolicyRange> out;
    for (const BridgeSpec& bridge : spec.bridges)
        for (const unsigned side : {0u, 1u}) {
            const std::uint16_t number = bridge.ports[side].number();
            if (within(rule.in_port, bridge.ports[side]) &&
                within(rule.out_port, bridge.ports[1 - side]))
                out.push_back({number, number});
        }
    return out;
}

/// One of the alternatives of a condition on an address.
struct Side {
    AddressSet list;
    PolicySets sets;
};
/// The policy has no "or" between fields, and its fields are the addresses and each byte of sets.
std::vector<Side> sides_of(const AddressSet& list, const SetCondition& sets) {
    if (sets.any == 0) return {{list, {0, sets.none}}};
    std::vector<Side> out;
    if (list.has(Family::ipv4) || list.has(Family::ipv6)) out.push_back({list, {0, sets.none}});
    for (unsigned b = 0; b < kPolicySetBytes; ++b)
        if (const std::uint32_t any = sets.any & 0xffu << 8 * b; any != 0)
            out.push_back({sets.within, {any, sets.none}});
    return out;
}
static_assert(kMaxSets == kMaxPolicySets);

/// The index in the Spec of each rule of the policy.
std::vector<std::size_t> origins_of_rules(const Spec& spec) {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < spec.policy.rules.size(); ++i) {
        const RuleSpec& r = spec.policy.rules[i];
        if (r.enabled)
            out.insert(out.end(),
                       sides_of(r.src, r.src_sets).size() * sides_of(r.dst, r.dst_sets).size(), i);
    }
    return out;
}

}  // namespace

PolicyRules to_policy_rules(const Spec& spec, const std::vector<RuleId>& ids) {
    PolicyRules out;
    out.fallback = to_policy_action(spec.policy.fallback);
    out.rules.reserve(spec.policy.rules.size());
    for (std::size_t i = 0; i < spec.policy.rules.size(); ++i) {
        const RuleSpec& r = spec.policy.rules[i];
        if (!r.enabled) continue;
        const auto sources = sides_of(r.src, r.src_sets);
        const auto destinations = sides_of(r.dst, r.dst_sets);
        PolicyRule rule{
            .from = r.from,
            .to = r.to,
            .family = r.family,
            .src = {},
            .dst = {},
            .src_sets = {},
            .dst_sets = {},
            .protocols = r.protocols,
            .sport = to_ranges(r.sport),
            .dport = to_ranges(r.dport),
            .services = r.services,
            .icmp_types = r.icmp_types,
            .vlan = to_ranges(r.vlan),
            .dscp = to_ranges(r.dscp),
            .in_port = in_ports_of(spec, r),
            .match_new = r.match_new,
            .match_related = r.match_related,
            .related = r.related,
            .mark = r.mark,
            .mark_mask = r.mark_mask,
            .untracked = r.track == TrackMode::no,
            .action = to_policy_action(r.action),
            .helper = r.helper,
        };
        for (const Side& source : sources)
            for (const Side& destination : destinations) {
                rule.src = source.list;
                rule.src_sets = source.sets;
                rule.dst = destination.list;
                rule.dst_sets = destination.sets;
                out.ids.push_back(ids.empty() ? RuleId::from(i) : ids[i]);
                out.rules.push_back(rule);
            }
    }
    return out;
}

Result<std::unique_ptr<Policy>> build_policy(const Spec& spec, const std::vector<RuleId>& ids,
                                             PolicyLiveSets sets) {
    const std::vector<std::size_t> origins = origins_of_rules(spec);
    if (origins.size() > kMaxPolicyRules) {
        const RuleSpec& r = spec.policy.rules[origins[kMaxPolicyRules]];
        return Error{"line " + std::to_string(r.where.line) + ": rule " + r.name +
                     " is above the limit of " + std::to_string(kMaxPolicyRules) +
                     " rules; a rule with sets beside other addresses counts several times"};
    }
    PolicyRules rules = to_policy_rules(spec, ids);
    rules.sets = std::move(sets);
    rules.name_of = [&](std::size_t i) {
        const RuleSpec& r = spec.policy.rules[origins[i]];
        return "rule " + r.name + " (line " + std::to_string(r.where.line) + ")";
    };
    return Policy::build(rules);
}

std::vector<Diagnostic> shadow_warnings(const Spec& spec, const Policy& policy,
                                        const std::string& file) {
    const std::vector<std::size_t> origins = origins_of_rules(spec);
    const auto shadowed = shadowed_rules(to_policy_rules(spec), policy);
    std::vector<Diagnostic> out;
    auto next = shadowed.begin();
    for (std::size_t first = 0, end = 0; first < origins.size(); first = end) {
        // All parts of a rule have to be covered by rules that are there at all times. The first
        // part has no other part of its rule before it, so `by` is another rule.
        std::size_t covered = 0;
        const RuleSpec* by = nullptr;
        bool several = false;
        for (; end < origins.size() && origins[end] == origins[first]; ++end) {
            if (next == shadowed.end() || next->rule != end) continue;
            const RuleSpec& other = spec.policy.rules[origins[next++->by]];
            if (other.schedule) continue;
            ++covered;
            if (by == nullptr) by = &other;
            several |= by != &other;
        }
        if (covered != end - first) continue;
        const RuleSpec& rule = spec.policy.rules[origins[first]];
        out.push_back({file, rule.where.line, rule.where.column,
                       "policy.rules[" + std::to_string(origins[first]) + "]: can never match: \"" +
                           by->name + "\" (line " + std::to_string(by->where.line) + ")" +
                           (several ? " and others match" : " matches") + " all that it does"});
    }
    return out;
}

}  // namespace postern
