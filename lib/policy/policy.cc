// SPDX-License-Identifier: BSD-3-Clause
// From rules to tries.
//
// A rule with lists becomes one entry for each combination, all with the rule's priority and the
// same result, so it does not matter which of them matches. Sets of small numbers (zones, helpers,
// protocols) and port lists are first merged into as few ranges as possible: a list of adjacent
// zones is one entry.
//
// The result word of an entry is the index of its rule's verdict in a table, plus 1: a rule's
// number has 32 bits, which leave no room beside it.
//
// rte_acl distributes a set of entries over at most 8 tries and fails for sets too complex for that
// (many entries that overlap in several dimensions; a thousand can suffice). Such a set is split in
// two, in the rules' order, until each part builds. The parts are queried in that order and the
// first match is the verdict. Ordinary policies are one part.
#include "policy/policy.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rte_acl.h>
#include <rte_errno.h>
#include <rte_log.h>

namespace postern {
namespace {

constexpr std::size_t kMaxParts = 64;  // beyond that a new connection would pay for too many

using Key4 = PolicyKey<4>;
using Key6 = PolicyKey<16>;

template <class Key>
constexpr unsigned kWords = Key::kAddressBytes / 4;  // of an address
/// Field numbers: protocol, from, to, origin, filler, src words, dst words, sport, dport, mark.
template <class Key>
constexpr unsigned kFields = 5 + 2 * kWords<Key> + 3;

/// The fewest ranges that cover the same values.
std::vector<PolicyRange> merged(std::vector<PolicyRange> ranges) {
    std::sort(ranges.begin(), ranges.end(),
              [](const PolicyRange& a, const PolicyRange& b) { return a.first < b.first; });
    std::vector<PolicyRange> out;
    for (const auto& r : ranges) {
        if (!out.empty() && r.first <= unsigned{out.back().last} + 1)
            out.back().last = std::max(out.back().last, r.last);
        else
            out.push_back(r);
    }
    return out;
}
template <class T>
std::vector<PolicyRange> ranges_of(const std::vector<T>& values, std::uint16_t max) {
    std::vector<PolicyRange> out;
    for (const auto v : values) {
        if constexpr (requires { v.number(); })
            out.push_back({v.number(), v.number()});
        else
            out.push_back({v, v});
    }
    if (values.empty()) out.push_back({0, max});
    return merged(std::move(out));
}
std::vector<PolicyRange> ports_of(const std::vector<PolicyRange>& ranges) {
    return ranges.empty() ? std::vector<PolicyRange>{{0, 0xffff}} : merged(ranges);
}
std::vector<PolicyRange> origins_of(const PolicyRule& r) {
    std::vector<PolicyRange> out;
    // Types that only a rule naming them accepts can still be dropped by a rule without types.
    const bool any = r.action != PolicyAction::accept || !r.icmp_types.empty();
    if (r.match_new) {
        out.push_back({any ? kOriginUnknownError : kOriginNew, kOriginNew});
        if (r.untracked) out.push_back({kOriginUnknownError, kOriginUnknownError});
    }
    if (r.match_related && r.related.empty()) {
        const bool errors = !r.icmp_types.empty();
        out.push_back({origin_related(kNoHelper),
                       static_cast<std::uint16_t>(errors ? kOriginError : kOriginError - 1)});
    }
    if (r.match_related)
        for (const auto h : r.related)
            out.push_back({origin_related(h), origin_related(h)});
    return merged(std::move(out));
}
std::vector<Prefix> prefixes_of(const std::vector<Prefix>& list, Family family) {
    std::vector<Prefix> out;
    for (const auto& p : list)
        if (p.address.family == family) out.push_back(p);
    if (list.empty()) out.push_back(Prefix{{{}, family}, 0});
    return out;
}

template <class Key>
RTE_ACL_RULE_DEF(AclRule, kFields<Key>);

/// One rule's conditions for one family, each a list to be combined with the others.
struct Factors {
    std::vector<PolicyRange> protocols, from, to, origins, sport, dport;
    std::vector<Prefix> src, dst;

    Factors(const PolicyRule& r, Family family)
        : protocols(ranges_of(r.protocols, 0xff)),
          from(ranges_of(r.from, 0xff)),
          to(ranges_of(r.to, 0xff)),
          origins(origins_of(r)),
          sport(ports_of(r.sport)),
          dport(ports_of(r.dport)),
          src(prefixes_of(r.src, family)),
          dst(prefixes_of(r.dst, family)) {
        if (r.family != Family::none && r.family != family) src.clear();
        if (r.icmp_types.empty()) return;
        dport = ranges_of(r.icmp_types, 0xff);
        for (auto& range : dport)
            range = {static_cast<std::uint16_t>(range.first << 8),
                     static_cast<std::uint16_t>(range.last << 8 | 0xff)};
    }
    /// Number of its entries; stops counting beyond the limit.
    std::size_t product() const {
        std::size_t n = 1;
        for (const std::size_t size : {protocols.size(), from.size(), to.size(), origins.size(),
                                       sport.size(), dport.size(), src.size(), dst.size()})
            n = std::min(n * size, kMaxPolicyMatches + 1);
        return n;
    }
};

void set_range8(rte_acl_field& f, PolicyRange r) {
    f.value.u8 = static_cast<std::uint8_t>(r.first);
    f.mask_range.u8 = static_cast<std::uint8_t>(r.last);
}
void set_range16(rte_acl_field& f, PolicyRange r) {
    f.value.u16 = r.first;
    f.mask_range.u16 = r.last;
}
/// A prefix over consecutive 32-bit fields; rte_acl expects values in host order.
void set_prefix(rte_acl_field* f, unsigned words, const Prefix& p) {
    for (unsigned i = 0; i < words; ++i) {
        std::uint32_t word = 0;
        for (unsigned byte = 0; byte < 4; ++byte)
            word = word << 8 | p.address.bytes[4 * i + byte];
        f[i].value.u32 = word;
        f[i].mask_range.u32 = std::min(32u, p.length > 32 * i ? unsigned{p.length} - 32 * i : 0u);
    }
}

/// Calls fn(AclRule) for every combination.
template <class Key, class Fn>
void multiply(const Factors& x, AclRule<Key>& acl, Fn fn) {
    constexpr unsigned kSrc = 5, kDst = 5 + kWords<Key>, kSport = 5 + 2 * kWords<Key>;
    for (const auto& protocol : x.protocols) {
        set_range8(acl.field[0], protocol);
        for (const auto& from : x.from) {
            set_range8(acl.field[1], from);
            for (const auto& to : x.to) {
                set_range8(acl.field[2], to);
                for (const auto& origin : x.origins) {
                    set_range8(acl.field[3], origin);
                    for (const auto& src : x.src) {
                        set_prefix(&acl.field[kSrc], kWords<Key>, src);
                        for (const auto& dst : x.dst) {
                            set_prefix(&acl.field[kDst], kWords<Key>, dst);
                            for (const auto& sport : x.sport) {
                                set_range16(acl.field[kSport], sport);
                                for (const auto& dport : x.dport) {
                                    set_range16(acl.field[kSport + 1], dport);
                                    fn(acl);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Without rules that match marks the walk ends before them.
template <class Key>
rte_acl_config acl_config(bool with_marks) {
    rte_acl_config config{};
    config.num_categories = 1;
    config.num_fields = with_marks ? kFields<Key> : kFields<Key> - 1;
    unsigned n = 0;
    const auto field = [&](std::uint8_t type, std::size_t size, std::size_t offset) {
        auto& d = config.defs[n];
        d.type = type;
        d.size = static_cast<std::uint8_t>(size);
        d.field_index = static_cast<std::uint8_t>(n);
        // The first byte is a group of its own; every aligned word after it is one more.
        d.input_index = static_cast<std::uint8_t>(offset / 4);
        d.offset = static_cast<std::uint32_t>(offset);
        ++n;
    };
    field(RTE_ACL_FIELD_TYPE_RANGE, 1, offsetof(Key, protocol));
    field(RTE_ACL_FIELD_TYPE_RANGE, 1, offsetof(Key, from));
    field(RTE_ACL_FIELD_TYPE_RANGE, 1, offsetof(Key, to));
    field(RTE_ACL_FIELD_TYPE_RANGE, 1, offsetof(Key, origin));
    field(RTE_ACL_FIELD_TYPE_BITMASK, 1, offsetof(Key, filler));
    for (std::size_t i = 0; i < kWords<Key>; ++i)
        field(RTE_ACL_FIELD_TYPE_MASK, 4, offsetof(Key, src) + 4 * i);
    for (std::size_t i = 0; i < kWords<Key>; ++i)
        field(RTE_ACL_FIELD_TYPE_MASK, 4, offsetof(Key, dst) + 4 * i);
    field(RTE_ACL_FIELD_TYPE_RANGE, 2, offsetof(Key, sport));
    field(RTE_ACL_FIELD_TYPE_RANGE, 2, offsetof(Key, dport));
    field(RTE_ACL_FIELD_TYPE_BITMASK, 4, offsetof(Key, mark));
    return config;
}

}  // namespace

void Policy::AclDeleter::operator()(rte_acl_ctx* ctx) const noexcept {
    rte_acl_free(ctx);
}

namespace {

/// All entries of a family, in the rules' order.
template <class Key>
Result<std::vector<AclRule<Key>>> make_entries(const PolicyRules& rules) {
    std::size_t n = 0;
    for (std::size_t i = 0; i < rules.rules.size(); ++i) {
        n += Factors(rules.rules[i], Key::kFamily).product();
        if (n > kMaxPolicyMatches)
            return Error{"the lists of the policy's rules multiply to more than " +
                         std::to_string(kMaxPolicyMatches) + " " + to_string(Key::kFamily) +
                         " combinations, reached at rule " + std::to_string(i)};
    }
    std::vector<AclRule<Key>> entries;
    entries.reserve(n);
    for (std::size_t i = 0; i < rules.rules.size(); ++i) {
        AclRule<Key> entry{};
        entry.data.category_mask = 1;
        entry.data.priority = RTE_ACL_MAX_PRIORITY - static_cast<std::int32_t>(i);
        entry.data.userdata = static_cast<std::uint32_t>(i + 1);
        entry.field[kFields<Key> - 1].value.u32 = rules.rules[i].mark;
        entry.field[kFields<Key> - 1].mask_range.u32 = rules.rules[i].mark_mask;
        multiply<Key>(Factors(rules.rules[i], Key::kFamily), entry,
                      [&](const AclRule<Key>& e) { entries.push_back(e); });
    }
    return entries;
}

/// Builds a context of these entries in `ctx`. Returns 0 or a negative error number.
template <class Key>
int build_context(std::span<const AclRule<Key>> entries, bool with_marks, const char* name,
                  int socket_id, rte_acl_ctx*& ctx) {
    const rte_acl_param param{name, socket_id, RTE_ACL_RULE_SZ(kFields<Key>),
                              static_cast<std::uint32_t>(entries.size())};
    ctx = rte_acl_create(&param);
    if (ctx == nullptr) return -rte_errno;
    const rte_acl_config config = acl_config<Key>(with_marks);
    int rc = rte_acl_add_rules(ctx, reinterpret_cast<const rte_acl_rule*>(entries.data()),
                               static_cast<std::uint32_t>(entries.size()));
    if (rc == 0) rc = rte_acl_build(ctx, &config);
    return rc;
}

}  // namespace

template <class Key>
Result<void> Policy::build_parts(const PolicyRules& rules, int socket_id, Parts& parts,
                                 std::size_t& matches) {
    const std::string family = to_string(Key::kFamily);
    const auto entries = make_entries<Key>(rules);
    if (!entries) return entries.error();
    matches = entries.value().size();
    const bool with_marks = std::any_of(rules.rules.begin(), rules.rules.end(),
                                        [](const PolicyRule& r) { return r.mark_mask != 0; });
    // A stack of parts to be built, the first part on top.
    std::vector<std::span<const AclRule<Key>>> rest{entries.value()};
    while (!rest.empty()) {
        const auto part = rest.back();
        rest.pop_back();
        if (part.empty()) continue;
        // A second context with an existing name would share it, and two policies exist during a
        // reload: hence this one's address.
        char name[RTE_ACL_NAMESIZE];
        std::snprintf(name, sizeof name, "pst-%s-%p-%zu", family.c_str(),
                      static_cast<const void*>(this), parts.size());
        rte_acl_ctx* ctx = nullptr;
        const int rc = build_context<Key>(part, with_marks, name, socket_id, ctx);
        Acl acl(ctx);
        if (rc == 0) {
            parts.push_back(std::move(acl));
        } else if (rc == -ENOMEM && part.size() > 1 &&
                   parts.size() + rest.size() + 2 <= kMaxParts) {
            // Too complex for one context, or too little memory; in the latter case parts will fail
            // too, and the limit ends the attempt.
            rest.push_back(part.subspan(part.size() / 2));
            rest.push_back(part.first(part.size() / 2));
        } else {
            return Error{"cannot build the " + family + " policy of " + std::to_string(matches) +
                         " entries: " + rte_strerror(-rc) +
                         (rc == -ENOMEM
                              ? " (too little eal.memory_mb, or too many rules that overlap)"
                              : "")};
        }
    }
    return {};
}

Result<std::unique_ptr<Policy>> Policy::build(const PolicyRules& rules, int socket_id) {
    if (rules.rules.size() > kMaxPolicyRules)
        return Error{std::to_string(rules.rules.size()) + " policy rules (at most " +
                     std::to_string(kMaxPolicyRules) + ")"};
    // Its complaints about sets that are then split would mislead; failures are reported.
    rte_log_set_level_pattern("lib.acl", RTE_LOG_EMERG);
    std::unique_ptr<Policy> policy(new Policy);
    policy->fallback_ = rules.fallback;
    for (std::size_t i = 0; i < rules.rules.size(); ++i)
        policy->verdicts_.push_back({rules.ids.empty() ? RuleId::from(i) : rules.ids[i],
                                     rules.rules[i].action, rules.rules[i].helper});
    policy->judges_errors_ =
        std::any_of(rules.rules.begin(), rules.rules.end(), [](const PolicyRule& r) {
            return !r.icmp_types.empty() && r.match_related && r.related.empty();
        });
    if (auto r = policy->build_parts<Key4>(rules, socket_id, policy->parts4_, policy->matches4_);
        !r)
        return r.error();
    if (auto r = policy->build_parts<Key6>(rules, socket_id, policy->parts6_, policy->matches6_);
        !r)
        return r.error();
    return policy;
}

template <class Key>
void Policy::answer(const FamilyKeys<Key>& family, const Parts& parts,
                    PolicyVerdict* verdicts) const noexcept {
    if (family.n == 0) return;
    std::array<std::uint32_t, kMaxBurst> words, more;
    if (parts.empty()) std::fill_n(words.data(), family.n, 0u);
    for (std::size_t part = 0; part < parts.size(); ++part) {
        std::uint32_t* const results = part == 0 ? words.data() : more.data();
        // Fails on invalid arguments only, which are excluded. It changes no pointer.
        rte_acl_classify(parts[part].get(),
                         const_cast<const std::uint8_t**>(family.pointers.data()), results,
                         family.n, 1);
        for (unsigned k = 0; part != 0 && k < family.n; ++k)
            words[k] = words[k] != 0 ? words[k] : more[k];
    }
    const auto unmatched = [&](std::uint8_t origin) {
        if (origin == kOriginError) return PolicyAction::accept;
        return origin < kOriginNew ? PolicyAction::drop : fallback_;
    };
    for (unsigned k = 0; k < family.n; ++k)
        verdicts[family.packet[k]] =
            words[k] != 0 ? verdicts_[words[k] - 1]
                          : PolicyVerdict{kNoRule, unmatched(family.keys[k].origin), kNoHelper};
}

void Policy::classify(const PolicyBurst& burst, PolicyVerdict* verdicts) const noexcept {
    answer(burst.ipv4_, parts4_, verdicts);
    answer(burst.ipv6_, parts6_, verdicts);
}

}  // namespace postern
