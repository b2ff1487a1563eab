// SPDX-License-Identifier: BSD-3-Clause
// Each mistake in a configuration brings one message, with its place and what was expected.
#include <ostream>
#include <string>

#include "config_files.h"

namespace postern {
namespace {

using ::testing::ElementsAre;

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
        Mistake{"far_key", with("workers: {idle: {q: 1}}\n"),
                "x.yaml:8:18: workers.idle: unknown key \"q\" (expected one of: spins, "
                "sleep_us)"},
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
        Mistake{
            "unknown_choice", with("workers: {steer: both}\n"),
            "x.yaml:8:18: workers.steer: \"both\" is not a way to steer (expected one of: auto, "
            "rss, keyed)"},
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
        Mistake{"state_without_file", with("state: {save_on_stop: yes}\n"),
                "x.yaml:8:8: state: \"file\" is missing (expected a path, such as "
                "/var/lib/postern/state)"},
        Mistake{"state_file", with("state: {file: lib/state}\n"),
                "x.yaml:8:15: state.file: \"lib/state\" is not a file from the root (expected such "
                "as /var/lib/postern/state)"},
        Mistake{"state_folder", with("state: {file: /var/lib/}\n"),
                "x.yaml:8:15: state.file: \"/var/lib/\" is not a file from the root (expected such "
                "as /var/lib/postern/state)"},
        Mistake{"state_never", with("state: {file: /x, save_every: 0}\n"),
                "x.yaml:8:31: state.save_every: 0 is out of range (expected 1s to 1d)"},
        Mistake{"state_unknown", with("state: {file: /x, every: 1s}\n"),
                "x.yaml:8:19: state: unknown key \"every\" (expected one of: file, save_on_stop, "
                "save_every)"},
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
                "policy"},
        Mistake{"pass_tags",
                ports("- {name: p, device: net_null0, zone: a}\n"
                      "- {name: q, device: net_null1, zone: a}\n",
                      "bridges: [{ports: [p, q], pass: [0x9100]}]\n"),
                "x.yaml:6:34: bridges[0].pass[0]: VLAN tags are looked through; name what is "
                "inside them"},
        Mistake{"pass_llc_frames",
                ports("- {name: p, device: net_null0, zone: a}\n"
                      "- {name: q, device: net_null1, zone: a}\n",
                      "bridges: [{ports: [p, q], pass: [0x8870]}]\n"),
                "x.yaml:6:34: bridges[0].pass[0]: LLC headers are looked through; name what is "
                "inside them"}),
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
                "the kinds of connections it expects)"},
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
        in_rule("rule_default", "name: default, action: drop",
                "10: policy.rules[0].name: \"default\" is the name of the policy's default"),
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
        in_rule("vlan_0", "vlan: 0, action: drop",
                "10: policy.rules[0].vlan: 0 is no VLAN id (frames without one are `none`)"),
        in_rule("vlan_4095", "vlan: 4095, action: drop",
                "10: policy.rules[0].vlan: expected a VLAN id (1 to 4094), a range of them, or "
                "none, found \"4095\""),
        in_rule("vlan_range", "vlan: [not 20-10], action: drop",
                "11: policy.rules[0].vlan[0]: the range 20-10 is empty (did you mean 10-20?)"),
        in_rule("vlan_nothing", "vlan: [10, not 1-20], action: drop",
                "11: policy.rules[0].vlan[0]: `not` leaves nothing of this list"),
        in_rule("dscp", "dscp: express, action: drop",
                "10: policy.rules[0].dscp: expected a code point such as ef, af11, cs1 or 0 to 63, "
                "or a range of numbers, found \"express\""),
        in_rule("in_port", "in_port: in2, action: drop",
                "13: policy.rules[0].in_port: \"in2\" is not a port of this file (did you mean "
                "\"in0\"?)"),
        in_rule("not_in_port", "in_port: [not in2], action: drop",
                "14: policy.rules[0].in_port[0]: \"in2\" is not a port of this file (did you mean "
                "\"in0\"?)"),
        in_rule("no_bridge", "in_port: in0, out_port: in0, action: drop",
                "13: policy.rules[0].in_port: no bridge leads from these `in_port` to these "
                "`out_port`, so nothing can match"),
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
            "x.yaml:7:28: policy.rules[0].helper: this helper supports tcp and needs `proto: tcp`"},
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

}  // namespace
}  // namespace postern
