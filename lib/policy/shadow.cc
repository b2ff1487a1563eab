// SPDX-License-Identifier: BSD-3-Clause
#include "policy/shadow.h"

#include <algorithm>
#include <array>
#include <optional>

#include "policy/query.h"
#include "policy/rule_fields.h"

namespace postern {
namespace {

constexpr std::size_t kMostEarlier = 64;        // rules compared with one rule
constexpr std::size_t kMostCompared = 500'000;  // of all together: a second or two

template <class T>
bool covers_list(const std::vector<T>& list, const NumberSet<std::uint8_t>& set,
                 const std::vector<T>& other, const NumberSet<std::uint8_t>& other_set) {
    return list.empty() || (!other.empty() && includes(set, other_set));
}

/// The origins that matter to a comparison.
NumberSet<std::uint8_t> compared_origins(const PolicyRule& r) {
    NumberSet<std::uint8_t> origins = origins_of(r);
    if (!r.icmp_types.empty() || r.untracked) return origins;
    return intersection(origins, NumberSet<std::uint8_t>{{kOriginNew, kOriginError}});
}

bool covers_list(const std::vector<PolicyRange>& list, const std::vector<PolicyRange>& other) {
    return list.empty() || (!other.empty() && includes(numbers_of<std::uint32_t>(list),
                                                       numbers_of<std::uint32_t>(other)));
}

/// Whether sets of one condition may hold what they please: of each byte.
bool covers_sets(const PolicySets& sets, const PolicySets& other) {
    for (unsigned b = 0; b < kPolicySetBytes && !sets.is_any(); ++b)
        if (!includes(set_bytes(sets, b), set_bytes(other, b))) return false;
    return true;
}
/// Bits that the condition accepts; nothing if it accepts none.
std::optional<std::uint32_t> bits_of(const PolicySets& sets) {
    const std::uint32_t usable = sets.any & ~sets.none;
    if (sets.any != 0 && usable == 0) return std::nullopt;
    return usable & -usable;
}

/// A packet that the rule matches; nothing if it matches none.
std::optional<PolicyQuery> a_packet_of(const PolicyRule& r) {
    const auto origins = compared_origins(r);
    const auto services = services_of(r);
    const auto src_sets = bits_of(r.src_sets), dst_sets = bits_of(r.dst_sets);
    if (origins.empty() || services.empty() || !src_sets || !dst_sets) return std::nullopt;
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        if (r.family != Family::none && r.family != family) continue;
        const auto src = r.src.first(family), dst = r.dst.first(family);
        if (!src || !dst) continue;
        PolicyQuery q;
        q.tuple = {*src, *dst,
                   Be16::from_host(r.sport.empty() ? std::uint16_t{0} : r.sport.front().first),
                   Be16::from_host(static_cast<std::uint16_t>(services.front().first)),
                   static_cast<std::uint8_t>(services.front().first >> 16)};
        q.context.from = r.from.empty() ? ZoneId{0} : r.from.front();
        q.context.to = r.to.empty() ? ZoneId{0} : r.to.front();
        q.context.mark = r.mark;
        q.src_sets = *src_sets;
        q.dst_sets = *dst_sets;
        if (!r.vlan.empty()) q.link.vlan = r.vlan.front().first;
        if (!r.dscp.empty()) q.link.dscp = static_cast<std::uint8_t>(r.dscp.front().first);
        if (!r.in_port.empty()) q.link.in_port = static_cast<std::uint8_t>(r.in_port.front().first);
        const std::uint8_t origin = origins.front().first;
        if (origin == kOriginUnknownError)
            q.context.state = CtState::invalid;
        else if (origin == kOriginNamed)
            q.context.state = CtState::untracked;
        else if (origin == kOriginError)
            q.context.state = CtState::established;
        else if (origin > kOriginNew) {
            q.context.state = CtState::related;
            q.context.related_by = static_cast<HelperId>(origin - origin_related(kNoHelper));
        }
        return q;
    }
    return std::nullopt;
}

}  // namespace

bool covers(const PolicyRule& rule, const PolicyRule& other) {
    return covers_list(rule.from, zones_of(rule.from), other.from, zones_of(other.from)) &&
           covers_list(rule.to, zones_of(rule.to), other.to, zones_of(other.to)) &&
           (rule.family == Family::none || rule.family == other.family) &&
           rule.src.includes(other.src) && rule.dst.includes(other.dst) &&
           covers_sets(rule.src_sets, other.src_sets) &&
           covers_sets(rule.dst_sets, other.dst_sets) && covers_list(rule.sport, other.sport) &&
           covers_list(rule.vlan, other.vlan) && covers_list(rule.dscp, other.dscp) &&
           covers_list(rule.in_port, other.in_port) && (rule.mark_mask & ~other.mark_mask) == 0 &&
           (other.mark & rule.mark_mask) == rule.mark &&
           includes(origins_of(rule), compared_origins(other)) &&
           includes(services_of(rule), services_of(other));
}

std::vector<ShadowedRule> shadowed_rules(const PolicyRules& rules, const Policy& policy) {
    std::vector<ShadowedRule> out;
    std::size_t compared = 0;
    for (std::size_t i = 0; i < rules.rules.size() && compared < kMostCompared; ++i) {
        const auto packet = a_packet_of(rules.rules[i]);
        if (!packet) continue;
        for (const std::uint32_t earlier : policy.matching(*packet, kMostEarlier)) {
            if (earlier >= i) break;
            ++compared;
            if (!covers(rules.rules[earlier], rules.rules[i])) continue;
            out.push_back({i, earlier});
            break;
        }
    }
    return out;
}

}  // namespace postern
