// SPDX-License-Identifier: BSD-3-Clause
#include "plan/policy_rules.h"

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

}  // namespace

PolicyRules to_policy_rules(const Spec& spec, std::vector<RuleId> ids) {
    PolicyRules out;
    out.ids = std::move(ids);
    out.fallback = to_policy_action(spec.policy.fallback);
    out.rules.reserve(spec.policy.rules.size());
    for (const auto& r : spec.policy.rules)
        out.rules.push_back({
            .from = r.from,
            .to = r.to,
            .family = r.family,
            .src = r.src,
            .dst = r.dst,
            .protocols = r.protocols,
            .sport = to_ranges(r.sport),
            .dport = to_ranges(r.dport),
            .icmp_types = r.icmp_types,
            .match_new = r.match_new,
            .match_related = r.match_related,
            .related = r.related,
            .mark = r.mark,
            .mark_mask = r.mark_mask,
            .untracked = r.track == TrackMode::no,
            .action = to_policy_action(r.action),
            .helper = r.helper,
        });
    return out;
}

Result<std::unique_ptr<Policy>> build_policy(const Spec& spec, std::vector<RuleId> ids) {
    PolicyRules rules = to_policy_rules(spec, std::move(ids));
    rules.name_of = [&spec](std::size_t i) {
        const RuleSpec& r = spec.policy.rules[i];
        return "rule " + r.name + " (line " + std::to_string(r.where.line) + ")";
    };
    return Policy::build(rules);
}

}  // namespace postern
