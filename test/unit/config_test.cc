// SPDX-License-Identifier: BSD-3-Clause
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "config_files.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

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
    EXPECT_EQ(s.timeouts[Timeout::tcp_established], 432000u);
    EXPECT_EQ(s.limits.connections, 262144u);
    EXPECT_EQ(s.ports[0].queues, 0);
    EXPECT_EQ(s.ports[0].mtu, 1500);
    EXPECT_EQ(s.ports[1].zone, ZoneId{1});
    EXPECT_EQ(s.policy.fallback, RuleAction::drop);
    EXPECT_EQ(s.pipeline, schema().default_pipeline);
    EXPECT_EQ(s.control.socket, "/run/postern/control.sock");
    EXPECT_EQ(s.control.read_socket, "");
    EXPECT_EQ(s.state.file, "");
    EXPECT_EQ(s.control.read_access, ReadAccess::group);
    EXPECT_THAT(s.bridges[0].pass.ethertypes, ElementsAre(0x0806));
    EXPECT_TRUE(s.bridges[0].pass.neighbour_discovery);
}

TEST(Config, EverySectionIsRead) {
    const Spec s =
        good(with("eal: {hugepages: no, memory_mb: 1024, args: [\"--log-level=debug\"]}\n"
                  "workers: {count: 3, cpus: [0, 2], main_cpu: 1, burst: 64,\n"
                  "          steer: keyed, idle: {spins: 7, sleep_us: 0}}\n"
                  "timeouts:\n"
                  "  tcp: {syn_sent: 90, established: 2h, syn_sent2: 1m}\n"
                  "  udp: {stream: 5m}\n"
                  "  icmp: {request: 10s}\n"
                  "  icmpv6: {request: 11s}\n"
                  "  generic: {timeout: 1d}\n"
                  "limits: {connections: 1M, expectations: 2K, stream_buffer: 8K}\n"
                  "pipeline: [parse, sample, forward]\n"
                  "control: {socket: /tmp/x.sock, read_socket: /tmp/r.sock, read_access: all, "
                  "read_group: monitoring}\nscanner_cache: /var/cache/x\n"
                  "state: {file: /var/lib/x, save_on_stop: no, save_every: 30s}\n"));
    EXPECT_EQ(s.eal.hugepages, Hugepages::no);
    EXPECT_EQ(s.eal.memory_mb, 1024u);
    EXPECT_THAT(s.eal.args, ElementsAre("--log-level=debug"));
    EXPECT_EQ(s.workers.count, 3);
    EXPECT_THAT(s.workers.cpus, ElementsAre(0, 2));
    EXPECT_EQ(s.workers.main_cpu, 1);
    EXPECT_EQ(s.workers.burst, 64);
    EXPECT_EQ(s.workers.steer, Steer::keyed);
    EXPECT_EQ(s.workers.idle.spins, 7u);
    EXPECT_EQ(s.workers.idle.sleep_us, 0u);
    EXPECT_EQ(s.timeouts[Timeout::tcp_syn_sent], 90u);
    EXPECT_EQ(s.timeouts[Timeout::tcp_established], 7200u);
    EXPECT_EQ(s.timeouts[Timeout::tcp_syn_sent2], 60u);
    EXPECT_EQ(s.timeouts[Timeout::udp_stream], 300u);
    EXPECT_EQ(s.timeouts[Timeout::icmp_request], 10u);
    EXPECT_EQ(s.timeouts[Timeout::icmpv6_request], 11u);
    EXPECT_EQ(s.timeouts[Timeout::generic_timeout], 86400u);
    EXPECT_EQ(s.limits.connections, 1u << 20);
    EXPECT_EQ(s.limits.expectations, 2048u);
    EXPECT_EQ(s.limits.stream_buffer_bytes, 8192u);
    EXPECT_EQ(s.scanner_cache, "/var/cache/x");
    EXPECT_EQ(s.state.file, "/var/lib/x");
    EXPECT_FALSE(s.state.save_on_stop);
    EXPECT_EQ(s.state.save_every_s, 30u);
    EXPECT_THAT(s.pipeline, ElementsAre("parse", "sample", "forward"));
    EXPECT_EQ(s.control.socket, "/tmp/x.sock");
    EXPECT_EQ(s.control.read_socket, "/tmp/r.sock");
    EXPECT_EQ(s.control.read_access, ReadAccess::all);
    EXPECT_EQ(s.control.read_group, "monitoring");
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
                  "      proof: false\n"
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
    EXPECT_TRUE(toy.bypass && !toy.stream && toy.proof && toy.socket.empty());
    EXPECT_EQ(toy.data_bytes, 32);
    EXPECT_EQ(toy.wait_ms, 200u);
    EXPECT_EQ(toy.queue, 256u);
    const UserspaceSpec& other = *s.helpers[1].userspace;
    EXPECT_TRUE(!other.bypass && other.stream && !other.proof);
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

TEST(Config, NewConnectionsOfAWorker) {
    EXPECT_EQ(good(with("")).limits.new_per_second_per_worker, 1u << 20);
    EXPECT_EQ(
        good(with("limits: {per_worker: {new_per_second: 5K}}\n")).limits.new_per_second_per_worker,
        5120u);
    EXPECT_EQ(good(with("")).workers.steer, Steer::automatic);
    EXPECT_EQ(good(with("workers: {steer: rss}\n")).workers.steer, Steer::rss);
}

TEST(Config, LimitsOfExpectations) {
    const auto limits = [](const std::string& text) {
        return good(with("limits: {expectations_per: {" + text + "}}\n")).limits;
    };
    EXPECT_EQ(limits("ct_zone: 10").expectations_per.ct_zone, 10u);
    EXPECT_THAT(limits("ct_zone: {7: 1K, 65535: 2}").expectations_per.of_ct_zones,
                ElementsAre(std::pair<CtZone, std::uint32_t>(CtZone{7}, 1024),
                            std::pair<CtZone, std::uint32_t>(CtZone{65535}, 2)));
    EXPECT_EQ(limits("source: 5").expectations_per.source, 5u);
    EXPECT_EQ(limits("source: 5").expectations_per.destination, 64u);
    EXPECT_EQ(limits("destination: 1").expectations_per.destination, 1u);
    EXPECT_EQ(limits("server: 7").expectations_per.server, 7u);
    EXPECT_EQ(limits("server: 0").expectations_per.server, 0u);
    EXPECT_EQ(limits("security_zone: 1K").expectations_per.security_zone, 1024u);
}

TEST(Config, SharesOfExpectationsFollowTheirNumber) {
    const auto per = [](const std::string& limits) {
        return good(with(limits)).limits.expectations_per;
    };
    EXPECT_EQ(per("").source, 16384u);
    EXPECT_EQ(per("").server, 32768u);
    EXPECT_EQ(per("").security_zone, 49152u);
    EXPECT_EQ(per("limits: {expectations: 1002}\n").server, 501u);
    EXPECT_EQ(per("limits: {expectations: 1002}\n").security_zone, 752u);
    EXPECT_EQ(per("limits: {expectations: 16}\n").server, 64u);
    EXPECT_EQ(per("limits: {expectations: 16}\n").security_zone, 64u);
}

TEST(Config, OldNamesOfKeysWorkAndWarn) {
    const auto file = [](const std::string& keys) {
        return with("limits: {expectations_per: {" + keys + "}}\n");
    };
    EXPECT_EQ(good(file("zone: 10")).limits.expectations_per.ct_zone, 10u);
    EXPECT_THAT(warnings(file("zone: 10")),
                ElementsAre("x.yaml:8:29: limits.expectations_per.zone: this key is called "
                            "\"ct_zone\" now"));
    EXPECT_THAT(errors(file("zone: 10, ct_zone: 11")),
                ElementsAre("x.yaml:8:29: limits.expectations_per.zone: is the old name of "
                            "\"ct_zone\", which is given, too"));
}

TEST(Config, ManyMistakesTakeNoLongerThanTheirNumber) {
    // Quadratic work would not end within the time that a test has.
    constexpr std::size_t kMany = 200'000;
    std::string unknown, twice;
    for (std::size_t i = 0; i < kMany; ++i)
        unknown += "conections_" + std::to_string(i) + ": 1\n";
    EXPECT_EQ(load(with(unknown)).errors.size(), kMany);
    EXPECT_EQ(load(with(unknown + "conections_7: 1\n")).errors.size(), kMany + 1);
}

TEST(Config, LimitsOfAnswers) {
    EXPECT_EQ(good(with("")).limits.answers_per_second, 1000u);
    EXPECT_EQ(good(with("")).limits.answers_per_second_per_source, 50u);
    const auto limits = good(with("limits: {answers: {per_second: 2K, per_source: 0}}\n")).limits;
    EXPECT_EQ(limits.answers_per_second, 2048u);
    EXPECT_EQ(limits.answers_per_second_per_source, 0u);
}

TEST(Config, RatesOfTheLog) {
    const Spec spec =
        good(with("log: {default: 10/s, drops: {spoofed: yes, land: 1/s, policy: no},"
                  " file: {path: /var/log/p, max: 1M}}\n"));
    EXPECT_EQ(spec.log.of_default.per_second, 10u);
    const auto of = [&](DropReason r) {
        return spec.log.of_reasons[static_cast<unsigned>(r)].per_second;
    };
    EXPECT_EQ(of(DropReason::spoofed), LogRate::kUnlimited);
    EXPECT_EQ(of(DropReason::land), 1u);
    EXPECT_EQ(of(DropReason::policy), 0u);
    EXPECT_EQ(of(DropReason::tcp_state), 0u);
    EXPECT_EQ(spec.log.file.max_bytes, 1u << 20);
    EXPECT_EQ(spec.log.file.keep, 4u);
    for (const char* wrong : {"often", "0/s", "1000001/s", "-1/s", "5", "/s", "5/m", "[1/s]"})
        EXPECT_THAT(errors(with("log: {default: " + std::string(wrong) + "}\n")),
                    ElementsAre(::testing::HasSubstr("expected yes, no, or a number of records")))
            << wrong;
    EXPECT_THAT(warnings(with("log: {drops: {tx_full: yes}}\n")),
                ElementsAre(::testing::HasSubstr("are counted only")));
    EXPECT_THAT(errors(with("log: {drops: {spofed: yes}}\n")),
                ElementsAre(::testing::HasSubstr("\"spofed\" is not a reason for drops")));
    EXPECT_THAT(errors(with("log: {file: {path: here}}\n")),
                ElementsAre(::testing::HasSubstr("is not a file from the root")));
    EXPECT_THAT(errors(with("log: {file: {}}\n")),
                ElementsAre(::testing::HasSubstr("\"path\" is missing")));
    EXPECT_THAT(errors(with("log: {syslog: here}\n")),
                ElementsAre(::testing::HasSubstr("is not a path from the root")));
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
              "18 rules: 15 accept, 1 drop, 2 reject; otherwise drop\n"
              "at most 1048576 connections, 65536 expectations, 16384 helped connections\n"
              "timeouts: TCP established 2h, UDP unreplied 30s, UDP stream 2m\n"
              "control socket /run/postern/control.sock\n");
}

}  // namespace
}  // namespace postern
