// SPDX-License-Identifier: BSD-3-Clause
#include "plan/policy_rules.h"

#include <algorithm>

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

/// The index in the Spec of each rule of the policy.
std::vector<std::size_t> enabled_rules(const Spec& spec) {
    std::vector<std::size_t> out;
    for (std::size_t i = 0; i < spec.policy.rules.size(); ++i)
        if (spec.policy.rules[i].enabled) out.push_back(i);
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
        out.ids.push_back(ids.empty() ? RuleId::from(i) : ids[i]);
        out.rules.push_back({
            .from = r.from,
            .to = r.to,
            .family = r.family,
            .src = r.src,
            .dst = r.dst,
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
        });
    }
    return out;
}

Result<std::unique_ptr<Policy>> build_policy(const Spec& spec, const std::vector<RuleId>& ids) {
    PolicyRules rules = to_policy_rules(spec, ids);
    const std::vector<std::size_t> enabled = enabled_rules(spec);
    rules.name_of = [&](std::size_t i) {
        const RuleSpec& r = spec.policy.rules[enabled[i]];
        return "rule " + r.name + " (line " + std::to_string(r.where.line) + ")";
    };
    return Policy::build(rules);
}

std::vector<Diagnostic> shadow_warnings(const Spec& spec, const Policy& policy,
                                        const std::string& file) {
    const std::vector<std::size_t> enabled = enabled_rules(spec);
    std::vector<Diagnostic> out;
    for (const ShadowedRule& s : shadowed_rules(to_policy_rules(spec), policy)) {
        const RuleSpec& rule = spec.policy.rules[enabled[s.rule]];
        const RuleSpec& by = spec.policy.rules[enabled[s.by]];
        // At other times the later one may match.
        if (by.schedule) continue;
        out.push_back({file, rule.where.line, rule.where.column,
                       "policy.rules[" + std::to_string(enabled[s.rule]) +
                           "]: can never match: \"" + by.name + "\" (line " +
                           std::to_string(by.where.line) + ") matches all that it does"});
    }
    return out;
}

}  // namespace postern
