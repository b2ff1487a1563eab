// SPDX-License-Identifier: BSD-3-Clause
// `groups`, and the lists of rules: ranges, `not`, nesting, included files, and what is wrong with
// them.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include <unistd.h>

#include "config/describe_rules.h"
#include "config_files.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string text_of(const AddressSet& set) {
    std::string out;
    for (const AddressRange& r : set.ranges())
        out += (out.empty() ? "" : " ") + r.to_string();
    return out;
}
std::string text_of(const std::vector<PortRange>& list) {
    std::string out;
    for (const PortRange& r : list)
        out += (out.empty() ? "" : " ") + std::to_string(r.first) + "-" + std::to_string(r.last);
    return out;
}
/// `groups` begin on line 7, the rules end on line 6.
std::string file(const std::string& rule, const std::string& groups) {
    return with_rules("  {action: accept, " + rule + "}") + "groups:\n" + groups;
}
RuleSpec rule_of(const std::string& rule, const std::string& groups) {
    const Spec s = good(file(rule, groups));
    return s.policy.rules.empty() ? RuleSpec{} : s.policy.rules[0];
}

TEST(ConfigGroups, NestAndHaveRangesAndExceptions) {
    const std::string groups =
        "  addresses:\n"
        "    all: [web, 2001:db8::/64, 10.0.0.5-10.0.0.90, not guests]\n"
        "    web: 192.0.2.0/30\n"
        "    guests: [10.0.0.8/29, 192.0.2.1]\n"
        "  ports: {high: 1024-65535, most: [high, 80-90, not 8080]}\n";
    const RuleSpec r = rule_of(
        "src: all, dst: [not all, not 198.51.100.0/24], proto: tcp,"
        " dport: [most, 443], sport: not high",
        groups);
    EXPECT_EQ(text_of(r.src),
              "10.0.0.5-10.0.0.7 10.0.0.16-10.0.0.90 192.0.2.0 192.0.2.2/31 2001:db8::/64");
    EXPECT_FALSE(r.dst.contains(IpAddr::v4(10, 0, 0, 5)));
    EXPECT_TRUE(r.dst.contains(IpAddr::v4(10, 0, 0, 8)));
    EXPECT_FALSE(r.dst.contains(IpAddr::v4(198, 51, 100, 7)));
    EXPECT_TRUE(r.dst.contains(*IpAddr::parse("2001:db8:0:1::")));
    EXPECT_EQ(text_of(r.dport), "80-90 443-443 1024-8079 8081-65535");
    EXPECT_EQ(text_of(r.sport), "0-1023");
}

TEST(ConfigGroups, ServicesPairProtocolsWithPorts) {
    const RuleSpec r =
        rule_of("service: [dns, tcp/80-81, gre]", "  services: {dns: [udp/53, tcp/53]}\n");
    ASSERT_NE(r.services, nullptr);
    const auto pair = [](unsigned protocol, unsigned port) { return protocol << 16 | port; };
    EXPECT_EQ(*r.services, (NumberSet<std::uint32_t>{{pair(6, 53), pair(6, 53)},
                                                     {pair(6, 80), pair(6, 81)},
                                                     {pair(17, 53), pair(17, 53)},
                                                     {pair(47, 0), pair(47, 65535)}}));
    EXPECT_THAT(r.protocols, ElementsAre(6, 17, 47));
    EXPECT_TRUE(r.dport.empty());
}

TEST(ConfigGroups, RulesThatNameOneGroupShareItsSet) {
    const Spec s = good(with_rules("  {action: accept, src: web},\n  {action: drop, src: [web]}") +
                        "groups: {addresses: {web: [192.0.2.1, 192.0.2.9]}}\n");
    ASSERT_EQ(s.policy.rules.size(), 2u);
    EXPECT_EQ(&s.policy.rules[0].src.addresses(), &s.policy.rules[1].src.addresses());
}

TEST(ConfigGroups, NestSixtyFourDeep) {
    const auto chain = [](unsigned n) {
        std::string groups = "  addresses: {";
        for (unsigned i = 1; i < n; ++i)
            groups += "g" + std::to_string(i) + ": g" + std::to_string(i + 1) + ", ";
        return groups + "g" + std::to_string(n) + ": 192.0.2.1}\n";
    };
    EXPECT_THAT(errors(file("src: g1", chain(kMaxGroupDepth))), ElementsAre());
    EXPECT_THAT(errors(file("src: g1", chain(20'000))),
                Contains(HasSubstr("groups in groups more than 64 deep")));
}

struct Mistake {
    const char* name;
    std::string rule, groups, message;
};
class ConfigGroupMistakes : public ::testing::TestWithParam<Mistake> {};
TEST_P(ConfigGroupMistakes, AreReportedWithTheirPlace) {
    const Mistake& m = GetParam();
    EXPECT_THAT(errors(file(m.rule, m.groups)), ElementsAre("x.yaml:" + m.message));
}
INSTANTIATE_TEST_SUITE_P(
    All, ConfigGroupMistakes,
    ::testing::Values(
        Mistake{"cycle", "src: any", "  addresses: {a: [b], b: [c, 192.0.2.1], c: not a}\n",
                "8:45: groups.addresses.c: group \"a\" contains itself (a -> b -> c -> a)"},
        Mistake{"unknown", "src: sevrers", "  addresses: {servers: 192.0.2.1}\n",
                "6:25: policy.rules[0].src: \"sevrers\" is not an address, prefix or range of "
                "addresses, nor a group of addresses (did you mean \"servers\"?)"},
        Mistake{"unknown_not", "src: not sevrers", "  addresses: {servers: 192.0.2.1}\n",
                "6:25: policy.rules[0].src: \"sevrers\" is not an address, prefix or range of "
                "addresses, nor a group of addresses (did you mean \"servers\"?)"},
        Mistake{"wrong_kind", "src: high", "  ports: {high: 1024-65535}\n",
                "6:25: policy.rules[0].src: \"high\" is a group of ports, not of addresses"},
        Mistake{"two_kinds", "src: any", "  ports: {a: 1}\n  addresses: {a: 192.0.2.1}\n",
                "8:11: groups.ports.a: \"a\" is a group of addresses already"},
        Mistake{"literal_name", "src: any", "  ports: {\"80\": 1}\n",
                "8:11: groups.ports.80: \"80\" cannot be the name of a group of ports: it means "
                "something else in a list"},
        Mistake{"dotted_name", "src: any", "  addresses: {www.example.org: 192.0.2.1}\n",
                "8:15: groups.addresses.www.example.org: \"www.example.org\" cannot be the name "
                "of a group: it has a dot, like addresses and names of hosts"},
        Mistake{"host_bits", "src: any", "  addresses: {a: 192.0.2.1/24}\n",
                "8:18: groups.addresses.a: \"192.0.2.1/24\" has bits set beyond its length (did "
                "you mean 192.0.2.0/24?)"},
        Mistake{"backward", "src: 10.0.0.9-10.0.0.1", "",
                "6:25: policy.rules[0].src: the range 10.0.0.9-10.0.0.1 is empty (did you mean "
                "10.0.0.1-10.0.0.9?)"},
        Mistake{"two_families", "src: \"10.0.0.9-2001:db8::\"", "",
                "6:25: policy.rules[0].src: the ends of \"10.0.0.9-2001:db8::\" are of different "
                "families"},
        Mistake{"nothing_left", "src: [192.0.2.1, not 192.0.2.0/24]", "",
                "6:26: policy.rules[0].src[0]: `not` leaves nothing of this list"},
        Mistake{"twice", "src: any", "  addresses: {a: [192.0.2.1, 192.0.2.1]}\n",
                "8:30: groups.addresses.a[1]: \"192.0.2.1\" is given twice"},
        Mistake{"empty", "src: any", "  addresses: {a: []}\n",
                "8:18: groups.addresses.a: an empty list; leave the key out, or write what is "
                "meant"},
        Mistake{"service_and_port", "service: tcp/80, dport: 80", "",
                "6:44: policy.rules[0].dport: excluded by `service`, which names protocols and "
                "ports"},
        Mistake{"port_of_gre", "service: gre/80", "",
                "6:29: policy.rules[0].service: gre has no ports"},
        Mistake{"octal", "proto: tcp, dport: 010", "",
                "6:39: policy.rules[0].dport: expected a whole number, 0 to 65535, found \"010\""},
        Mistake{"no_file", "src: any", "  addresses: {a: {file: nowhere.txt}}\n",
                "8:25: groups.addresses.a.file: nowhere.txt cannot be opened: No such file or "
                "directory"},
        Mistake{"device", "src: any", "  addresses: {a: [{file: /dev/zero}]}\n",
                "8:26: groups.addresses.a[0].file: /dev/zero is not a regular file"},
        Mistake{"file_in_rule", "src: {file: a.txt}", "",
                "6:25: policy.rules[0].src: expected one value or a list, found a mapping"}),
    [](const auto& about) { return std::string(about.param.name); });

/// A folder with files, removed at the end.
class ConfigGroupFiles : public ::testing::Test {
  protected:
    ConfigGroupFiles() {
        folder_ = ::testing::TempDir() + "groups" + std::to_string(::getpid());
        std::filesystem::create_directory(folder_);
    }
    ~ConfigGroupFiles() override { std::filesystem::remove_all(folder_); }
    void write(const std::string& text) { std::ofstream(folder_ + "/list.txt") << text; }
    LoadResult load_here(const std::string& groups) {
        return load_spec_text(file("src: a", groups), folder_ + "/x.yaml", schema());
    }
    std::string folder_;
};

TEST_F(ConfigGroupFiles, HaveAnEntryALineAndComments) {
    write("# servers\n192.0.2.1\n\n  10.0.0.0/8  # all of it\r\nnot 10.1.0.0/16\nb\n2001:db8::1");
    const auto r = load_here("  addresses: {a: [{file: list.txt}, 192.0.2.2], b: 192.0.2.3}\n");
    ASSERT_THAT(texts(r.errors), ElementsAre());
    EXPECT_EQ(text_of(r.spec->policy.rules[0].src),
              "10.0.0.0/16 10.2.0.0-10.255.255.255 192.0.2.1-192.0.2.3 2001:db8::1");
}

TEST_F(ConfigGroupFiles, EmptyOnesMatchNothing) {
    write("# none yet\n");
    const auto r = load_here("  addresses: {a: {file: list.txt}}\n");
    ASSERT_THAT(texts(r.errors), ElementsAre());
    EXPECT_FALSE(r.spec->policy.rules[0].src.is_any());
    EXPECT_FALSE(r.spec->policy.rules[0].src.contains(IpAddr::v4(192, 0, 2, 1)));
}

TEST_F(ConfigGroupFiles, MistakesHaveTheirLineAndNotTheirText) {
    write("192.0.2.1\n192.0.2.300\nsecret:x:0\n10.0.0.9-10.0.0.1\n");
    const auto r = load_here("  addresses: {a: {file: list.txt}}\n");
    ASSERT_EQ(r.errors.size(), 3u);
    EXPECT_EQ(r.errors[0].line, 8u);
    EXPECT_EQ(r.errors[0].message,
              "groups.addresses.a.file: list.txt:2 is not an address, prefix "
              "or range of addresses, nor a group of addresses");
    EXPECT_THAT(r.errors[1].message, HasSubstr("list.txt:3 is not"));
    EXPECT_THAT(r.errors[2].message, HasSubstr("list.txt:4: the range 10.0.0.9-10.0.0.1 is empty"));
    for (const Diagnostic& d : r.errors)
        EXPECT_EQ(d.message.find("secret"), std::string::npos) << d.message;
}

TEST_F(ConfigGroupFiles, EndAfterTenMistakes) {
    std::string text;
    for (unsigned i = 0; i < 1000; ++i)
        text += "x\n";
    write(text);
    EXPECT_EQ(load_here("  addresses: {a: {file: list.txt}}\n").errors.size(), 10u);
}

TEST(ConfigRules, ThatMatchNothingAreWarnedOf) {
    EXPECT_THAT(warnings(with_rules("  {ct: established, action: accept},\n"
                                    "  {proto: tcp, dport: 0, action: accept},\n"
                                    "  {proto: tcp, dport: [0, 1], action: accept},\n"
                                    "  {ct: established, enabled: false, action: accept}")),
                ElementsAre(HasSubstr("x.yaml:6:3: policy.rules[0]: `ct: established` alone"),
                            HasSubstr("x.yaml:7:3: policy.rules[1]: `dport: 0` matches port 0")));
}

TEST(ConfigRules, AreDescribedAsUnderstood) {
    const Spec s = good(
        "helpers: [{name: ftp}]\n" +
        with_rules("  {name: a, from: inside, src: [web, not 192.0.2.0/31], service: [dns, gre],"
                   " action: accept},\n"
                   "  {name: b, enabled: false, description: later, proto: tcp, sport: 1-9,"
                   " dport: [80, 443], action: reject},\n"
                   "  {ct: new, proto: tcp, dport: 21, helper: ftp, action: accept},\n"
                   "  {related: ftp, mark: 0x10/0xff, liberal: true, action: accept},\n"
                   "  {proto: icmp, icmp_type: 8, action: drop}") +
        "groups:\n"
        "  addresses: {web: [192.0.2.0/30, 10.0.0.5-10.0.0.90]}\n"
        "  services: {dns: [udp/53, tcp/53]}\n");
    EXPECT_EQ(describe_rules(s),
              "  a: accept new and related, from inside, src 10.0.0.5-10.0.0.90, 192.0.2.2/31, "
              "service tcp/53, udp/53, gre\n"
              "  b: (disabled) reject new and related, proto tcp, sport 1-9, dport 80, 443  # "
              "later\n"
              "  rule2: accept new, proto tcp, dport 21, helper ftp\n"
              "  rule3: accept related by ftp, mark 0x10/0xff, liberal\n"
              "  rule4: drop new and related, proto icmp, icmp_type 8\n");
}

TEST(ConfigRules, MayBeDescribedAndDisabled) {
    const auto r =
        load(with_rules("  {name: a, description: \"for tests: one\", enabled: false, from: "
                        "inside, action: drop},\n"
                        "  {name: b, action: accept}"));
    ASSERT_TRUE(r.ok());
    EXPECT_EQ(r.spec->policy.rules[0].description, "for tests: one");
    EXPECT_FALSE(r.spec->policy.rules[0].enabled);
    EXPECT_TRUE(r.spec->policy.rules[1].enabled);
    EXPECT_THAT(errors(with_rules("  {enabled: maybe, action: drop}")),
                ElementsAre("x.yaml:6:13: policy.rules[0].enabled: expected true or false, found "
                            "\"maybe\""));
}

}  // namespace
}  // namespace postern
