// SPDX-License-Identifier: BSD-3-Clause
#include "policy/policy.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "policy/shadow.h"
#include "sets/live_set.h"

namespace postern {

void PrintTo(const PolicyVerdict& v, std::ostream* out) {
    *out << "{rule " << v.rule.number() << ", action " << int{static_cast<std::uint8_t>(v.action)}
         << ", helper " << int{v.helper} << "}";
}

namespace {

// --- the rules' meaning, word by word ----------------------------------------------------------

template <class T>
bool any_or_in(const std::vector<T>& list, T value) {
    return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
}
bool any_or_within(const std::vector<PolicyRange>& list, std::uint16_t value) {
    return list.empty() || std::any_of(list.begin(), list.end(), [&](const PolicyRange& r) {
               return r.first <= value && value <= r.last;
           });
}
bool any_or_prefix(const std::vector<Prefix>& list, const IpAddr& a) {
    return list.empty() ||
           std::any_of(list.begin(), list.end(), [&](const Prefix& p) { return p.contains(a); });
}
/// A rule's addresses as they were drawn: an AddressSet has merged them.
struct Lists {
    std::vector<Prefix> src, dst;
};
bool matches(const PolicyRule& r, const Lists& lists, const PolicyQuery& q) {
    const bool about_one = q.context.state == CtState::established,
               about_none = q.context.state == CtState::invalid;
    if (about_one && (r.icmp_types.empty() || !r.related.empty())) return false;
    const bool state = about_one ? r.match_related
                       : q.context.state == CtState::related
                           ? r.match_related && any_or_in(r.related, q.context.related_by)
                           : r.match_new;
    // What a rule has to name: any rule keeps it out, not any lets it in.
    if ((q.context.state == CtState::untracked || about_none) && r.action == PolicyAction::accept &&
        r.icmp_types.empty() && !(about_none && r.untracked))
        return false;
    return state && any_or_in(r.from, q.context.from) && any_or_in(r.to, q.context.to) &&
           (r.family == Family::none || r.family == q.tuple.src.family) &&
           any_or_prefix(lists.src, q.tuple.src) && any_or_prefix(lists.dst, q.tuple.dst) &&
           any_or_in(r.protocols, q.tuple.protocol) &&
           any_or_within(r.sport, q.tuple.sport.host()) &&
           any_or_within(r.dport, q.tuple.dport.host()) &&
           any_or_in(r.icmp_types, static_cast<std::uint8_t>(q.tuple.dport.host() >> 8)) &&
           any_or_within(r.vlan, q.link.vlan) && any_or_within(r.dscp, q.link.dscp) &&
           any_or_within(r.in_port, q.link.in_port);
}
PolicyVerdict reference(const PolicyRules& rules, const std::vector<Lists>& lists,
                        const PolicyQuery& q) {
    for (std::size_t i = 0; i < rules.rules.size(); ++i)
        if (matches(rules.rules[i], lists[i], q))
            return {RuleId::from(i), rules.rules[i].action, rules.rules[i].helper};
    if (q.context.state == CtState::established) return {kNoRule, PolicyAction::accept, kNoHelper};
    const bool named = q.context.state == CtState::untracked || q.context.state == CtState::invalid;
    return {kNoRule, named ? PolicyAction::drop : rules.fallback, kNoHelper};
}

std::unique_ptr<Policy> build(const PolicyRules& rules) {
    auto r = Policy::build(rules);
    EXPECT_TRUE(r.ok()) << (r.ok() ? "" : r.error().message);
    return r.ok() ? std::move(r.value()) : nullptr;
}
void classify(const Policy& policy, std::span<const PolicyQuery> queries, PolicyVerdict* verdicts) {
    PolicyBurst burst;
    for (unsigned i = 0; i < queries.size(); ++i)
        burst.add(i, queries[i]);
    policy.classify(burst, verdicts);
    // And as a worker asks, from where the packets have them.
    std::array<std::array<std::uint8_t, 36>, kMaxBurst> packets;
    burst.clear();
    for (unsigned i = 0; i < queries.size(); ++i) {
        const Tuple& t = queries[i].tuple;
        const std::size_t n = t.src.family == Family::ipv4 ? 4 : 16;
        std::uint8_t* const p = packets[i].data();
        std::memcpy(p, t.src.bytes.data(), n);
        std::memcpy(p + n, t.dst.bytes.data(), n);
        const std::uint16_t ports[] = {t.sport.raw(), t.dport.raw()};
        std::memcpy(p + 2 * n, ports, sizeof ports);
        burst.add(i, t.src.family, t.protocol, p, p + 2 * n, queries[i].context) = queries[i].link;
    }
    std::array<PolicyVerdict, kMaxBurst> again;
    policy.classify(burst, again.data());
    for (unsigned i = 0; i < queries.size(); ++i)
        EXPECT_EQ(again[i], verdicts[i]) << queries[i].tuple.to_string();
}
PolicyVerdict classify(const Policy& policy, const PolicyQuery& q) {
    PolicyVerdict v;
    classify(policy, std::span{&q, 1}, &v);
    return v;
}
PolicyQuery tcp(const char* src, const char* dst, std::uint16_t dport) {
    return {.tuple = {*IpAddr::parse(src), *IpAddr::parse(dst), Be16::from_host(40000),
                      Be16::from_host(dport), proto::tcp}};
}
// --- single meanings ---------------------------------------------------------------------------

TEST(Policy, NoRulesMeansTheDefault) {
    const auto drop = build({});
    EXPECT_EQ(classify(*drop, tcp("192.0.2.1", "192.0.2.2", 80)),
              (PolicyVerdict{kNoRule, PolicyAction::drop, kNoHelper}));
    const auto reject = build({.rules = {}, .fallback = PolicyAction::reject});
    EXPECT_EQ(classify(*reject, tcp("2001:db8::1", "2001:db8::2", 80)),
              (PolicyVerdict{kNoRule, PolicyAction::reject, kNoHelper}));
}

TEST(Policy, FirstRuleThatMatchesDecides) {
    const auto p =
        build({.rules = {{.dport = {{80, 80}}, .action = PolicyAction::reject},
                         {.dport = {{1, 1000}}, .action = PolicyAction::accept, .helper = 7},
                         {.action = PolicyAction::drop}}});
    for (const char* dst : {"198.51.100.1", "2001:db8::1"}) {
        const char* src = dst[3] == '.' ? "192.0.2.1" : "2001:db8::2";
        EXPECT_EQ(classify(*p, tcp(src, dst, 80)),
                  (PolicyVerdict{RuleId{0}, PolicyAction::reject, 0}));
        EXPECT_EQ(classify(*p, tcp(src, dst, 81)),
                  (PolicyVerdict{RuleId{1}, PolicyAction::accept, 7}));
        EXPECT_EQ(classify(*p, tcp(src, dst, 1001)),
                  (PolicyVerdict{RuleId{2}, PolicyAction::drop, 0}));
    }
}

TEST(Policy, StateAndHelper) {
    const auto p =
        build({.rules = {{.match_related = false, .action = PolicyAction::reject},
                         {.match_new = false, .related = {3, 5}, .action = PolicyAction::accept},
                         {.protocols = {proto::tcp}, .match_new = false}}});
    auto q = tcp("192.0.2.1", "192.0.2.2", 5000);
    EXPECT_EQ(classify(*p, q).rule, RuleId{0});
    q.context.state = CtState::related;
    EXPECT_EQ(classify(*p, q).rule, RuleId{2}) << "related by no helper";
    q.context.related_by = 3;
    EXPECT_EQ(classify(*p, q).rule, RuleId{1});
    q.context.related_by = 4;
    EXPECT_EQ(classify(*p, q).rule, RuleId{2});
    q.context.related_by = kMaxHelpers - 1;
    q.tuple.protocol = proto::udp;
    EXPECT_EQ(classify(*p, q).rule, kNoRule);
}

TEST(Policy, ARuleThatCanMatchNothingMatchesNothing) {
    const auto p =
        build({.rules = {{.match_new = false, .match_related = false},
                         {.family = Family::ipv6, .src = {*Prefix::parse("192.0.2.0/24")}}}});
    EXPECT_EQ(classify(*p, tcp("192.0.2.1", "192.0.2.2", 80)).rule, kNoRule);
    EXPECT_EQ(classify(*p, tcp("2001:db8::1", "2001:db8::2", 80)).rule, kNoRule);
}

TEST(Policy, IcmpTypes) {
    const auto p = build({.rules = {{.protocols = {proto::icmp}, .icmp_types = {8, 13}}}});
    auto q = tcp("192.0.2.1", "192.0.2.2", 0);
    q.tuple.protocol = proto::icmp;
    q.tuple.dport = icmp_port(8, 0);
    EXPECT_EQ(classify(*p, q).rule, RuleId{0});
    q.tuple.dport = icmp_port(13, 255);
    EXPECT_EQ(classify(*p, q).rule, RuleId{0});
    q.tuple.dport = icmp_port(9, 0);
    EXPECT_EQ(classify(*p, q).rule, kNoRule);
}

std::uint16_t port_of(unsigned n) {
    return static_cast<std::uint16_t>(n);
}

TEST(Policy, ListsOfARuleDoNotMultiply) {
    // 1000 x 1000 x 1000 x 1000 combinations.
    PolicyRule wide{.protocols = {proto::tcp}};
    std::vector<Prefix> src, dst;
    for (unsigned i = 0; i < 1000; ++i) {
        wide.sport.push_back({port_of(2 * i), port_of(2 * i)});
        wide.dport.push_back({port_of(2 * i), port_of(2 * i)});
        const auto high = static_cast<std::uint8_t>(i >> 8), low = static_cast<std::uint8_t>(i);
        src.push_back(Prefix::exact(IpAddr::v4(10, high, low, 1)));
        dst.push_back(Prefix::exact(IpAddr::v4(172, high, low, 1)));
    }
    wide.src = AddressSet(src);
    wide.dst = AddressSet(dst);
    const auto p = build({.rules = {wide}});
    ASSERT_NE(p, nullptr);
    EXPECT_LT(p->bytes(), 200'000u);
    auto q = tcp("10.3.231.1", "172.0.0.1", 1998);
    q.tuple.sport = Be16::from_host(1000);
    EXPECT_EQ(classify(*p, q).rule, RuleId{0});
    q.tuple.dport = Be16::from_host(1999);
    EXPECT_EQ(classify(*p, q).rule, kNoRule);
    EXPECT_EQ(classify(*p, tcp("10.3.231.2", "172.0.0.1", 1998)).rule, kNoRule);
    EXPECT_EQ(classify(*p, tcp("10.3.231.1", "172.3.232.1", 1998)).rule, kNoRule);
}

TEST(Policy, ASetThatManyRulesShareIsOneCondition) {
    std::vector<Prefix> hosts;
    for (unsigned i = 0; i < 60000; ++i)
        hosts.push_back(Prefix::exact(
            IpAddr::v4(10, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i), 1)));
    const AddressSet group(hosts);
    PolicyRules rules;
    for (unsigned i = 0; i < 5000; ++i)
        rules.rules.push_back(
            {.src = group, .protocols = {proto::tcp}, .dport = {{port_of(i), port_of(i)}}});
    const auto p = build(rules);
    ASSERT_NE(p, nullptr);
    EXPECT_LT(p->bytes(), 4'000'000u);
    EXPECT_EQ(classify(*p, tcp("10.1.1.1", "192.0.2.1", 4321)).rule, RuleId{4321});
    EXPECT_EQ(classify(*p, tcp("10.1.1.2", "192.0.2.1", 4321)).rule, kNoRule);
}

TEST(Policy, TooMuchIsRefusedWithAReason) {
    PolicyRules rules;
    for (unsigned i = 0; i < 20000; ++i) {
        const auto a = static_cast<std::uint8_t>(i >> 8), b = static_cast<std::uint8_t>(i);
        rules.rules.push_back({.src = AddressSet(std::vector<AddressRange>{
                                   {IpAddr::v4(10, a, b, 0), IpAddr::v4(20, b, a, 0)}})});
    }
    const auto r = Policy::build(rules, 1 << 20);
    ASSERT_FALSE(r.ok());
    EXPECT_TRUE(
        r.error().message.starts_with("the source addresses of the policy's rules overlap "
                                      "too much: their sets need more than 1 MiB, reached "
                                      "at rule "))
        << r.error().message;
    rules.name_of = [](std::size_t i) { return "rule \"r" + std::to_string(i) + "\" (line 7)"; };
    EXPECT_TRUE(Policy::build(rules, 1 << 20).error().message.ends_with("\" (line 7)"));
    EXPECT_TRUE(Policy::build(rules).ok());
    EXPECT_FALSE(Policy::build({.rules = std::vector<PolicyRule>(kMaxPolicyRules + 1)}).ok());
}

TEST(Policy, MarksMatchUnderTheirMask) {
    const auto p = build({.rules = {{.mark = 0x10, .mark_mask = 0xff},
                                    {.mark = 0x80000001, .mark_mask = 0x80000001},
                                    {.mark = 0x12345678, .mark_mask = UINT32_MAX}}});
    auto q = tcp("192.0.2.1", "192.0.2.2", 80);
    const auto rule_of = [&](std::uint32_t mark) {
        q.context.mark = mark;
        return classify(*p, q).rule;
    };
    EXPECT_EQ(rule_of(0), kNoRule);
    EXPECT_EQ(rule_of(0xabcd10), RuleId{0});
    EXPECT_EQ(rule_of(0xabcd11), kNoRule);
    EXPECT_EQ(rule_of(0x8000ff01), RuleId{1});
    EXPECT_EQ(rule_of(0x12345678), RuleId{2});
    EXPECT_EQ(rule_of(0x12345679), kNoRule);
}

TEST(Policy, VlanCodePointAndPort) {
    const auto p = build({.rules = {{.vlan = {{10, 19}}, .in_port = {{0, 0}}},
                                    {.vlan = {{0, 0}, {30, 4095}}, .dscp = {{46, 46}}},
                                    {.dscp = {{0, 7}}, .in_port = {{2, 3}, {15, 15}}}}});
    ASSERT_TRUE(p->judges_links());
    const auto rule_of = [&](std::uint16_t vlan, std::uint8_t dscp, std::uint8_t in_port) {
        auto q = tcp("192.0.2.1", "192.0.2.2", 80);
        q.link = {vlan, dscp, in_port};
        return classify(*p, q).rule;
    };
    EXPECT_EQ(rule_of(10, 46, 0), RuleId{0});
    EXPECT_EQ(rule_of(19, 0, 0), RuleId{0});
    EXPECT_EQ(rule_of(20, 0, 0), kNoRule);
    EXPECT_EQ(rule_of(10, 46, 1), kNoRule);
    EXPECT_EQ(rule_of(0, 46, 1), RuleId{1});
    EXPECT_EQ(rule_of(4095, 46, PolicyLink::kUnknownPort), RuleId{1});
    EXPECT_EQ(rule_of(29, 46, 1), kNoRule);
    EXPECT_EQ(rule_of(29, 7, 15), RuleId{2});
    EXPECT_EQ(rule_of(29, 8, 15), kNoRule);
    EXPECT_EQ(rule_of(29, 7, PolicyLink::kUnknownPort), kNoRule);
    EXPECT_FALSE(build({.rules = {{.dport = {{80, 80}}}}})->judges_links());
}

TEST(Policy, TwoPoliciesLiveSideBySide) {
    // As during a reload.
    const auto a = build({.rules = {{.action = PolicyAction::accept}}});
    const auto b = build({.rules = {{.action = PolicyAction::reject}}});
    EXPECT_EQ(classify(*a, tcp("192.0.2.1", "192.0.2.2", 80)).action, PolicyAction::accept);
    EXPECT_EQ(classify(*b, tcp("192.0.2.1", "192.0.2.2", 80)).action, PolicyAction::reject);
}

// --- against the reference ---------------------------------------------------------------------

/// Draws from few values, with the edges among them, so that rules and packets meet often.
class Dice {
  public:
    explicit Dice(unsigned seed) : rng_(seed) {}

    unsigned below(unsigned n) { return static_cast<unsigned>(rng_() % n); }
    bool one_in(unsigned n) { return below(n) == 0; }

    ZoneId zone() { return ZoneId::from(pick({0, 1, 2, 3, kMaxZones - 1})); }
    HelperId helper() { return static_cast<HelperId>(pick({0, 1, 2, 3, kMaxHelpers - 1})); }
    std::uint8_t protocol() {
        return static_cast<std::uint8_t>(pick({proto::tcp, proto::udp, proto::icmp, 0, 255}));
    }
    std::uint16_t port() {
        return static_cast<std::uint16_t>(pick(
            {0, 1, 21, 79, 80, 81, 255, 256, 1023, 1024, 0x0800, 0x08ff, 0xff00, 65534, 65535}));
    }
    std::uint16_t vlan() { return static_cast<std::uint16_t>(pick({0, 1, 10, 11, 4094, 4095})); }
    std::uint8_t dscp() { return static_cast<std::uint8_t>(pick({0, 1, 8, 46, 62, 63})); }
    std::uint8_t in_port() {
        return static_cast<std::uint8_t>(pick({0, 1, kMaxPorts - 1, PolicyLink::kUnknownPort}));
    }
    IpAddr address(Family f) {
        IpAddr a;
        a.family = f;
        // Bytes of few kinds at both ends; the middle of an IPv6 address is mostly alike.
        for (unsigned i = 0; i < address_bytes(f); ++i)
            a.bytes[i] = static_cast<std::uint8_t>(
                f == Family::ipv6 && i > 2 && i < 14 && !one_in(8) ? 0 : pick({0, 1, 0x80, 0xff}));
        return a;
    }
    Prefix prefix(Family f) {
        const unsigned bits = address_bytes(f) * 8;
        Prefix p{address(f), static_cast<std::uint8_t>(one_in(8) ? below(bits + 1)
                                                                 : pick({0, 1, 8, 9, 12, 16, 24}))};
        if (one_in(4)) p.length = static_cast<std::uint8_t>(bits - below(3));
        for (unsigned bit = p.length; bit < bits; ++bit)
            p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> (bit % 8)));
        return p;
    }
    PolicyRange range() {
        const auto a = port(), b = port();
        return {std::min(a, b), std::max(a, b)};
    }
    template <class T, class Fn>
    std::vector<T> some(unsigned any_odds, Fn one) {
        std::vector<T> out;
        if (below(4) < any_odds) return out;
        for (unsigned n = 1 + below(3); n > 0; --n)
            out.push_back(one());
        return out;
    }

    PolicyRule rule() {
        PolicyRule r;
        r.from = some<ZoneId>(2, [&] { return zone(); });
        r.to = some<ZoneId>(2, [&] { return zone(); });
        r.family = one_in(4) ? (one_in(2) ? Family::ipv4 : Family::ipv6) : Family::none;
        const auto any_family = [&] { return prefix(one_in(2) ? Family::ipv4 : Family::ipv6); };
        lists.push_back({some<Prefix>(2, any_family), some<Prefix>(2, any_family)});
        r.src = AddressSet(lists.back().src);
        r.dst = AddressSet(lists.back().dst);
        r.protocols = some<std::uint8_t>(2, [&] { return protocol(); });
        r.sport = some<PolicyRange>(3, [&] { return range(); });
        r.dport = some<PolicyRange>(2, [&] { return range(); });
        if (r.dport.empty() && one_in(4))
            r.icmp_types = some<std::uint8_t>(0, [&] {
                return static_cast<std::uint8_t>(pick({0, 8, 255}));
            });
        // Of most rules none, so that most still match.
        const auto of_link = [&](auto one) { return some<PolicyRange>(one_in(3) ? 2 : 4, one); };
        r.vlan = of_link([&] {
            const auto a = vlan(), b = vlan();
            return PolicyRange{std::min(a, b), std::max(a, b)};
        });
        r.dscp = of_link([&] {
            const auto a = dscp(), b = dscp();
            return PolicyRange{std::min(a, b), std::max(a, b)};
        });
        r.in_port = of_link([&] {
            const std::uint16_t port = in_port();
            return PolicyRange{port, port};
        });
        r.match_new = !one_in(4);
        r.match_related = !one_in(3);
        r.related = some<HelperId>(2, [&] { return helper(); });
        r.action = static_cast<PolicyAction>(below(3));
        r.helper = one_in(3) ? helper() : kNoHelper;
        r.untracked = one_in(4);
        return r;
    }
    PolicyQuery query() {
        const Family f = one_in(2) ? Family::ipv4 : Family::ipv6;
        PolicyQuery q{.tuple = {address(f), address(f), Be16::from_host(port()),
                                Be16::from_host(port()), protocol()},
                      .context = {.from = zone(), .to = zone()}};
        if (one_in(2)) {
            q.context.state = CtState::related;
            q.context.related_by = helper();
        } else if (one_in(4)) {
            q.context.state = CtState::untracked;
        } else if (one_in(8)) {
            q.context.state = one_in(2) ? CtState::established : CtState::invalid;
        }
        q.link = {vlan(), dscp(), in_port()};
        return q;
    }

    std::vector<Lists> lists;  ///< of the rules so far

  private:
    unsigned pick(std::initializer_list<unsigned> values) {
        return values.begin()[below(static_cast<unsigned>(values.size()))];
    }
    std::mt19937 rng_;
};

/// Live sets beside lists of their entries, by their bits.
class DrawnSets {
  public:
    static constexpr unsigned kBits[] = {0, 5, 9, 31};

    DrawnSets() : live(kMaxPolicySets), entries_(kMaxPolicySets) {
        shared_->clock.advance({});
        for (const unsigned bit : kBits)
            live[bit] = sets_.emplace_back(std::make_shared<LiveSet>(shared_));
    }
    void change(Dice& dice) {
        const unsigned which = dice.below(std::size(kBits));
        auto& list = entries_[kBits[which]];
        if (!list.empty() && (list.size() > 12 || dice.one_in(2))) {
            const auto at = list.begin() + dice.below(static_cast<unsigned>(list.size()));
            std::ignore = sets_[which]->remove(*at);
            const Prefix gone = *at;
            std::erase(list, gone);
            return;
        }
        list.push_back(dice.prefix(dice.one_in(2) ? Family::ipv4 : Family::ipv6));
        std::ignore = sets_[which]->add({list.back()});
    }
    std::uint32_t bits_of(const IpAddr& a) const {
        std::uint32_t out = 0;
        for (const unsigned bit : kBits)
            for (const Prefix& p : entries_[bit])
                if (p.contains(a)) out |= 1u << bit;
        return out;
    }
    PolicySets draw(Dice& dice) const {
        PolicySets out;
        if (dice.one_in(3)) out.any |= 1u << 0;
        if (dice.one_in(3)) out.any |= 1u << 5;
        if (out.any == 0 && dice.one_in(2)) out.any = dice.one_in(2) ? 1u << 9 : 1u << 31;
        for (const unsigned bit : kBits)
            if (dice.one_in(8)) out.none |= 1u << bit;
        return out;
    }
    static bool match(const PolicySets& wanted, std::uint32_t bits) {
        return (wanted.any == 0 || (wanted.any & bits) != 0) && (wanted.none & bits) == 0;
    }

    std::vector<std::shared_ptr<const LiveSet>> live;

  private:
    std::shared_ptr<SetShared> shared_ = std::make_shared<SetShared>();
    std::vector<std::shared_ptr<LiveSet>> sets_;
    std::vector<std::vector<Prefix>> entries_;
};

TEST(Policy, AgreesWithALinearScanOfLiveSets) {
    constexpr unsigned kPolicies = 24, kBursts = 200;
    std::size_t matched = 0, by_default = 0;
    for (unsigned seed = 0; seed < kPolicies; ++seed) {
        Dice dice(1000 + seed);
        DrawnSets sets;
        PolicyRules rules;
        for (unsigned n = 1 + dice.below(seed % 4 == 0 ? 700 : 12); n > 0; --n) {
            PolicyRule& r = rules.rules.emplace_back(dice.rule());
            r.vlan = r.dscp = r.in_port = {};
            if (!dice.one_in(3)) r.src_sets = sets.draw(dice);
            if (dice.one_in(3)) r.dst_sets = sets.draw(dice);
        }
        rules.sets = sets.live;
        const auto policy = build(rules);
        ASSERT_NE(policy, nullptr);
        std::array<PolicyQuery, kMaxBurst> q;
        std::array<PolicyVerdict, kMaxBurst> v;
        for (unsigned burst = 0; burst < kBursts; ++burst) {
            for (unsigned n = dice.below(4); n > 0; --n)
                sets.change(dice);
            const unsigned n = 1 + dice.below(kMaxBurst);
            for (unsigned i = 0; i < n; ++i)
                q[i] = dice.query();
            classify(*policy, std::span{q}.first(n), v.data());
            for (unsigned i = 0; i < n; ++i) {
                q[i].src_sets = sets.bits_of(q[i].tuple.src);
                q[i].dst_sets = sets.bits_of(q[i].tuple.dst);
                RuleId first = kNoRule;
                for (std::size_t r = 0; r < rules.rules.size() && first == kNoRule; ++r)
                    if (matches(rules.rules[r], dice.lists[r], q[i]) &&
                        DrawnSets::match(rules.rules[r].src_sets, q[i].src_sets) &&
                        DrawnSets::match(rules.rules[r].dst_sets, q[i].dst_sets))
                        first = RuleId::from(r);
                ASSERT_EQ(v[i].rule, first) << "seed " << seed << ": " << q[i].tuple.to_string();
                const auto all = policy->matching(q[i], 1);
                ASSERT_EQ(all.empty() ? kNoRule : RuleId::from(all[0]), first);
                ++(first == kNoRule ? by_default : matched);
            }
        }
    }
    EXPECT_GT(matched, kPolicies * kBursts * 6);
    EXPECT_GT(by_default, kPolicies * kBursts * 6);
}

TEST(Policy, RulesOfSetsAreShadowedByRulesOfFewerSets) {
    const PolicySets blocked{1, 0}, either{3, 0}, neither{0, 3};
    const auto covers_it = [](const PolicySets& a, const PolicySets& b) {
        return covers({.src_sets = a}, {.src_sets = b});
    };
    EXPECT_TRUE(covers_it({}, blocked));
    EXPECT_FALSE(covers_it(blocked, {}));
    EXPECT_TRUE(covers_it(either, blocked));
    EXPECT_FALSE(covers_it(blocked, either));
    EXPECT_TRUE(covers_it({0, 1}, neither));
    EXPECT_FALSE(covers_it(neither, {0, 1}));
    EXPECT_FALSE(covers_it({1u << 9, 0}, blocked));
    PolicyRules rules{
        .rules = {{.src_sets = either}, {.src_sets = blocked}, {.dst_sets = blocked}}};
    const auto found = shadowed_rules(rules, *build(rules));
    ASSERT_EQ(found.size(), 1u);
    EXPECT_EQ(found[0].rule, 1u);
}

TEST(Policy, AgreesWithALinearScan) {
    constexpr unsigned kSets = 48, kQueries = 20480;
    std::size_t by_rule = 0, by_default = 0;
    for (unsigned seed = 0; seed < kSets; ++seed) {
        Dice dice(seed);
        PolicyRules rules;
        for (unsigned n = 1 + dice.below(seed % 4 == 0 ? 150 : 20); n > 0; --n)
            rules.rules.push_back(dice.rule());
        if (seed % 2) rules.fallback = seed % 4 == 1 ? PolicyAction::reject : PolicyAction::accept;
        const auto policy = build(rules);
        ASSERT_NE(policy, nullptr);
        std::array<PolicyQuery, kMaxBurst> q;
        std::array<PolicyVerdict, kMaxBurst> v;
        for (unsigned done = 0; done < kQueries;) {
            const unsigned n = 1 + dice.below(kMaxBurst);  // every burst size, mixed families
            for (unsigned i = 0; i < n; ++i)
                q[i] = dice.query();
            classify(*policy, std::span{q}.first(n), v.data());
            for (unsigned i = 0; i < n; ++i) {
                const auto expected = reference(rules, dice.lists, q[i]);
                ASSERT_EQ(v[i], expected)
                    << "seed " << seed << ": " << q[i].tuple.to_string() << " zones "
                    << q[i].context.from.number() << ">" << q[i].context.to.number() << " "
                    << to_string(q[i].context.state) << " by " << int(q[i].context.related_by);
                ++(expected.rule == kNoRule ? by_default : by_rule);
            }
            done += n;
        }
    }
    // A comparison in which nothing, or everything, matches would compare nothing.
    EXPECT_GT(by_rule, kSets * kQueries / 5);
    EXPECT_GT(by_default, kSets * kQueries / 20);
}

TEST(Policy, RulesOfManyBlocksAndSectionsAreStillInOrder) {
    for (const unsigned n : {512u, 513u, 3000u}) {
        Dice dice(n);
        PolicyRules rules;
        for (unsigned i = 0; i < n; ++i) {
            rules.rules.push_back(dice.rule());
            // Else the first ones match nearly all.
            const std::uint16_t port = dice.in_port();
            rules.rules.back().in_port = {PolicyRange{port, port}};
        }
        // Rules this wild match nearly all; the later ones have to, too.
        rules.rules[n / 2].match_new = rules.rules[n / 2].match_related = false;
        const auto policy = build(rules);
        ASSERT_NE(policy, nullptr);
        std::array<PolicyQuery, kMaxBurst> q;
        std::array<PolicyVerdict, kMaxBurst> v;
        std::uint32_t last = 0;
        for (unsigned burst = 0; burst < 100; ++burst) {
            std::generate(q.begin(), q.end(), [&] { return dice.query(); });
            classify(*policy, q, v.data());
            for (unsigned i = 0; i < kMaxBurst; ++i) {
                ASSERT_EQ(v[i], reference(rules, dice.lists, q[i])) << q[i].tuple.to_string();
                if (v[i].rule != kNoRule) last = std::max(last, v[i].rule.number());
            }
        }
        EXPECT_GT(last, n / 4) << "else only the first block was compared";
    }
}

TEST(Policy, ABlockInWhichOnlySummariesMeetDoesNotEndTheSearch) {
    const AddressSet a{*Prefix::parse("10.0.0.1")}, b{*Prefix::parse("10.0.0.2")};
    PolicyRules rules;
    for (unsigned i = 0; i < 1600; ++i)
        rules.rules.push_back({.src = i % 2 ? a : b,
                               .protocols = {proto::tcp},
                               .dport = {{port_of(i % 2 ? 9 : 7), port_of(i % 2 ? 9 : 7)}}});
    rules.rules[1200].src = a;  // with port 7, which before it only the other source has
    const auto policy = build(rules);
    ASSERT_NE(policy, nullptr);
    EXPECT_EQ(classify(*policy, tcp("10.0.0.1", "192.0.2.1", 7)).rule, RuleId{1200});
    EXPECT_EQ(classify(*policy, tcp("10.0.0.1", "192.0.2.1", 9)).rule, RuleId{1});
    EXPECT_EQ(classify(*policy, tcp("10.0.0.2", "192.0.2.1", 9)).rule, kNoRule);
}

TEST(Policy, FiftyThousandRules) {
    // An address list as operators have it: one host or network a rule, some with ports.
    Dice dice(1);
    PolicyRules rules;
    std::vector<IpAddr> hosts;
    for (unsigned i = 0; i < 50000; ++i) {
        const auto a = static_cast<std::uint8_t>(i >> 8), b = static_cast<std::uint8_t>(i);
        PolicyRule r{.from = {ZoneId{0}},
                     .action = i % 3 ? PolicyAction::accept : PolicyAction::drop};
        hosts.push_back(IpAddr::v4(10, a, b, static_cast<std::uint8_t>(dice.below(256))));
        r.src = {Prefix::exact(hosts.back())};
        r.protocols = {proto::tcp};
        if (i % 2) r.dport = {{static_cast<std::uint16_t>(i), 65535}};
        rules.rules.push_back(r);
    }
    const auto policy = build(rules);
    ASSERT_NE(policy, nullptr);
    EXPECT_LT(policy->bytes(), 64'000'000u);
    for (unsigned i = 0; i < 50000; i += 7) {
        auto q = tcp("192.0.2.1", "192.0.2.2", 65535);
        q.tuple.src = hosts[i];
        ASSERT_EQ(classify(*policy, q).rule, RuleId{i});
        q.context.from = ZoneId{1};
        ASSERT_EQ(classify(*policy, q).rule, kNoRule);
    }
}

// --- rules that never match ---------------------------------------------------------------------

std::string shadowed(const PolicyRules& rules) {
    const auto policy = build(rules);
    std::string out;
    for (const ShadowedRule& s : shadowed_rules(rules, *policy))
        out += (out.empty() ? "" : " ") + std::to_string(s.rule) + "<" + std::to_string(s.by);
    return out;
}
constexpr PolicyAction kAccept = PolicyAction::accept;

TEST(Shadow, FindsRulesBehindOneThatMatchesAllOfTheirs) {
    const AddressSet net{*Prefix::parse("10.0.0.0/8")}, host{*Prefix::parse("10.1.2.3")};
    EXPECT_EQ(shadowed({.rules = {{.action = kAccept}, {.src = host}, {.dport = {{80, 80}}}}}),
              "1<0 2<0");
    EXPECT_EQ(shadowed({.rules = {{.src = host, .action = kAccept},
                                  {.src = net, .action = kAccept},
                                  {.src = host, .protocols = {proto::tcp}},
                                  {.src = net, .dport = {{1, 2}}}}}),
              "2<0 3<1");
    EXPECT_EQ(shadowed({.rules = {{.protocols = {proto::tcp, proto::udp}, .dport = {{1, 100}}},
                                  {.protocols = {proto::tcp}, .dport = {{5, 7}, {90, 100}}},
                                  {.protocols = {proto::tcp}, .dport = {{100, 101}}}}}),
              "1<0");
    EXPECT_EQ(shadowed({.rules = {{.mark = 0x10, .mark_mask = 0xf0, .action = kAccept},
                                  {.mark = 0x13, .mark_mask = 0xff, .action = kAccept},
                                  {.mark = 0x3, .mark_mask = 0xf, .action = kAccept}}}),
              "1<0");
}

TEST(Shadow, KnowsVlanCodePointAndPort) {
    EXPECT_EQ(shadowed({.rules = {{.vlan = {{10, 19}}, .action = kAccept},
                                  {.vlan = {{12, 12}, {15, 16}}, .dscp = {{46, 46}}},
                                  {.vlan = {{0, 0}}}}}),
              "1<0");
    EXPECT_EQ(
        shadowed({.rules = {{.dscp = {{46, 46}}}, {.in_port = {{1, 1}}}, {.vlan = {{5, 5}}}, {}}}),
        "");
    EXPECT_EQ(shadowed({.rules = {{.in_port = {{1, 1}, {3, 3}}}, {.in_port = {{3, 3}}}}}), "1<0");
    EXPECT_EQ(shadowed({.rules = {{.in_port = {{1, 1}}}, {.in_port = {{1, 1}, {3, 3}}}}}), "");
}

TEST(Shadow, LeavesRulesAloneThatSomethingReaches) {
    const AddressSet v4{*Prefix::parse("0.0.0.0/0")};
    EXPECT_EQ(shadowed({.rules = {{.family = Family::ipv4, .action = kAccept}, {}}}), "");
    EXPECT_EQ(shadowed({.rules = {{.src = v4, .action = kAccept}, {}}}), "");
    EXPECT_EQ(shadowed({.rules = {{.match_related = false, .action = kAccept}, {}}}), "");
    EXPECT_EQ(shadowed({.rules = {{.from = {ZoneId{1}}, .action = kAccept},
                                  {.from = {ZoneId{1}, ZoneId{2}}}}}),
              "");
    EXPECT_EQ(
        shadowed({.rules = {{.action = kAccept}, {.protocols = {proto::icmp}, .icmp_types = {5}}}}),
        "")
        << "a redirect has to be named";
    EXPECT_EQ(
        shadowed(
            {.rules = {{.sport = {{1, 2}}}, {}, {.match_new = false, .match_related = false}}}),
        "");
}

bool can_match(const PolicyRule& r) {
    const auto possible = [&](Family f) {
        return (r.family == Family::none || r.family == f) && r.src.has(f) && r.dst.has(f);
    };
    return (r.match_new || r.match_related) && (possible(Family::ipv4) || possible(Family::ipv6));
}

TEST(Shadow, AgreesWithAllPairs) {
    for (unsigned seed = 0; seed < 20; ++seed) {
        Dice dice(seed);
        PolicyRules rules;
        for (unsigned i = 0; i < 40; ++i)
            rules.rules.push_back(dice.rule());
        std::string expected;
        for (std::size_t i = 0; i < rules.rules.size(); ++i)
            for (std::size_t by = 0; by < i; ++by)
                if (can_match(rules.rules[i]) && covers(rules.rules[by], rules.rules[i])) {
                    expected += (expected.empty() ? "" : " ") + std::to_string(i) + "<" +
                                std::to_string(by);
                    break;
                }
        EXPECT_EQ(shadowed(rules), expected) << "seed " << seed;
        // And what is covered never is the verdict.
        const auto policy = build(rules);
        std::vector<bool> never(rules.rules.size());
        for (const ShadowedRule& s : shadowed_rules(rules, *policy))
            never[s.rule] = true;
        for (unsigned n = 0; n < 20000; ++n) {
            const PolicyQuery q = dice.query();
            if (q.context.state != CtState::fresh && q.context.state != CtState::related) continue;
            const PolicyVerdict v = classify(*policy, q);
            ASSERT_FALSE(v.rule != kNoRule && never[v.rule.number()]) << v.rule.number();
        }
    }
}

}  // namespace
}  // namespace postern
