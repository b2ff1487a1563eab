// SPDX-License-Identifier: BSD-3-Clause
// A rule of the policy for the matcher: names resolved, no YAML. Built on the control thread from
// the configuration; workers read only the Policy made from it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/types.h"
#include "net/addr.h"
#include "net/address_set.h"

namespace postern {

enum class PolicyAction : std::uint8_t {
    drop,
    reject,  ///< drop, and answer the sender
    accept
};

constexpr const char* to_string(PolicyAction a) noexcept {
    constexpr const char* kNames[] = {"drop", "reject", "accept"};
    return kNames[static_cast<unsigned>(a)];
}

/// First and last value, both included.
struct PolicyRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
};

class LiveSet;

/// Live sets, a bit each (PolicyRules::sets): an address must be in one of `any`, if there are any,
/// and in none of `none`. The bits of `any` are of one byte: a byte is a field by itself.
struct PolicySets {
    std::uint32_t any = 0, none = 0;

    bool is_any() const noexcept { return (any | none) == 0; }
    friend constexpr bool operator==(const PolicySets&, const PolicySets&) = default;
};
inline constexpr unsigned kMaxPolicySets = 32, kPolicySetBytes = kMaxPolicySets / 8;

/// All conditions must hold; of a list one item must match; an empty list means "any". The first
/// rule that matches decides.
struct PolicyRule {
    std::vector<ZoneId> from;
    std::vector<ZoneId> to;
    Family family = Family::none;  ///< none = both
    AddressSet src;                ///< addresses of a family that `family` excludes are ignored
    AddressSet dst;
    PolicySets src_sets;
    PolicySets dst_sets;
    std::vector<std::uint8_t> protocols;
    std::vector<PolicyRange> sport;  ///< host byte order
    std::vector<PolicyRange> dport;
    /// Pairs of protocol and destination port, protocol * 65536 + port, in place of `protocols` and
    /// `dport`; null: none.
    std::shared_ptr<const NumberSet<std::uint32_t>> services = nullptr;
    std::vector<std::uint8_t> icmp_types;  ///< only with dport empty; see icmp_port()
    std::vector<PolicyRange> vlan;         ///< of PolicyLink, like the next two
    std::vector<PolicyRange> dscp;
    std::vector<PolicyRange> in_port;
    bool match_new = true;
    bool match_related = true;
    std::vector<HelperId> related;  ///< helpers whose expectations match_related covers
    std::uint32_t mark = 0;         ///< inherited, under the mask
    std::uint32_t mark_mask = 0;    ///< 0: any
    bool untracked = false;         ///< makes no connections, so it may accept errors about none
    PolicyAction action = PolicyAction::drop;
    HelperId helper = kNoHelper;  ///< returned with the verdict
};

struct PolicyRules {
    std::vector<PolicyRule> rules;
    std::vector<RuleId> ids;  ///< of the rules, in their order; empty: their index
    PolicyAction fallback = PolicyAction::drop;  ///< if no rule matches
    /// By their bits. One that is missing, or null, has no address.
    std::vector<std::shared_ptr<const LiveSet>> sets = {};
    /// Names a rule in messages, by its index; unset: "rule INDEX".
    std::function<std::string(std::size_t)> name_of = {};
};

}  // namespace postern
