// SPDX-License-Identifier: BSD-3-Clause
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/load.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

Schema schema() {
    return {
        .helpers = {{.name = "ftp",
                     .protocols = {proto::tcp},
                     .ports = {21},
                     .params = {{.name = "loose", .fallback = false},
                                {.name = "depth", .fallback = std::uint64_t{4}, .min = 1, .max = 8},
                                {.name = "banner", .fallback = std::string("hello")}}},
                    {.name = "tftp", .protocols = {proto::udp}, .ports = {69}, .params = {}}},
        .stages = {"parse", "steer", "conntrack", "expect", "policy", "commit", "helper", "forward",
                   "sample"},
        .default_pipeline = {"parse", "steer", "conntrack", "expect", "policy", "commit", "helper",
                             "forward"}};
}

/// A complete file around one or more sections. Line 1 of `extra` is line 8 of the file; `rules`
/// are flow mappings, one a line, the first on line 6.
std::string with_rules(const std::string& rules) {
    return "zones: [inside, outside]\n"
           "ports: [{name: in0, device: net_null0, zone: inside},\n"
           "        {name: out0, device: net_null1, zone: outside}]\n"
           "bridges: [{ports: [in0, out0]}]\n"
           "policy: {default: drop, rules: [\n" +
           rules + "]}\n";
}
/// … or around further sections, which begin on line 8.
std::string with(const std::string& extra) {
    return "zones: [inside, outside]\n"
           "ports:\n"
           "  - {name: in0, device: net_null0, zone: inside}\n"
           "  - {name: out0, device: net_null1, zone: outside}\n"
           "bridges: [{ports: [in0, out0]}]\n"
           "policy: {default: drop}\n"
           "\n" +
           extra;
}
LoadResult load(const std::string& text) {
    return load_spec_text(text, "x.yaml", schema());
}
std::vector<std::string> texts(const std::vector<Diagnostic>& list) {
    std::vector<std::string> out;
    for (const auto& d : list)
        out.push_back(d.to_string());
    return out;
}
/// Loads, and expects no errors.
Spec good(const std::string& text) {
    auto r = load(text);
    EXPECT_THAT(texts(r.errors), IsEmpty());
    return r.ok() ? *r.spec : Spec{};
}
std::vector<std::string> errors(const std::string& text) {
    auto r = load(text);
    EXPECT_EQ(r.ok(), r.errors.empty());
    return texts(r.errors);
}
std::vector<std::string> warnings(const std::string& text) {
    auto r = load(text);
    EXPECT_THAT(texts(r.errors), IsEmpty());
    return texts(r.warnings);
}

TEST(Conf, DemoSaysWhatTheDemoNeeds) {
    const auto r = load_spec(POSTERN_CONF_DIR "/demo.yaml", schema());
    ASSERT_TRUE(r.ok());
    const Spec& s = *r.spec;
    EXPECT_EQ(s.workers.count, 2);
    EXPECT_EQ(s.ports[0].device, "net_af_packet0,iface=pst-in");
    EXPECT_EQ(s.ports[1].device, "net_af_packet1,iface=pst-out");
    ASSERT_EQ(s.policy.rules.size(), 2u);
    EXPECT_EQ(s.policy.rules[0].helper, 1);
    EXPECT_FALSE(s.policy.rules[0].match_related);
    EXPECT_THAT(s.policy.rules[1].related, ElementsAre(1));
    EXPECT_FALSE(s.policy.rules[1].match_new);
    EXPECT_EQ(s.limits.connections, 65536u);
}

TEST(Config, DefaultsHold) {
    const Spec s = good(with(""));
    EXPECT_EQ(s.workers.count, 1);
    EXPECT_EQ(s.workers.burst, 32);
    EXPECT_EQ(s.timeouts.tcp.established_s, 432000u);
    EXPECT_EQ(s.limits.connections, 262144u);
    EXPECT_EQ(s.ports[0].queues, 0);
    EXPECT_EQ(s.ports[0].mtu, 1500);
    EXPECT_EQ(s.ports[1].zone, 1);
    EXPECT_EQ(s.policy.fallback, RuleAction::drop);
    EXPECT_EQ(s.pipeline, schema().default_pipeline);
    EXPECT_EQ(s.control.socket, "/run/postern/control.sock");
    EXPECT_THAT(s.bridges[0].pass.ethertypes, ElementsAre(0x0806));
    EXPECT_TRUE(s.bridges[0].pass.neighbour_discovery);
}

TEST(Config, EverySectionIsRead) {
    const Spec s =
        good(with("eal: {hugepages: no, memory_mb: 1024, args: [\"--log-level=debug\"]}\n"
                  "workers: {count: 3, cpus: [0, 2], main_cpu: 1, burst: 64,\n"
                  "          idle: {spins: 7, sleep_us: 0}}\n"
                  "timeouts:\n"
                  "  tcp: {syn_sent: 90, established: 2h, syn_sent2: 1m}\n"
                  "  udp: {stream: 5m}\n"
                  "  icmp: {request: 10s}\n"
                  "  icmpv6: {request: 11s}\n"
                  "  generic: {timeout: 1d}\n"
                  "limits: {connections: 1M, expectations: 2K, stream_buffer: 8K}\n"
                  "pipeline: [parse, sample, forward]\n"
                  "control: {socket: /tmp/x.sock}\nscanner_cache: /var/cache/x\n"));
    EXPECT_EQ(s.eal.hugepages, Hugepages::no);
    EXPECT_EQ(s.eal.memory_mb, 1024u);
    EXPECT_THAT(s.eal.args, ElementsAre("--log-level=debug"));
    EXPECT_EQ(s.workers.count, 3);
    EXPECT_THAT(s.workers.cpus, ElementsAre(0, 2));
    EXPECT_EQ(s.workers.main_cpu, 1);
    EXPECT_EQ(s.workers.burst, 64);
    EXPECT_EQ(s.workers.idle.spins, 7u);
    EXPECT_EQ(s.workers.idle.sleep_us, 0u);
    EXPECT_EQ(s.timeouts.tcp.syn_sent_s, 90u);
    EXPECT_EQ(s.timeouts.tcp.established_s, 7200u);
    EXPECT_EQ(s.timeouts.tcp.syn_sent2_s, 60u);
    EXPECT_EQ(s.timeouts.udp.stream_s, 300u);
    EXPECT_EQ(s.timeouts.icmp_request_s, 10u);
    EXPECT_EQ(s.timeouts.icmpv6_request_s, 11u);
    EXPECT_EQ(s.timeouts.generic_s, 86400u);
    EXPECT_EQ(s.limits.connections, 1u << 20);
    EXPECT_EQ(s.limits.expectations, 2048u);
    EXPECT_EQ(s.limits.stream_buffer_bytes, 8192u);
    EXPECT_EQ(s.scanner_cache, "/var/cache/x");
    EXPECT_THAT(s.pipeline, ElementsAre("parse", "sample", "forward"));
    EXPECT_EQ(s.control.socket, "/tmp/x.sock");
}

TEST(Config, HelpersInOtherProcessesAreDeclared) {
    const Spec s =
        good(with("helpers:\n"
                  "  - name: toy\n"
                  "    ports: [7000]\n"
                  "    userspace: {transports: [tcp, udp], classes: [{name: data, proto: tcp}]}\n"
                  "  - name: other\n"
                  "    userspace:\n"
                  "      transports: udp\n"
                  "      framing: stream\n"
                  "      data_len: 4\n"
                  "      proof: true\n"
                  "      bypass: false\n"
                  "      wait_ms: 50\n"
                  "      queue: 1K\n"
                  "      socket: /tmp/other.sock\n"
                  "      classes: [{name: a, proto: udp, max: 8, timeout: 2m},"
                  " {name: b, proto: tcp}]\n"));
    ASSERT_EQ(s.helpers.size(), 2u);
    EXPECT_EQ(s.helpers[0].kind, "toy");
    EXPECT_THAT(s.helpers[0].protocols, ElementsAre(proto::tcp, proto::udp));
    ASSERT_TRUE(s.helpers[0].userspace);
    const UserspaceSpec& toy = *s.helpers[0].userspace;
    EXPECT_TRUE(toy.bypass && !toy.stream && !toy.proof && toy.socket.empty());
    EXPECT_EQ(toy.data_bytes, 32);
    EXPECT_EQ(toy.wait_ms, 200u);
    EXPECT_EQ(toy.queue, 256u);
    const UserspaceSpec& other = *s.helpers[1].userspace;
    EXPECT_TRUE(!other.bypass && other.stream && other.proof);
    EXPECT_EQ(other.data_bytes, 4);
    EXPECT_EQ(other.wait_ms, 50u);
    EXPECT_EQ(other.queue, 1024u);
    EXPECT_EQ(other.socket, "/tmp/other.sock");
    ASSERT_EQ(other.classes.size(), 2u);
    EXPECT_EQ(other.classes[0].protocol, proto::udp);
    EXPECT_EQ(other.classes[0].max, 8);
    EXPECT_EQ(other.classes[0].timeout_s, 120u);
    EXPECT_EQ(other.classes[1].max, 1);
    EXPECT_EQ(other.classes[1].timeout_s, 30u);
}

TEST(Config, HelpersTakeDefaultsFromTheirKind) {
    const Spec s =
        good(with("helpers:\n"
                  "  - name: ftp\n"
                  "  - {name: odd, helper: ftp, ports: [2121], params: {loose: yes, depth: 8}}\n"
                  "  - {name: tftp, ports: 70}\n"));
    ASSERT_EQ(s.helpers.size(), 3u);
    EXPECT_EQ(s.helpers[0].kind, "ftp");
    EXPECT_EQ(s.helpers[0].protocols, std::vector{proto::tcp});
    EXPECT_THAT(s.helpers[0].ports, ElementsAre(21));
    ASSERT_EQ(s.helpers[0].params.size(), 3u);
    EXPECT_EQ(s.helpers[0].params[0].name, "loose");
    EXPECT_EQ(s.helpers[0].params[0].value, ParamValue(false));
    EXPECT_EQ(s.helpers[1].kind, "ftp");
    EXPECT_THAT(s.helpers[1].ports, ElementsAre(2121));
    EXPECT_EQ(s.helpers[1].params[0].value, ParamValue(true));
    EXPECT_EQ(s.helpers[1].params[1].value, ParamValue(std::uint64_t{8}));
    EXPECT_EQ(s.helpers[1].params[2].value, ParamValue(std::string("hello")));
    EXPECT_THAT(s.helpers[2].ports, ElementsAre(70));
    EXPECT_EQ(s.helper(2).name, "odd");
}

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
    EXPECT_THAT(web.from, ElementsAre(0));
    EXPECT_THAT(web.to, ElementsAre(1));
    ASSERT_EQ(web.src.size(), 2u);
    EXPECT_EQ(web.src[1].to_string(), "2001:db8::1/128");
    EXPECT_THAT(web.dst, IsEmpty());
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

TEST(Config, Pass) {
    const auto pass = [](const std::string& text) {
        return good(
                   "zones: [a]\npolicy: {}\nports: [{name: p, device: net_null0, zone: a},"
                   "{name: q, device: net_null1, zone: a}]\nbridges: [{ports: [p, q], pass: " +
                   text + "}]\n")
            .bridges.at(0)
            .pass;
    };
    EXPECT_TRUE(pass("all").all_non_ip);
    EXPECT_FALSE(pass("all").neighbour_discovery);
    EXPECT_THAT(pass("[lldp, arp, 0x88CC, llc]").ethertypes, ElementsAre(0x0806, 0x88cc));
    EXPECT_TRUE(pass("[llc]").llc);
    EXPECT_TRUE(pass("nd").neighbour_discovery);
    EXPECT_THAT(pass("[]").ethertypes, IsEmpty());
}

TEST(Config, ConntrackZones) {
    const auto bridges = [](const std::string& first, const std::string& second = "") {
        std::string text = "zones: [a]\npolicy: {}\nports:\n";
        for (const char* name : {"p", "q", "r", "s"})
            text += std::string("- {name: ") + name + ", device: net_null_" + name + ", zone: a}\n";
        return good(text + "bridges: [{ports: [p, q]" + first + "}, {ports: [r, s]" + second +
                    "}]\n")
            .bridges;
    };
    EXPECT_EQ(bridges("")[0].ct_zone, 0);
    EXPECT_EQ(bridges("")[1].ct_zone, 1);
    EXPECT_THAT(bridges("")[1].vlan_zones, IsEmpty());
    EXPECT_EQ(bridges(", ct_zone: 65535")[0].ct_zone, 65535);
    const auto mapped = bridges(", ct_zone: 7, vlan_zones: {100: 5, 4094: 0}")[0];
    ASSERT_EQ(mapped.vlan_zones.size(), kVlans);
    EXPECT_EQ(mapped.vlan_zones[100], 5);
    EXPECT_EQ(mapped.vlan_zones[4094], 0);
    EXPECT_EQ(mapped.vlan_zones[101], 7);
    EXPECT_EQ(bridges(", ct_zone: 0, vlan_zones: per_vlan")[0].vlan_zones[4094], 4094);
    // Not given: apart from each other and from bridges that have one zone.
    const auto apart = bridges(", vlan_zones: per_vlan", ", vlan_zones: per_vlan");
    EXPECT_EQ(apart[0].vlan_zones[1], 4097);
    EXPECT_EQ(apart[1].vlan_zones[1], 8193);
    EXPECT_EQ(apart[1].ct_zone, 8192);
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
    EXPECT_EQ(s.timeouts.tcp.established_s, 7440u);
    EXPECT_EQ(s.timeouts.tcp.syn_sent_s, 240u);
    EXPECT_EQ(s.timeouts.udp.unreplied_s, 300u);
    EXPECT_EQ(s.timeouts.udp.stream_s, 420u);
    EXPECT_EQ(s.timeouts.icmp_request_s, 60u);
    ASSERT_EQ(s.timeout_profiles.size(), 2u) << "those that rules use";
    EXPECT_EQ(s.timeout_profiles[0].name, "long");
    EXPECT_EQ(s.timeout_profiles[0].timeouts.udp.unreplied_s, 60u);
    EXPECT_EQ(s.timeout_profiles[0].timeouts.tcp.established_s, 20u * 86400);
    EXPECT_EQ(s.timeout_profiles[0].timeouts.tcp.syn_sent_s, 120u);
    EXPECT_EQ(s.timeout_profiles[1].timeouts, TimeoutsSpec{});
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

TEST(Config, LimitsOfExpectations) {
    const auto limits = [](const std::string& text) {
        return good(with("limits: {expectations_per: {" + text + "}}\n")).limits;
    };
    EXPECT_EQ(limits("zone: 10").expectations_per_zone, 10u);
    EXPECT_THAT(limits("zone: {7: 1K, 65535: 2}").expectations_of_zones,
                ElementsAre(std::pair<CtZone, std::uint32_t>(7, 1024),
                            std::pair<CtZone, std::uint32_t>(65535, 2)));
    EXPECT_EQ(limits("source: 5").expectations_per_source, 5u);
    EXPECT_EQ(limits("source: 5").expectations_per_destination, 64u);
    EXPECT_EQ(limits("destination: 1").expectations_per_destination, 1u);
}

TEST(Config, PciAddresses) {
    const auto pci = [](const char* device) {
        PortSpec p;
        p.device = device;
        return p.is_pci();
    };
    EXPECT_TRUE(pci("0000:03:00.0"));
    EXPECT_TRUE(pci("af:00.1"));
    EXPECT_FALSE(pci("net_null0"));
    EXPECT_FALSE(pci("0000:03:00.0,x=1"));
    EXPECT_FALSE(pci("0000-03:00.0"));
    EXPECT_FALSE(pci(""));
}

// One row a mistake: the file, and the one message that it must bring.
struct Mistake {
    const char* name;
    std::string text;
    std::string message;
};
void PrintTo(const Mistake& m, std::ostream* out) {
    *out << m.name;
}
class Mistakes : public ::testing::TestWithParam<Mistake> {};
std::string name_of(const ::testing::TestParamInfo<Mistake>& mistake) {
    return mistake.param.name;
}

TEST_P(Mistakes, BringOneMessage) {
    EXPECT_THAT(errors(GetParam().text), ElementsAre(GetParam().message));
}

const std::string kFtp = "helpers: [{name: ftp}]\n";
Mistake in_rule(const char* name, const std::string& rule, const std::string& message) {
    return {name, with_rules("  {" + rule + "}"), "x.yaml:6:" + message};
}

INSTANTIATE_TEST_SUITE_P(
    Structure, Mistakes,
    ::testing::Values(
        Mistake{"empty", "",
                "x.yaml: the file is empty (expected at least zones, ports and policy)"},
        Mistake{"only_comments", "# nothing\n",
                "x.yaml: the file is empty (expected at least zones, ports and policy)"},
        Mistake{"a_list", "- 1\n", "x.yaml:1:1: expected a mapping (key: value), found a list"},
        Mistake{"two_documents", with("") + "---\nzones: [a]\n",
                "x.yaml:9:1: a second document begins (expected one document a file)"},
        Mistake{"unknown_key", with("limit: {connections: 1K}\n"),
                "x.yaml:8:1: unknown key \"limit\" (did you mean \"limits\"?)"},
        Mistake{"unknown_inner_key", with("limits: {conections: 1K}\n"),
                "x.yaml:8:10: limits: unknown key \"conections\" (did you mean \"connections\"?)"},
        Mistake{"far_key", with("control: {q: 1}\n"),
                "x.yaml:8:11: control: unknown key \"q\" (expected one of: socket)"},
        Mistake{"key_twice", with("workers:\n  count: 1\n  count: 2\n"),
                "x.yaml:10:3: workers.count: this key is given twice"},
        Mistake{"section_is_scalar", with("workers: 3\n"),
                "x.yaml:8:10: workers: expected a mapping (key: value), found \"3\""},
        Mistake{"list_is_map", with("eal: {args: {a: b}}\n"),
                "x.yaml:8:13: eal.args: expected a list, found a mapping"},
        Mistake{"no_zones",
                "ports: [{name: a, device: net_null0, zone: z}]\npolicy: {}\nzones: []\n",
                "x.yaml:3:8: zones: expected at least one zone"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Values, Mistakes,
    ::testing::Values(
        Mistake{"not_a_number", with("workers: {count: two}\n"),
                "x.yaml:8:18: workers.count: expected a whole number, 1 to 32, found \"two\""},
        Mistake{"quoted_number", with("workers: {count: \"2\"}\n"),
                "x.yaml:8:18: workers.count: expected a whole number, 1 to 32, found \"2\""},
        Mistake{"octal", with("workers: {count: 010}\n"),
                "x.yaml:8:18: workers.count: expected a whole number, 1 to 32, found \"010\""},
        Mistake{"zero", with("workers: {count: 0}\n"),
                "x.yaml:8:18: workers.count: 0 is out of range (expected 1 to 32)"},
        Mistake{"negative", with("workers: {burst: -1}\n"),
                "x.yaml:8:18: workers.burst: expected a whole number, 1 to 64, found \"-1\""},
        Mistake{"too_large", with("workers: {burst: 65}\n"),
                "x.yaml:8:18: workers.burst: 65 is out of range (expected 1 to 64)"},
        Mistake{"overflow", with("workers: {burst: 99999999999999999999}\n"),
                "x.yaml:8:18: workers.burst: expected a whole number, 1 to 64, found "
                "\"99999999999999999999\""},
        Mistake{
            "time", with("timeouts: {udp: {stream: 2 minutes}}\n"),
            "x.yaml:8:26: timeouts.udp.stream: expected a time such as 30s, 5m, 2h or 5d, 1s to "
            "20d, found \"2 minutes\""},
        Mistake{"long_time", with("timeouts: {udp: {stream: 21d}}\n"),
                "x.yaml:8:26: timeouts.udp.stream: 21d is out of range (expected 1s to 20d)"},
        Mistake{"size_overflow", with("limits: {connections: 17179869184G}\n"),
                "x.yaml:8:23: limits.connections: expected a number such as 4096, 4K or 1M, 64 to "
                "256M, found \"17179869184G\""},
        Mistake{"more_helped_than_all", with("limits: {connections: 1K, helped_connections: 2K}\n"),
                "x.yaml:8:47: limits.helped_connections: 2K is out of range (expected 16 to 1K)"},
        Mistake{"nothing", with("control: {socket: }\n"),
                "x.yaml:8:19: control.socket: expected text, found nothing"},
        Mistake{"long_socket", with("control: {socket: /" + std::string(107, 'x') + "}\n"),
                "x.yaml:8:19: control.socket: expected text of 1 to 107 characters, found 108"},
        Mistake{"scanner_cache", with("scanner_cache: var/cache\n"),
                "x.yaml:8:16: scanner_cache: \"var/cache\" is not a directory from the root "
                "(expected such as /var/cache/postern)"},
        Mistake{"hugepages", with("eal: {hugepages: maybe}\n"),
                "x.yaml:8:18: eal.hugepages: \"maybe\" is not a use of hugepages (expected one of: "
                "auto, yes, no, true, false)"},
        Mistake{"eal_lcores", with("eal: {args: [-l, 0-3]}\n"),
                "x.yaml:8:14: eal.args[0]: \"-l\" is set by Postern (use workers.count and "
                "workers.cpus)"},
        Mistake{"eal_abbreviated", with("eal: {args: [\"--vd=net_null0\"]}\n"),
                "x.yaml:8:14: eal.args[0]: \"--vd=net_null0\" is set by Postern (use ports)"},
        Mistake{"eal_memory", with("eal: {args: [-m512]}\n"),
                "x.yaml:8:14: eal.args[0]: \"-m512\" is set by Postern (use eal.memory_mb)"},
        Mistake{"unknown_stage", with("pipeline: [parse, polcy]\n"),
                "x.yaml:8:19: pipeline[1]: \"polcy\" is not a stage (did you mean \"policy\"?)"},
        Mistake{"stage_twice", with("pipeline: [parse, parse]\n"),
                "x.yaml:8:19: pipeline[1]: \"parse\" is given twice"},
        Mistake{"no_stage", with("pipeline: []\n"),
                "x.yaml:8:11: pipeline: an empty list; leave the key out, or write what is meant"}),
    name_of);

std::string ports(const std::string& list, const std::string& rest = "") {
    return "zones: [a]\npolicy: {}\nports:\n" + list + rest;
}
INSTANTIATE_TEST_SUITE_P(
    Ports, Mistakes,
    ::testing::Values(
        Mistake{
            "dangling_zone", ports("- {name: p, device: net_null0, zone: b}\n"),
            "x.yaml:4:38: ports[0].zone: \"b\" is not a zone of this file (expected one of: a)"},
        Mistake{"no_device", ports("- {name: p, zone: a}\n"),
                "x.yaml:4:3: ports[0]: \"device\" is missing (expected a PCI address or a virtual "
                "device)"},
        Mistake{"name_twice",
                ports("- {name: p, device: net_null0, zone: a}\n"
                      "- {name: p, device: net_null1, zone: a}\n"),
                "x.yaml:5:10: ports[1].name: \"p\" is given twice"},
        Mistake{"device_twice",
                ports("- {name: p, device: \"net_null0,size=1\", zone: a}\n"
                      "- {name: q, device: net_null0, zone: a}\n"),
                "x.yaml:5:21: ports[1].device: device \"net_null0\" is given twice"},
        Mistake{"pci_twice",
                ports("- {name: p, device: \"0000:AF:00.0\", zone: a}\n"
                      "- {name: q, device: \"af:00.0\", zone: a}\n"),
                "x.yaml:5:21: ports[1].device: device \"0000:af:00.0\" is given twice"},
        Mistake{"bad_name", ports("- {name: \"p q\", device: net_null0, zone: a}\n"),
                "x.yaml:4:10: ports[0].name: expected a name (1 to 31 letters, digits, '_', '-', "
                "'.', the first a letter or digit), found \"p q\""},
        Mistake{"queues", ports("- {name: p, device: net_null0, zone: a, queues: 2}\n"),
                "x.yaml:4:49: ports[0].queues: 2 is out of range (expected 1 to 1)"},
        Mistake{"bridge_of_one",
                ports("- {name: p, device: net_null0, zone: a}\n", "bridges: [{ports: [p]}]\n"),
                "x.yaml:5:19: bridges[0].ports: expected exactly two ports, found 1"},
        Mistake{"bridge_with_itself",
                ports("- {name: p, device: net_null0, zone: a}\n", "bridges: [{ports: [p, p]}]\n"),
                "x.yaml:5:23: bridges[0].ports[1]: port \"p\" is already in a bridge"},
        Mistake{"vlan_out_of_range",
                ports("- {name: p, device: net_null0, zone: a}\n"
                      "- {name: q, device: net_null1, zone: a}\n",
                      "bridges: [{ports: [p, q], vlan_zones: {4095: 1}}]\n"),
                "x.yaml:6:40: bridges[0].vlan_zones.4095: 4095 is out of range (expected 1 to "
                "4094)"},
        Mistake{
            "vlan_zones_word",
            ports("- {name: p, device: net_null0, zone: a}\n"
                  "- {name: q, device: net_null1, zone: a}\n",
                  "bridges: [{ports: [p, q], vlan_zones: each}]\n"),
            "x.yaml:6:39: bridges[0].vlan_zones: expected per_vlan, or a mapping of VLAN ids to "
            "zones such as {100: 1}, found \"each\""},
        Mistake{"bridge_dangling",
                ports("- {name: port1, device: net_null0, zone: a}\n",
                      "bridges: [{ports: [port1, port2]}]\n"),
                "x.yaml:5:27: bridges[0].ports[1]: \"port2\" is not a port of this file (did you "
                "mean \"port1\"?)"},
        Mistake{"pass_ip",
                ports("- {name: p, device: net_null0, zone: a}\n"
                      "- {name: q, device: net_null1, zone: a}\n",
                      "bridges: [{ports: [p, q], pass: [arp, 0x800]}]\n"),
                "x.yaml:6:39: bridges[0].pass[1]: IP cannot be passed unseen; write rules in "
                "policy"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Helpers, Mistakes,
    ::testing::Values(
        Mistake{"unknown_kind", with("helpers: [{name: x, helper: ftpp}]\n"),
                "x.yaml:8:29: helpers[0].helper: \"ftpp\" is not a helper (did you mean \"ftp\"?)"},
        Mistake{
            "kind_by_name", with("helpers: [{name: files}]\n"),
            "x.yaml:8:18: helpers[0].name: \"files\" is not a helper; give its kind by `helper:` "
            "(expected one of: ftp, tftp)"},
        Mistake{"name_twice", with("helpers: [{name: ftp}, {name: ftp}]\n"),
                "x.yaml:8:31: helpers[1].name: \"ftp\" is given twice"},
        Mistake{"unknown_param", with("helpers: [{name: ftp, params: {lose: true}}]\n"),
                "x.yaml:8:32: helpers[0].params: unknown key \"lose\" (did you mean \"loose\"?)"},
        Mistake{"param_type", with("helpers: [{name: ftp, params: {loose: 1}}]\n"),
                "x.yaml:8:39: helpers[0].params.loose: expected true or false, found \"1\""},
        Mistake{"param_range", with("helpers: [{name: ftp, params: {depth: 9}}]\n"),
                "x.yaml:8:39: helpers[0].params.depth: 9 is out of range (expected 1 to 8)"},
        Mistake{"port_range", with("helpers: [{name: ftp, ports: [0]}]\n"),
                "x.yaml:8:31: helpers[0].ports[0]: 0 is out of range (expected 1 to 65535)"},
        Mistake{"port_twice", with("helpers: [{name: ftp, ports: [21, 21]}]\n"),
                "x.yaml:8:35: helpers[0].ports[1]: port 21 is given twice"}),
    name_of);

/// A helper in another process, declared so; `userspace` begins in line 8, column 36.
std::string declared(const std::string& userspace, const std::string& name = "toy") {
    return with("helpers: [{name: " + name + ", userspace: {" + userspace + "}}]\n");
}
const std::string kData = "classes: [{name: data, proto: tcp}]";

INSTANTIATE_TEST_SUITE_P(
    Userspace, Mistakes,
    ::testing::Values(
        Mistake{"no_transport", declared(kData),
                "x.yaml:8:34: helpers[0].userspace: \"transports\" is missing (expected [tcp], "
                "[udp] or both)"},
        Mistake{"transport", declared("transports: [sctp], " + kData),
                "x.yaml:8:48: helpers[0].userspace.transports[0]: \"sctp\" is not a transport "
                "(expected one of: tcp, udp)"},
        Mistake{"transport_twice", declared("transports: [tcp, tcp], " + kData),
                "x.yaml:8:53: helpers[0].userspace.transports[1]: \"tcp\" is given twice"},
        Mistake{"no_classes", declared("transports: tcp"),
                "x.yaml:8:34: helpers[0].userspace: \"classes\" is missing (expected a list of "
                "what it expects)"},
        Mistake{"empty_classes", declared("transports: tcp, classes: []"),
                "x.yaml:8:61: helpers[0].userspace.classes: 0 classes (expected 1 to 4)"},
        Mistake{"class_protocol", declared("transports: tcp, classes: [{name: data, proto: gre}]"),
                "x.yaml:8:82: helpers[0].userspace.classes[0].proto: \"gre\" is not a protocol it "
                "may open (expected one of: tcp, udp)"},
        Mistake{"class_twice",
                declared("transports: tcp, classes: [{name: data, proto: tcp},"
                         " {name: data, proto: tcp}]"),
                "x.yaml:8:95: helpers[0].userspace.classes[1].name: \"data\" is given twice"},
        Mistake{
            "data_len", declared("transports: tcp, data_len: 33, " + kData),
            "x.yaml:8:62: helpers[0].userspace.data_len: 33 is out of range (expected 0 to 32)"},
        Mistake{
            "wait", declared("transports: tcp, wait_ms: 0, " + kData),
            "x.yaml:8:61: helpers[0].userspace.wait_ms: 0 is out of range (expected 1 to 60000)"},
        Mistake{"built_in", declared("transports: tcp, " + kData, "ftp"),
                "x.yaml:8:18: helpers[0].name: \"ftp\" is a helper of this build; one in another "
                "process needs another name"},
        Mistake{"kind",
                with("helpers: [{name: toy, helper: ftp, userspace: {transports: tcp, " + kData +
                     "}}]\n"),
                "x.yaml:8:31: helpers[0].helper: a helper in another process (`userspace`) has no "
                "kind"},
        Mistake{
            "unknown", declared("transports: tcp, bypas: true, " + kData),
            "x.yaml:8:52: helpers[0].userspace: unknown key \"bypas\" (did you mean \"bypass\"?)"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Rules, Mistakes,
    ::testing::Values(
        in_rule("no_action", "from: inside",
                "3: policy.rules[0]: \"action\" is missing (expected accept, drop or reject)"),
        in_rule(
            "bad_action", "action: acept",
            "12: policy.rules[0].action: \"acept\" is not an action (did you mean \"accept\"?)"),
        in_rule("dangling_zone", "from: insid, action: drop",
                "10: policy.rules[0].from: \"insid\" is not a zone of this file (did you mean "
                "\"inside\"?)"),
        in_rule(
            "empty_list", "from: [], action: drop",
            "10: policy.rules[0].from: an empty list; leave the key out, or write what is meant"),
        in_rule("any_in_list", "from: [inside, any], action: drop",
                "19: policy.rules[0].from[1]: \"any\" stands alone, not in a list"),
        in_rule("item_twice", "from: [inside, inside], action: drop",
                "19: policy.rules[0].from[1]: \"inside\" is given twice"),
        in_rule("host_bits", "src: 192.0.2.5/24, action: drop",
                "9: policy.rules[0].src: \"192.0.2.5/24\" has bits set beyond its length (did you "
                "mean 192.0.2.0/24?)"),
        in_rule("not_an_address", "src: www.example.org, action: drop",
                "9: policy.rules[0].src: expected an address or prefix such as 192.0.2.0/24 or "
                "2001:db8::/32, found \"www.example.org\""),
        in_rule("family_of_address", "family: ipv6, dst: 192.0.2.1, action: drop",
                "23: policy.rules[0].dst: 192.0.2.1 is ipv4, but the rule's family is ipv6"),
        in_rule("two_families", "src: 192.0.2.1, dst: \"2001:db8::1\", action: drop",
                "3: policy.rules[0]: `src` and `dst` are of different families, so nothing can "
                "match"),
        in_rule("protocol", "proto: tpc, action: drop",
                "11: policy.rules[0].proto: \"tpc\" is not a protocol, by name or number 0 to 255 "
                "(expected one of: tcp, udp, icmp, icmpv6, sctp, dccp, udplite, gre)"),
        in_rule(
            "port_without_protocol", "dport: 80, action: drop",
            "11: policy.rules[0].dport: ports need `proto:` with protocols that have ports (tcp, "
            "udp, sctp, dccp, udplite)"),
        in_rule(
            "port_of_gre", "proto: [tcp, gre], sport: 80, action: drop",
            "30: policy.rules[0].sport: ports need `proto:` with protocols that have ports (tcp, "
            "udp, sctp, dccp, udplite)"),
        in_rule("backward_range", "proto: tcp, dport: 90-80, action: drop",
                "23: policy.rules[0].dport: the range 90-80 is empty (did you mean 80-90?)"),
        in_rule("wide_range", "proto: tcp, dport: 1-65536, action: drop",
                "23: policy.rules[0].dport: expected a port or a range such as 8000-8080, 0 to "
                "65535, found \"1-65536\""),
        in_rule(
            "icmp_type_of_tcp", "proto: tcp, icmp_type: 8, action: drop",
            "27: policy.rules[0].icmp_type: needs `proto: icmp` or `proto: icmpv6`, alone, since "
            "their types differ"),
        in_rule("icmp_over_ipv6", "proto: icmp, family: ipv6, action: drop",
                "3: policy.rules[0]: icmp is not carried by ipv6, so nothing can match"),
        in_rule(
            "invalid", "ct: [invalid], action: drop",
            "9: policy.rules[0].ct[0]: invalid packets never reach policy: they are dropped, and "
            "counted"),
        in_rule(
            "drop_established", "ct: [new, established], action: drop",
            "14: policy.rules[0].ct[1]: packets of connections once accepted always pass; a rule "
            "cannot drop them"),
        in_rule("related_helper", "ct: related, related: ftp, action: accept",
                "26: policy.rules[0].related: \"ftp\" is not a helper of this file, for there is "
                "none"),
        Mistake{"related_not_matched",
                kFtp + with_rules("  {ct: new, related: ftp, action: accept}"),
                "x.yaml:7:22: policy.rules[0].related: needs `ct: [related]`"},
        Mistake{
            "helper_name", kFtp + with_rules("  {proto: tcp, action: accept, helper: ftpp}"),
            "x.yaml:7:40: policy.rules[0].helper: \"ftpp\" is not a helper of this file (did you "
            "mean \"ftp\"?)"},
        Mistake{"helper_on_drop", kFtp + with_rules("  {proto: tcp, action: drop, helper: ftp}"),
                "x.yaml:7:38: policy.rules[0].helper: a helper needs `action: accept`"},
        Mistake{
            "helper_protocol", kFtp + with_rules("  {action: accept, helper: ftp}"),
            "x.yaml:7:28: policy.rules[0].helper: this helper speaks tcp and needs `proto: tcp`"},
        Mistake{"helper_of_established",
                kFtp + with_rules("  {proto: tcp, ct: established, action: accept, helper: ftp}"),
                "x.yaml:7:57: policy.rules[0].helper: a helper needs `ct: [new]` or `ct: "
                "[related]`"},
        Mistake{"set_on_drop", with_rules("{action: drop, set: {mark: 1}}"),
                "x.yaml:6:21: policy.rules[0].set: needs `action: accept`"},
        Mistake{"mark_beyond_mask", with_rules("{action: accept, set: {mark: 0x10/0xf}}"),
                "x.yaml:6:30: policy.rules[0].set.mark: 0x10/0xf has bits outside of its mask"},
        Mistake{"mark_no_number", with_rules("{action: accept, mark: red}"),
                "x.yaml:6:24: policy.rules[0].mark: expected a number of 32 bits and perhaps a "
                "mask, such as 16, 0x10 or 0x10/0xff, found \"red\""},
        Mistake{"no_such_profile", with_rules("{action: accept, timeouts: slow}"),
                "x.yaml:6:28: policy.rules[0].timeouts: \"slow\" is not a profile of timeouts "
                "(expected one of: linux, rfc)"},
        Mistake{"expect_of_no_ports",
                with_rules("{action: accept, expect: {proto: icmp, dport: 1}}"),
                "x.yaml:6:34: policy.rules[0].expect.proto: expected a protocol that has ports "
                "(tcp, udp, sctp, dccp, udplite), found \"icmp\""},
        Mistake{"expect_too_much",
                with_rules("{action: accept, expect: {proto: tcp, dport: 1000-1064}}"),
                "x.yaml:6:46: policy.rules[0].expect.dport: 65 ports (expected at most 64; a rule "
                "without `expect` may accept more)"},
        Mistake{"expect_less_than_its_ports",
                with_rules("{action: accept, expect: {proto: tcp, dport: 1000-1003, max: 3}}"),
                "x.yaml:6:62: policy.rules[0].expect.max: 3 is out of range (expected 4 to 255)"},
        Mistake{"expect_with_helper",
                kFtp + with_rules("{proto: tcp, action: accept, helper: ftp, expect: {proto: tcp, "
                                  "dport: 1}}"),
                "x.yaml:7:38: policy.rules[0].helper: `helper` and `expect` exclude each other"},
        Mistake{"rule_name_twice", with_rules("  {name: a, action: drop}, {name: a, action: drop}"),
                "x.yaml:6:35: policy.rules[1].name: rule name \"a\" is given twice"},
        Mistake{"accept_by_default",
                "zones: [a]\nports: [{name: p, device: net_null0, zone: a}]\n"
                "policy: {default: accept}\n",
                "x.yaml:3:19: policy.default: \"accept\" is not a default for policy (expected one "
                "of: drop, reject)"}),
    name_of);

TEST(Config, AllErrorsOfAFileComeAtOnceInItsOrder) {
    EXPECT_THAT(
        errors("zones: [a, a]\n"
               "workers: {count: 0, brust: 3}\n"
               "ports:\n"
               "  - {name: p, device: net_null0, zone: z}\n"
               "policy:\n"
               "  rules:\n"
               "    - {from: x, action: drop, dport: 1}\n"
               "    - {action: allow}\n"),
        ElementsAre(StartsWith("x.yaml:1:12: zones[1]"), StartsWith("x.yaml:2:18: workers.count"),
                    StartsWith("x.yaml:2:21: workers: unknown key \"brust\""),
                    StartsWith("x.yaml:4:40: ports[0].zone"),
                    StartsWith("x.yaml:7:14: policy.rules[0].from"),
                    StartsWith("x.yaml:7:38: policy.rules[0].dport"),
                    StartsWith("x.yaml:8:16: policy.rules[1].action")));
}

TEST(Config, SyntaxErrorsHaveAPlace) {
    EXPECT_THAT(errors("zones: [a\nports: {\n"), ElementsAre(StartsWith("x.yaml:")));
    EXPECT_THAT(errors("zones:\n\t- a\n"), ElementsAre(HasSubstr(": not valid YAML: ")));
    EXPECT_THAT(errors("a: *nobody\n"), ElementsAre(StartsWith("x.yaml:1:4: not valid YAML: ")));
    EXPECT_THAT(errors(std::string(100000, '[')), ElementsAre(HasSubstr("not valid YAML")));
}

TEST(Config, AnchorsAreFineAndLoopsHarmless) {
    const Spec s =
        good(with("helpers:\n"
                  "  - {name: ftp, ports: &p [21, 2121]}\n"
                  "  - {name: ftp2, helper: ftp, ports: *p}\n"));
    EXPECT_THAT(s.helpers.at(1).ports, ElementsAre(21, 2121));
    EXPECT_FALSE(errors(with("pipeline: &a [*a]\n")).empty());
}

TEST(Config, DamagedFilesGiveErrorsAndNothingWorse) {
    std::ifstream in(POSTERN_CONF_DIR "/bridge.yaml");
    const std::string whole(std::istreambuf_iterator<char>(in), {});
    ASSERT_FALSE(whole.empty());
    std::mt19937 rng(1);
    unsigned refused = 0;
    for (unsigned round = 0; round < 400; ++round) {
        std::string text = whole;
        for (unsigned n = 1 + static_cast<unsigned>(rng() % 4); n > 0; --n) {
            const std::size_t at = rng() % text.size();
            switch (rng() % 3) {
                case 0: text[at] = static_cast<char>(rng()); break;
                case 1: text.erase(at, 1 + rng() % 40); break;
                default: text.insert(at, 1, "[]{}:,&*!|>-\"'#\n\t\0"[rng() % 18]); break;
            }
        }
        const auto r = load(text);
        ASSERT_EQ(r.ok(), r.errors.empty()) << text;
        refused += !r.ok();
    }
    EXPECT_GT(refused, 100u);
}

TEST(Config, MissingFileAndDirectory) {
    const auto missing = load_spec("/nowhere/at/all.yaml", schema());
    EXPECT_THAT(texts(missing.errors),
                ElementsAre("/nowhere/at/all.yaml: cannot be opened: No such file or directory"));
    EXPECT_THAT(texts(load_spec("/", schema()).errors),
                ElementsAre("/: cannot be read: Is a directory"));
}

TEST(Config, Warnings) {
    EXPECT_THAT(
        warnings("zones: [a, b]\npolicy: {rules: [{from: b, action: drop}]}\n"
                 "ports: [{name: p, device: net_null0, zone: a}]\n"),
        ElementsAre("x.yaml:2:18: policy.rules[0]: no port is in zone \"b\", so nothing can match",
                    "x.yaml:3:9: ports[0]: port \"p\" is in no bridge, so what comes in by it "
                    "is dropped"));
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

TEST(Config, DescribeIsShortAndNamesEverything) {
    const auto r = load_spec(POSTERN_CONF_DIR "/bridge.yaml", schema());
    ASSERT_TRUE(r.ok());
    EXPECT_EQ(describe(*r.spec),
              "2 workers, burst 32, always polling\n"
              "2 zones: lan, wan\n"
              "2 ports\n"
              "  lan0 (lan): 0000:03:00.0, a queue a worker\n"
              "  wan0 (wan): 0000:03:00.1, a queue a worker\n"
              "1 bridge\n"
              "  lan0 <-> wan0, llc, nd, 0x0806 pass\n"
              "2 helpers\n"
              "  ftp: tcp 21, 2121\n"
              "  tftp: udp 69\n"
              "14 rules: 11 accept, 1 drop, 2 reject; otherwise drop\n"
              "at most 1048576 connections, 65536 expectations, 16384 helped connections\n"
              "timeouts: TCP established 2h, UDP unreplied 30s, UDP stream 2m\n"
              "control socket /run/postern/control.sock\n");
}

}  // namespace
}  // namespace postern
