// SPDX-License-Identifier: BSD-3-Clause
// Policy: the verdict on new connections. The rules of the configuration, compiled into one rte_acl
// trie for IPv4 and one for IPv6.
//
// Called by: build() by control; classify() by workers, for the packets of a burst without a
// connection, and for ICMP errors about one if a rule names types. Packets of an accepted
// connection never come back here. Life-cycle: built whole, never changed. A new configuration is a
// new Policy; its owner replaces the pointer and destroys the old one after a grace period.
// Synchronisation: none needed. classify() reads only, so all workers share one Policy. Cost: a
// trie walk of one dependent load for every 4 bytes of key (24 bytes for IPv4, 44 for IPv6),
// several packets interleaved by rte_acl, plus packing the key. Independent of the number of rules
// until the tries outgrow the cache.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "policy/query.h"
#include "policy/rule.h"

struct rte_acl_ctx;

namespace postern {

struct PolicyVerdict {
    RuleId rule = kNoRule;  ///< kNoRule: none matched, and the default decided
    PolicyAction action = PolicyAction::drop;
    HelperId helper = kNoHelper;  ///< helper of the connection, if accepted

    friend constexpr bool operator==(const PolicyVerdict&, const PolicyVerdict&) = default;
};

class Policy {
  public:
    /// Needs an initialised EAL, whose heap holds the tries. Fails on too many rules (more than
    /// kMaxPolicyRules, or lists that multiply to more than kMaxPolicyMatches) and on lack of
    /// memory.
    static Result<std::unique_ptr<Policy>> build(const PolicyRules& rules, int socket_id = -1);

    /// verdicts[i] for each packet i of the burst.
    void classify(const PolicyBurst& burst, PolicyVerdict* verdicts) const noexcept;

    /// Whether a rule may match an ICMP error about a connection: one that names types.
    bool judges_errors() const noexcept { return judges_errors_; }

    /// Entries in the trie of a family: the product of the rules' lists.
    std::size_t matches(Family family) const noexcept {
        return family == Family::ipv6 ? matches6_ : matches4_;
    }

    /// Contexts for each query of a family; more than one only for sets of rules with strong
    /// overlaps, see policy.cc.
    std::size_t parts(Family family) const noexcept {
        return (family == Family::ipv6 ? parts6_ : parts4_).size();
    }

    Policy(const Policy&) = delete;
    Policy& operator=(const Policy&) = delete;

  private:
    struct AclDeleter {
        void operator()(rte_acl_ctx* ctx) const noexcept;
    };
    using Acl = std::unique_ptr<rte_acl_ctx, AclDeleter>;

    using Parts = std::vector<Acl>;

    Policy() = default;
    template <class Key>
    Result<void> build_parts(const PolicyRules& rules, int socket_id, Parts& parts,
                             std::size_t& matches);
    template <class Key>
    void answer(const FamilyKeys<Key>& family, const Parts& parts,
                PolicyVerdict* verdicts) const noexcept;

    Parts parts4_;  ///< queried in this order; normally one, none if no rule can match the family
    Parts parts6_;
    std::vector<PolicyVerdict> verdicts_;  ///< of the rules, in their order
    PolicyAction fallback_ = PolicyAction::drop;
    bool judges_errors_ = false;
    std::size_t matches4_ = 0;
    std::size_t matches6_ = 0;
};

inline constexpr std::size_t kMaxPolicyRules = 65000;
inline constexpr std::size_t kMaxPolicyMatches = 262144;  ///< a family

}  // namespace postern
