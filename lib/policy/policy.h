// SPDX-License-Identifier: BSD-3-Clause
// Policy: the verdict on new connections. Each field of a query has its own index, which returns
// the rules that accept the field's value; the first rule in all of these sets decides.
//
// Called by: build() by control; classify() by workers, for the packets of a burst without a
// connection, and for ICMP errors about one if a rule names types. Packets of an accepted
// connection never come back here. Life-cycle: built whole, never changed, except for
// the contents of live sets, which it refers to. A new configuration is a new Policy; its owner
// replaces the pointer and destroys the old one after a grace period. Synchronisation: none needed.
// classify() reads only, so all workers share one Policy. Cost: a search of each address and each
// port (four or five lines at 100,000 values), then the intersection: of up to 512 rules one block
// of 64 bytes a field, of more rules the blocks that their summaries leave, typically two or three.
// The most is all blocks: 135 for 65,000 rules.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "policy/field_index.h"
#include "policy/query.h"
#include "policy/rule.h"
#include "policy/rule_bits.h"

namespace postern {

struct PolicyVerdict {
    RuleId rule = kNoRule;  ///< kNoRule: none matched, and the default decided
    PolicyAction action = PolicyAction::drop;
    HelperId helper = kNoHelper;  ///< helper of the connection, if accepted

    friend constexpr bool operator==(const PolicyVerdict&, const PolicyVerdict&) = default;
};

inline constexpr std::size_t kMaxPolicyRules = 65000;
inline constexpr std::size_t kMaxPolicyBytes = std::size_t{1} << 30;

class Policy {
  public:
    /// Fails on too many rules (more than kMaxPolicyRules), and on rules that overlap so much that
    /// their sets exceed `max_bytes`.
    static Result<std::unique_ptr<Policy>> build(const PolicyRules& rules,
                                                 std::size_t max_bytes = kMaxPolicyBytes);

    /// verdicts[i] for each packet i of the burst.
    void classify(const PolicyBurst& burst, PolicyVerdict* verdicts) const noexcept;

    /// For control: the rules that match, in their order and by their index; at most `most`. Looks
    /// up no live set, so any thread may call it.
    std::vector<std::uint32_t> matching(const PolicyQuery& query, std::size_t most) const;

    /// Whether a rule may match an ICMP error about a connection: one that names types.
    bool judges_errors() const noexcept { return judges_errors_; }
    /// Whether a rule matches VLANs, DSCP or input ports. Else links of queries are not read.
    bool judges_links() const noexcept { return judges_links_; }
    /// Whether a rule names live sets.
    bool judges_sets() const noexcept { return !set_fields_.empty(); }

    /// Memory of sets and indexes.
    std::size_t bytes() const noexcept;

    Policy(const Policy&) = delete;
    Policy& operator=(const Policy&) = delete;

  private:
    class Builder;
    /// A field that no rule matches has no index.
    struct ByteField {
        std::size_t offset;  ///< in PolicyKeyBytes
        ByteIndex index;
    };
    template <class Index>
    struct AddressIndexes {
        std::optional<Index> src, dst;
    };

    /// The same by its offset in PolicyLink.
    using LinkField = ByteField;
    /// Eight sets of one side.
    struct SetField {
        bool of_dst;
        unsigned byte;  ///< of the sets' bits, the least significant first
        ByteIndex index;
    };
    /// The sets that contain the addresses of a burst's queries.
    struct SetBits;

    struct Found;

    explicit Policy(RuleBits bits) : bits_(std::move(bits)) {}
    template <class Key, class Index>
    void find_all(const FamilyKeys<Key>& family, const AddressIndexes<Index>& addresses,
                  Found& found) const noexcept;
    template <class Key, class Index>
    void answer(const FamilyKeys<Key>& family, const AddressIndexes<Index>& addresses,
                PolicyVerdict* verdicts) const noexcept;
    void find_links(const PolicyLink* links, unsigned n, Found& found) const noexcept;
    template <class Key>
    void look_up_sets(const FamilyKeys<Key>& family, Found& found) const noexcept;
    void find_sets(const SetBits& bits, unsigned n, Found& found) const noexcept;

    RuleBits bits_;
    AddressIndexes<NumberIndex> ipv4_;
    AddressIndexes<WideIndex> ipv6_;
    std::optional<NumberIndex> service_;  ///< protocol and destination port together
    std::optional<NumberIndex> sport_;
    std::optional<TripleIndex> context_;  ///< both zones and the origin together
    std::vector<ByteField> byte_fields_;  ///< the others, or all
    std::optional<NumberIndex> vlan_;
    std::vector<LinkField> link_fields_;  ///< DSCP and input port
    std::vector<SetField> set_fields_;
    std::vector<std::shared_ptr<const LiveSet>> sets_;  ///< by their bits
    std::uint32_t src_sets_ = 0, dst_sets_ = 0;         ///< those that rules name and that exist
    std::vector<PolicyVerdict> verdicts_;               ///< of the rules, in their order
    PolicyAction fallback_ = PolicyAction::drop;
    bool judges_errors_ = false;
    bool judges_links_ = false;
};

}  // namespace postern
