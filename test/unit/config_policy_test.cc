// SPDX-License-Identifier: BSD-3-Clause
// Rules, what they do to connections, and advice about them.
#include "config_files.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string text_of(const AddressSet& set) {
    std::string out;
    for (const AddressRange& r : set.ranges())
        out += (out.empty() ? "" : " ") + r.to_string();
    return out;
}

const std::string kFtp = "helpers: [{name: ftp}]\n";

TEST(Config, RuleConditions) {
    const Spec s = good(with_rules(
        "  {name: web, from: [inside], to: outside, src: [192.0.2.0/24, 2001:db8::1], dst: any,\n"
        "   proto: tcp, sport: any, dport: [80, 8000-8080], action: accept},\n"
        "  {proto: [tcp, 50], action: reject},\n"
        "  {proto: icmp, icmp_type: [echo-request, 13], action: accept},\n"
        "  {family: ipv6, proto: icmpv6, icmp_type: echo-request, action: accept}"));
    ASSERT_EQ(s.policy.rules.size(), 4u);
    const RuleSpec& web = s.policy.rules[0];
    EXPECT_EQ(web.name, "web");
    EXPECT_THAT(web.from, ElementsAre(ZoneId{0}));
    EXPECT_THAT(web.to, ElementsAre(ZoneId{1}));
    EXPECT_EQ(text_of(web.src), "192.0.2.0/24 2001:db8::1");
    EXPECT_TRUE(web.dst.is_any());
    EXPECT_THAT(web.protocols, ElementsAre(proto::tcp));
    EXPECT_THAT(web.sport, IsEmpty());
    EXPECT_THAT(web.dport, ElementsAre(PortRange{80, 80}, PortRange{8000, 8080}));
    EXPECT_EQ(web.where.line, 6u);
    EXPECT_EQ(s.policy.rules[1].name, "rule1");
    EXPECT_THAT(s.policy.rules[1].protocols, ElementsAre(proto::tcp, 50));
    EXPECT_EQ(s.policy.rules[1].action, RuleAction::reject);
    EXPECT_THAT(s.policy.rules[2].icmp_types, ElementsAre(8, 13));
    EXPECT_EQ(s.policy.rules[3].family, Family::ipv6);
    EXPECT_THAT(s.policy.rules[3].icmp_types, ElementsAre(128));
}

TEST(Config, RuleConditionsOfTheLink) {
    const auto rule = [](const std::string& keys) {
        return good(with_rules("{action: accept, " + keys + "}")).policy.rules[0];
    };
    using Ranges = NumberSet<std::uint32_t>;
    EXPECT_EQ(rule("vlan: 10").vlan, (Ranges{{10, 10}}));
    EXPECT_EQ(rule("vlan: [none, 20-30, 31, not 25]").vlan, (Ranges{{0, 0}, {20, 24}, {26, 31}}));
    EXPECT_EQ(rule("vlan: not none").vlan, (Ranges{{1, 4095}}));
    EXPECT_EQ(rule("vlan: any").vlan, Ranges{});
    EXPECT_EQ(rule("dscp: [ef, af11, 0-3]").dscp, (Ranges{{0, 3}, {10, 10}, {46, 46}}));
    EXPECT_EQ(rule("dscp: not cs0").dscp, (Ranges{{1, 63}}));
    EXPECT_THAT(rule("in_port: in0").in_port, ElementsAre(PortId{0}));
    EXPECT_THAT(rule("out_port: not in0").out_port, ElementsAre(PortId{1}));
    EXPECT_THAT(rule("in_port: any").in_port, IsEmpty());
}

TEST(Config, RuleStates) {
    const std::string helper = "helpers: [{name: ftp}]\n";
    const Spec s =
        good(helper + with_rules("  {action: accept},\n"
                                 "  {ct: [new], action: drop},\n"
                                 "  {ct: [established, related], action: accept},\n"
                                 "  {ct: established, action: accept},\n"
                                 "  {related: ftp, action: accept},\n"
                                 "  {ct: [new, related], related: [ftp], action: accept},\n"
                                 "  {ct: any, action: drop}"));
    const auto state = [&](std::size_t i) {
        const auto& r = s.policy.rules[i];
        return std::string(r.match_new ? "n" : "") + (r.match_related ? "r" : "") +
               (r.match_established ? "e" : "") + (r.related.empty() ? "" : "+");
    };
    EXPECT_EQ(state(0), "nr") << "without ct: whatever reaches policy";
    EXPECT_EQ(state(1), "n");
    EXPECT_EQ(state(2), "re");
    EXPECT_EQ(state(3), "e");
    EXPECT_EQ(state(4), "r+") << "related: alone does not match new ones";
    EXPECT_EQ(state(5), "nr+");
    EXPECT_EQ(state(6), "nr");
}

TEST(Config, TimeoutProfiles) {
    const Spec s = good(
        "timeouts:\n"
        "  base: rfc\n"
        "  udp: {stream: 7m}\n"
        "  profiles:\n"
        "    games: {udp: {unreplied: 1m}}\n"
        "    long: {base: games, tcp: {established: 20d}}\n" +
        with_rules("{action: accept, timeouts: long},\n"
                   "{action: accept, timeouts: linux},\n"
                   "{action: accept},\n"
                   "{action: accept, timeouts: long, liberal: true}"));
    EXPECT_EQ(s.timeouts[Timeout::tcp_established], 7440u);
    EXPECT_EQ(s.timeouts[Timeout::tcp_syn_sent], 240u);
    EXPECT_EQ(s.timeouts[Timeout::udp_unreplied], 300u);
    EXPECT_EQ(s.timeouts[Timeout::udp_stream], 420u);
    EXPECT_EQ(s.timeouts[Timeout::icmp_request], 60u);
    ASSERT_EQ(s.timeout_profiles.size(), 2u) << "those that rules use";
    EXPECT_EQ(s.timeout_profiles[0].name, "long");
    EXPECT_EQ(s.timeout_profiles[0].timeouts[Timeout::udp_unreplied], 60u);
    EXPECT_EQ(s.timeout_profiles[0].timeouts[Timeout::tcp_established], 20u * 86400);
    EXPECT_EQ(s.timeout_profiles[0].timeouts[Timeout::tcp_syn_sent], 120u);
    EXPECT_EQ(s.timeout_profiles[1].timeouts, TimeoutSeconds{});
    const auto& rules = s.policy.rules;
    EXPECT_EQ(rules[0].timeouts, 1);
    EXPECT_EQ(rules[1].timeouts, 2);
    EXPECT_EQ(rules[2].timeouts, 0);
    EXPECT_EQ(rules[3].timeouts, 1);
    EXPECT_TRUE(rules[3].liberal);
    EXPECT_FALSE(rules[0].liberal);
}

TEST(Config, MarksAndLabels) {
    const auto rule = [](const std::string& keys) {
        return good(with_rules("{action: accept, " + keys + "}")).policy.rules[0];
    };
    EXPECT_EQ(rule("set: {mark: 16}").set.mark, 16u);
    EXPECT_EQ(rule("set: {mark: 16}").set.mark_mask, 0xffffffffu);
    EXPECT_EQ(rule("set: {label: 0x10/0xff}").set.label, 0x10u);
    EXPECT_EQ(rule("set: {label: 0x10/0xff}").set.label_mask, 0xffu);
    EXPECT_EQ(rule("set: {label: 1}").set.mark_mask, 0u);
    EXPECT_EQ(rule("mark: 0/0xf").mark_mask, 0xfu);
    EXPECT_EQ(rule("mark: any").mark_mask, 0u);
}

TEST(Config, ExpectByRule) {
    const auto rule = [](const std::string& keys) {
        return *good(with_rules("{action: accept, expect: {proto: tcp, " + keys + "}}"))
                    .policy.rules[0]
                    .expect;
    };
    const ExpectSpec one = rule("dport: 5432");
    EXPECT_EQ(one.protocol, proto::tcp);
    EXPECT_EQ(one.dport, (PortRange{5432, 5432}));
    EXPECT_FALSE(one.to_server);
    EXPECT_EQ(one.timeout_s, 300u);
    EXPECT_EQ(one.max, 1);
    EXPECT_FALSE(one.permanent);
    const ExpectSpec many =
        rule("dport: 5000-5063, to: server, timeout: 1h, max: 100, permanent: true");
    EXPECT_EQ(many.dport, (PortRange{5000, 5063}));
    EXPECT_TRUE(many.to_server);
    EXPECT_EQ(many.timeout_s, 3600u);
    EXPECT_EQ(many.max, 100);
    EXPECT_TRUE(many.permanent);
}

TEST(Config, Warnings) {
    EXPECT_THAT(
        warnings("zones: [a, b]\npolicy: {rules: [{from: b, action: drop}]}\n"
                 "ports: [{name: p, device: net_null0, zone: a}]\n"),
        ElementsAre("x.yaml:2:18: policy.rules[0]: no port is in zone \"b\", so nothing can match",
                    "x.yaml:3:9: ports[0]: port \"p\" is in no bridge, so what comes in by it "
                    "is dropped"));
    EXPECT_THAT(warnings(with_rules("  {proto: [tcp, 60], action: accept},\n"
                                    "  {proto: [135, 139, 140], action: accept}")),
                ElementsAre("x.yaml:6:3: policy.rules[0]: of IPv6, protocol 60 is an extension "
                            "header: rules see what follows it"));
    EXPECT_THAT(
        warnings(kFtp + with_rules("  {action: drop}")),
        ElementsAre("x.yaml:1:11: helpers[0]: no rule has `helper: ftp`, so it watches nothing"));
    EXPECT_THAT(
        warnings(kFtp +
                 with_rules("  {ct: new, proto: tcp, dport: 21, action: accept, helper: ftp}")),
        ElementsAre("x.yaml:1:11: helpers[0]: no rule accepts what it expects (`ct: "
                    "[related]`), so it is in vain"));
    EXPECT_THAT(
        warnings(kFtp + with_rules("  {proto: tcp, dport: 20-22, action: accept},\n"
                                   "  {proto: tcp, dport: 21, action: accept, helper: ftp}")),
        ElementsAre("x.yaml:7:3: policy.rules[0]: accepts port 21 without helper \"ftp\" (add "
                    "`helper: ftp`?)"));
}

}  // namespace
}  // namespace postern
