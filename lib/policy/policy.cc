// SPDX-License-Identifier: BSD-3-Clause
#include "policy/policy.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <deque>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "net/bytes.h"
#include "policy/rule_fields.h"
#include "sets/live_set.h"

namespace postern {
namespace {

/// Of one query: source, destination, service, source port, the bytes, those of the link, and the
/// sets of both sides.
constexpr std::size_t kMaxFields = 4 + sizeof(PolicyKeyBytes) + 3 + 2 * kPolicySetBytes;

std::vector<std::uint8_t> sections_of(const PolicyRules& rules) {
    std::vector<std::uint8_t> out;
    for (const PolicyRule& r : rules.rules)
        out.push_back(static_cast<std::uint8_t>(
            (r.src.is_any() ? 1 : 0) | (r.dst.is_any() ? 2 : 0) | (names_ports(r) ? 0 : 4)));
    return out;
}

}  // namespace

/// The sets of a burst's queries, field by field, so that their searches overlap.
struct Policy::Found {
    RuleSetId sets[kMaxFields][kMaxBurst];
    unsigned fields = 0;
};

struct Policy::SetBits {
    std::uint32_t src[kMaxBurst], dst[kMaxBurst];
};

/// Adds the indexes of the fields, one after the other.
class Policy::Builder {
  public:
    Builder(const PolicyRules& rules, std::size_t max_bytes, Policy& policy)
        : rules_(rules), max_bytes_(max_bytes), policy_(policy) {}

    bool ok() const noexcept { return error_.empty(); }
    Error error() const { return Error{error_}; }

    void addresses() {
        address(policy_.ipv4_.src, &PolicyRule::src, Family::ipv4, &Addresses::ipv4);
        address(policy_.ipv4_.dst, &PolicyRule::dst, Family::ipv4, &Addresses::ipv4);
        address(policy_.ipv6_.src, &PolicyRule::src, Family::ipv6, &Addresses::ipv6);
        address(policy_.ipv6_.dst, &PolicyRule::dst, Family::ipv6, &Addresses::ipv6);
    }
    void ports() {
        numbers(
            policy_.service_, "destination ports",
            [](const PolicyRule& r) { return !r.protocols.empty() || names_ports(r); },
            services_of);
        numbers(
            policy_.sport_, "source ports", [](const PolicyRule& r) { return !r.sport.empty(); },
            [](const PolicyRule& r) { return numbers_of<std::uint32_t>(r.sport); });
    }
    void bytes() {
        const auto from = byte([](const PolicyRule& r) { return !r.from.empty(); },
                               [](const PolicyRule& r) { return zones_of(r.from); });
        const auto to = byte([](const PolicyRule& r) { return !r.to.empty(); },
                             [](const PolicyRule& r) { return zones_of(r.to); });
        const auto origin = byte([](const PolicyRule&) { return true; }, origins_of);
        if (ok()) policy_.context_ = TripleIndex::make(policy_.bits_, {&from, &to, &origin});
        if (!policy_.context_) {
            keep(offsetof(PolicyKeyBytes, from), from);
            keep(offsetof(PolicyKeyBytes, to), to);
            keep(offsetof(PolicyKeyBytes, origin), origin);
        }
        for (unsigned i = 0; i < sizeof PolicyKeyBytes::mark; ++i) {
            const auto part = [i](std::uint32_t mark) {
                return static_cast<std::uint8_t>(mark >> (24 - 8 * i));
            };
            keep(offsetof(PolicyKeyBytes, mark) + i,
                 byte([&](const PolicyRule& r) { return part(r.mark_mask) != 0; },
                      [&](const PolicyRule& r) {
                          return masked_bytes(part(r.mark), part(r.mark_mask));
                      }));
        }
    }

    void links() {
        numbers(
            policy_.vlan_, "VLANs", [](const PolicyRule& r) { return !r.vlan.empty(); },
            [](const PolicyRule& r) { return numbers_of<std::uint32_t>(r.vlan); });
        const auto keep_byte = [&](std::size_t offset, std::vector<PolicyRange> PolicyRule::*list) {
            const auto index =
                byte([&](const PolicyRule& r) { return !(r.*list).empty(); },
                     [&](const PolicyRule& r) { return numbers_of<std::uint8_t>(r.*list); });
            if (index) policy_.link_fields_.push_back({offset, *index});
        };
        keep_byte(offsetof(PolicyLink, dscp), &PolicyRule::dscp);
        keep_byte(offsetof(PolicyLink, in_port), &PolicyRule::in_port);
        policy_.judges_links_ = policy_.vlan_ || !policy_.link_fields_.empty();
    }

    void sets() {
        for (const bool of_dst : {false, true})
            for (unsigned b = 0; b < kPolicySetBytes; ++b) {
                const auto of = [&](const PolicyRule& r) -> const PolicySets& {
                    return of_dst ? r.dst_sets : r.src_sets;
                };
                const auto index = byte(
                    [&](const PolicyRule& r) {
                        return ((of(r).any | of(r).none) >> 8 * b & 0xff) != 0;
                    },
                    [&](const PolicyRule& r) { return set_bytes(of(r), b); });
                if (index) policy_.set_fields_.push_back({of_dst, b, *index});
            }
        for (std::size_t s = 0; s < rules_.sets.size(); ++s) {
            if (rules_.sets[s] == nullptr) continue;
            const std::uint32_t bit = 1u << s;
            for (const PolicyRule& r : rules_.rules) {
                policy_.src_sets_ |= (r.src_sets.any | r.src_sets.none) & bit;
                policy_.dst_sets_ |= (r.dst_sets.any | r.dst_sets.none) & bit;
            }
        }
        if (policy_.judges_sets()) policy_.sets_ = rules_.sets;
    }

  private:
    template <class T, class Index>
    void finish(FieldClasses<T>& classes, const char* what, std::optional<Index>& out) {
        if (classes.empty() || !ok()) return;
        FieldMap<T> map;
        std::size_t culprit = 0;
        if (classes.build(policy_.bits_, max_bytes_, map, culprit)) {
            out.emplace(map);
            return;
        }
        error_ = "the " + std::string(what) +
                 " of the policy's rules overlap too much: their sets "
                 "need more than " +
                 std::to_string(max_bytes_ >> 20) + " MiB, reached at " +
                 (rules_.name_of ? rules_.name_of(culprit) : "rule " + std::to_string(culprit));
    }
    template <class Index>
    void address(std::optional<Index>& out, AddressSet PolicyRule::*which, Family family,
                 NumberSet<typename Index::Value> Addresses::*of_family) {
        static const NumberSet<typename Index::Value> kNever;
        FieldClasses<typename Index::Value> classes(rules_.rules.size());
        for (std::size_t i = 0; i < rules_.rules.size(); ++i) {
            const PolicyRule& r = rules_.rules[i];
            const AddressSet& set = r.*which;
            if (r.family != Family::none && r.family != family)
                classes.add(i, kNever, &kNever);
            else if (!set.is_any())
                classes.add(i, set.addresses().*of_family, &set.addresses());
        }
        finish(classes, which == &PolicyRule::src ? "source addresses" : "destination addresses",
               out);
    }
    /// `of` returns the values that a rule accepts, if it `names` the field.
    template <class Names, class Of>
    void numbers(std::optional<NumberIndex>& out, const char* what, Names names, Of of) {
        std::deque<NumberSet<std::uint32_t>> sets;
        FieldClasses<std::uint32_t> classes(rules_.rules.size());
        for (std::size_t i = 0; i < rules_.rules.size(); ++i)
            if (names(rules_.rules[i])) classes.add(i, sets.emplace_back(of(rules_.rules[i])));
        finish(classes, what, out);
    }
    template <class Names, class Of>
    std::optional<ByteIndex> byte(Names names, Of of) {
        std::deque<NumberSet<std::uint8_t>> sets;
        FieldClasses<std::uint8_t> classes(rules_.rules.size());
        for (std::size_t i = 0; i < rules_.rules.size(); ++i)
            if (names(rules_.rules[i])) classes.add(i, sets.emplace_back(of(rules_.rules[i])));
        std::optional<ByteIndex> index;
        finish(classes, "zones, states, marks, DSCP, ports or sets", index);
        return index;
    }
    void keep(std::size_t offset, const std::optional<ByteIndex>& index) {
        if (index) policy_.byte_fields_.push_back({offset, *index});
    }

    const PolicyRules& rules_;
    std::size_t max_bytes_;
    Policy& policy_;
    std::string error_;
};

Result<std::unique_ptr<Policy>> Policy::build(const PolicyRules& rules, std::size_t max_bytes) {
    if (rules.rules.size() > kMaxPolicyRules)
        return Error{std::to_string(rules.rules.size()) + " policy rules (at most " +
                     std::to_string(kMaxPolicyRules) + ")"};
    std::unique_ptr<Policy> policy(new Policy(RuleBits(sections_of(rules))));
    policy->fallback_ = rules.fallback;
    for (std::size_t i = 0; i < rules.rules.size(); ++i)
        policy->verdicts_.push_back({rules.ids.empty() ? RuleId::from(i) : rules.ids[i],
                                     rules.rules[i].action, rules.rules[i].helper});
    policy->judges_errors_ =
        std::any_of(rules.rules.begin(), rules.rules.end(), [](const PolicyRule& r) {
            return !r.icmp_types.empty() && r.match_related && r.related.empty();
        });
    Builder builder(rules, max_bytes, *policy);
    builder.addresses();
    builder.ports();
    builder.bytes();
    builder.links();
    builder.sets();
    if (!builder.ok()) return builder.error();
    return policy;
}

std::size_t Policy::bytes() const noexcept {
    std::size_t n = bits_.bytes() +
                    (byte_fields_.size() + link_fields_.size()) * sizeof(ByteField) +
                    set_fields_.size() * sizeof(SetField);
    const auto add = [&](const auto& index) { n += index ? index->bytes() : 0; };
    add(ipv4_.src), add(ipv4_.dst), add(ipv6_.src), add(ipv6_.dst), add(service_), add(sport_);
    add(context_), add(vlan_);
    return n;
}

namespace {

template <class Key, class AddressOf>
void find_addresses(const NumberIndex& index, const FamilyKeys<Key>& family, AddressOf address,
                    RuleSetId* out) noexcept {
    std::uint32_t values[kMaxBurst];
    for (unsigned k = 0; k < family.n; ++k)
        values[k] = wire::be32(address(family.keys[k]));
    index.find(values, family.n, out);
}
template <class Key, class AddressOf>
void find_addresses(const WideIndex& index, const FamilyKeys<Key>& family, AddressOf address,
                    RuleSetId* out) noexcept {
    std::uint64_t values[2][kMaxBurst];
    for (unsigned k = 0; k < family.n; ++k) {
        values[0][k] = __builtin_bswap64(wire::raw64(address(family.keys[k])));
        values[1][k] = __builtin_bswap64(wire::raw64(address(family.keys[k]) + 8));
    }
    index.find(values, family.n, out);
}
template <class Key, class ValueOf>
void find_numbers(const NumberIndex& index, const FamilyKeys<Key>& family, ValueOf value,
                  RuleSetId* out) noexcept {
    std::uint32_t values[kMaxBurst];
    for (unsigned k = 0; k < family.n; ++k)
        values[k] = value(family.keys[k]);
    index.find(values, family.n, out);
}

}  // namespace

template <class Key, class Index>
void Policy::find_all(const FamilyKeys<Key>& family, const AddressIndexes<Index>& addresses,
                      Found& found) const noexcept {
    const auto next = [&] { return found.sets[found.fields++]; };
    if (addresses.dst)
        find_addresses(
            *addresses.dst, family, [](const Key& key) { return key.dst; }, next());
    if (addresses.src)
        find_addresses(
            *addresses.src, family, [](const Key& key) { return key.src; }, next());
    if (service_)
        find_numbers(
            *service_, family,
            [](const Key& key) {
                return service_of(key.bytes.protocol, __builtin_bswap16(key.dport));
            },
            next());
    if (sport_)
        find_numbers(
            *sport_, family,
            [](const Key& key) -> std::uint32_t { return __builtin_bswap16(key.sport); }, next());
    if (context_) {
        RuleSetId* const out = next();
        for (unsigned k = 0; k < family.n; ++k) {
            const PolicyKeyBytes& bytes = family.keys[k].bytes;
            out[k] = context_->find(bytes.from, bytes.to, bytes.origin);
        }
    }
    for (const ByteField& field : byte_fields_) {
        RuleSetId* const out = next();
        for (unsigned k = 0; k < family.n; ++k)
            out[k] = field.index[reinterpret_cast<const std::uint8_t*>(
                &family.keys[k].bytes)[field.offset]];
    }
    if (judges_links_) [[unlikely]]
        find_links(family.links.data(), family.n, found);
}

template <class Key>
void Policy::look_up_sets(const FamilyKeys<Key>& family, Found& found) const noexcept {
    using Address = std::conditional_t<Key::kFamily == Family::ipv4, std::uint32_t, Wide>;
    const auto read = [](const std::uint8_t* at) -> Address {
        if constexpr (Key::kFamily == Family::ipv4)
            return wire::be32(at);
        else
            return {__builtin_bswap64(wire::raw64(at)), __builtin_bswap64(wire::raw64(at + 8))};
    };
    SetBits bits;
    const auto look_up = [&](std::uint32_t sets, auto address, std::uint32_t* out) {
        std::fill_n(out, family.n, 0u);
        if (sets == 0) return;
        Address addresses[kMaxBurst];
        for (unsigned k = 0; k < family.n; ++k)
            addresses[k] = read(address(family.keys[k]));
        for (; sets != 0; sets &= sets - 1)
            sets_[static_cast<unsigned>(std::countr_zero(sets))]->find(addresses, family.n,
                                                                       sets & -sets, out);
    };
    look_up(
        src_sets_, [](const Key& key) { return key.src; }, bits.src);
    look_up(
        dst_sets_, [](const Key& key) { return key.dst; }, bits.dst);
    find_sets(bits, family.n, found);
}

void Policy::find_sets(const SetBits& bits, unsigned n, Found& found) const noexcept {
    for (const SetField& field : set_fields_) {
        RuleSetId* const out = found.sets[found.fields++];
        const std::uint32_t* const in = field.of_dst ? bits.dst : bits.src;
        for (unsigned k = 0; k < n; ++k)
            out[k] = field.index[static_cast<std::uint8_t>(in[k] >> 8 * field.byte)];
    }
}

void Policy::find_links(const PolicyLink* links, unsigned n, Found& found) const noexcept {
    if (vlan_) {
        std::uint32_t values[kMaxBurst];
        for (unsigned k = 0; k < n; ++k)
            values[k] = links[k].vlan;
        vlan_->find(values, n, found.sets[found.fields++]);
    }
    for (const LinkField& field : link_fields_) {
        RuleSetId* const out = found.sets[found.fields++];
        for (unsigned k = 0; k < n; ++k)
            out[k] = field.index[reinterpret_cast<const std::uint8_t*>(&links[k])[field.offset]];
    }
}

template <class Key, class Index>
void Policy::answer(const FamilyKeys<Key>& family, const AddressIndexes<Index>& addresses,
                    PolicyVerdict* verdicts) const noexcept {
    if (family.n == 0) return;
    Found found;
    find_all(family, addresses, found);
    if (judges_sets()) [[unlikely]]
        look_up_sets(family, found);
    std::uint32_t rules[kMaxBurst];
    // Every rule has a condition on the origin: without a field there is no rule.
    if (found.fields == 0)
        std::fill_n(rules, family.n, RuleBits::kNone);
    else
        bits_.first_in_all(found.sets, found.fields, family.n, rules);
    const auto unmatched = [&](std::uint8_t origin) {
        if (origin == kOriginError) return PolicyAction::accept;
        return origin < kOriginNew ? PolicyAction::drop : fallback_;
    };
    for (unsigned k = 0; k < family.n; ++k)
        verdicts[family.packet[k]] =
            rules[k] != RuleBits::kNone
                ? verdicts_[rules[k]]
                : PolicyVerdict{kNoRule, unmatched(family.keys[k].bytes.origin), kNoHelper};
}

std::vector<std::uint32_t> Policy::matching(const PolicyQuery& query, std::size_t most) const {
    std::vector<std::uint32_t> out;
    PolicyBurst burst;
    burst.add(0, query);
    Found found;
    const auto collect = [&](const auto& family, const auto& addresses) {
        if (family.n == 0) return;
        find_all(family, addresses, found);
        SetBits bits;
        bits.src[0] = query.src_sets;
        bits.dst[0] = query.dst_sets;
        find_sets(bits, 1, found);
        std::array<RuleSetId, kMaxFields> sets;
        for (unsigned f = 0; f < found.fields; ++f)
            sets[f] = found.sets[f][0];
        if (found.fields != 0) out = bits_.all(std::span(sets).first(found.fields), most);
    };
    collect(burst.ipv4_, ipv4_);
    collect(burst.ipv6_, ipv6_);
    return out;
}

void Policy::classify(const PolicyBurst& burst, PolicyVerdict* verdicts) const noexcept {
    answer(burst.ipv4_, ipv4_, verdicts);
    answer(burst.ipv6_, ipv6_, verdicts);
}

}  // namespace postern
