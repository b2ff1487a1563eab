// SPDX-License-Identifier: BSD-3-Clause
// Connections of which one direction passes elsewhere: rules with `track: no` and `track: sloppy`.
#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using namespace frames;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr unsigned kSyn = tcp_flag::syn, kAck = tcp_flag::ack, kFin = tcp_flag::fin,
                   kRst = tcp_flag::rst, kPsh = tcp_flag::psh;
const Flow kWeb = flow("192.0.2.1", 40000, "198.51.100.2", 80);

Frame segment(const Flow& f, unsigned flags, std::uint32_t seq = 1, std::uint32_t ack = 1,
              std::string_view payload = {}) {
    return tcp(f, {.flags = static_cast<std::uint8_t>(flags),
                   .seq = seq,
                   .ack = (flags & kAck) != 0 ? ack : 0,
                   .payload = payload});
}
Flow to_port(std::uint16_t port) {
    Flow f = kWeb;
    f.dport = port;
    return f;
}
std::string rules(const std::string& text) {
    return "policy:\n  rules:\n" + text;
}

class Asymmetric : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Asymmetric, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

// --- track: no -----------------------------------------------------------------------------------

constexpr const char* kBothWays =
    "    - {from: inside, proto: tcp, dport: 80, track: no, action: accept}\n"
    "    - {from: outside, proto: tcp, sport: 80, track: no, action: accept}\n";

TEST_P(Asymmetric, UntrackedRulesAreAskedForEveryPacketOfEitherDirection) {
    World world(rules(kBothWays), GetParam());
    unsigned passed = 0;
    for (const unsigned flags :
         {kSyn, kSyn | kAck, kAck, kPsh | kAck, kFin | kAck, kRst, kRst | kAck}) {
        EXPECT_TRUE(world.from_inside(segment(kWeb, flags, 77 * flags))) << flags;
        EXPECT_TRUE(world.from_outside(segment(kWeb.back(), flags, 99 * flags))) << flags;
        passed += 2;
        EXPECT_FALSE(world.from_inside(segment(to_port(81), flags))) << flags;
        EXPECT_FALSE(world.from_outside(segment(to_port(81).back(), flags))) << flags;
        EXPECT_FALSE(world.from_outside(segment(kWeb, flags))) << "the other way round";
    }
    EXPECT_EQ(world.sum(&WorkerCounters::passed_untracked), passed);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 0u);
    EXPECT_EQ(world.sum(&WorkerCounters::tx_packets), passed);
}

TEST_P(Asymmetric, WithoutTheKeyHalfAHandshakeDoesNotPass) {
    World world(rules("    - {from: inside, proto: tcp, dport: 80, action: accept}\n"
                      "    - {from: outside, proto: tcp, sport: 80, action: accept}\n"),
                GetParam());
    EXPECT_FALSE(world.from_outside(segment(kWeb.back(), kSyn | kAck)));
    EXPECT_FALSE(world.from_outside(segment(kWeb.back(), kFin | kAck)));
    EXPECT_FALSE(world.from_outside(segment(kWeb.back(), kRst)));
    EXPECT_EQ(world.drops(DropReason::ct_not_first), 3u);
}

TEST_P(Asymmetric, RulesAboveAnUntrackedOneDecideFirst) {
    World world(rules("    - {proto: tcp, dport: 22, action: drop}\n"
                      "    - {proto: tcp, dport: 443, action: accept}\n"
                      "    - {proto: tcp, dport: 25, action: reject}\n"
                      "    - {track: no, action: accept}\n"),
                GetParam());
    for (const unsigned flags : {kSyn | kAck, kFin | kAck, kRst | kAck}) {
        EXPECT_FALSE(world.from_inside(segment(to_port(22), flags)));
        EXPECT_FALSE(world.from_inside(segment(to_port(443), flags))) << "tracked, and none began";
        EXPECT_FALSE(world.from_inside(segment(to_port(25), flags)));
        EXPECT_TRUE(world.from_inside(segment(to_port(80), flags)));
    }
    EXPECT_EQ(world.drops(DropReason::ct_not_first), 9u);
    EXPECT_EQ(world.sum(&WorkerCounters::rejected), 0u);
    EXPECT_TRUE(world.from_inside(segment(to_port(443), kSyn)));
    EXPECT_TRUE(world.from_outside(segment(to_port(443).back(), kSyn | kAck, 1, 2)));
    EXPECT_FALSE(world.from_inside(segment(to_port(443), kAck, 0x70000000, 2))) << "windows hold";
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
}

TEST_P(Asymmetric, ErrorsAboutNothingThatIsKnownPassByAnUntrackedRule) {
    const auto error = [](std::uint8_t type) {
        const Frame quoted = segment(kWeb, kAck);
        Frame rest(4 + quoted.size() - kEth);
        std::copy(quoted.begin() + kEth, quoted.end(), rest.begin() + 4);
        return icmp(kWeb.dst, kWeb.src, type, 4, rest);
    };
    World untracked(rules("    - {from: outside, track: no, action: accept}\n"), GetParam());
    EXPECT_TRUE(untracked.from_outside(error(3)));
    EXPECT_TRUE(untracked.from_outside(error(11)));
    EXPECT_FALSE(untracked.from_outside(error(5))) << "a redirect has to be named";
    World tracked(rules("    - {from: outside, action: accept}\n"), GetParam());
    EXPECT_FALSE(tracked.from_outside(error(3)));
}

TEST_P(Asymmetric, UntrackedAreOtherProtocolsToo) {
    World world(rules("    - {from: inside, track: no, action: accept}\n"), GetParam());
    const Flow dns = flow("2001:db8::1", 4000, "2001:db8:1::9", 53);
    for (int again = 0; again < 2; ++again) {
        EXPECT_TRUE(world.from_inside(udp(dns)));
        EXPECT_FALSE(world.from_outside(udp(dns.back())));
        EXPECT_TRUE(world.from_inside(echo(kWeb, true, 7)));
        EXPECT_FALSE(world.from_outside(echo(kWeb.back(), false, 7)));
        EXPECT_TRUE(world.from_inside(ip(kWeb.src, kWeb.dst, 99, Frame(20))));
    }
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 0u);
    EXPECT_EQ(world.sum(&WorkerCounters::passed_untracked), 6u);
}

// --- track: sloppy -------------------------------------------------------------------------------

constexpr const char* kSloppy =
    "    - {from: inside, proto: [tcp, sctp, dccp], track: sloppy, action: accept}\n";

TcpState state_of(World& world, std::uint16_t dport = 80) {
    const auto found = world.connection(dport);
    return found ? found->conn.tcp_state() : TcpState::none;
}

TEST_P(Asymmetric, SloppyBeginsWithAnyPacket) {
    struct Row {
        unsigned flags;
        TcpState state;
    };
    const Row rows[] = {{kSyn, TcpState::syn_sent},        {kSyn | kAck, TcpState::syn_recv},
                        {kAck, TcpState::established},     {kPsh | kAck, TcpState::established},
                        {kFin | kAck, TcpState::fin_wait}, {kRst, TcpState::close},
                        {kRst | kAck, TcpState::close}};
    World world(rules(kSloppy), GetParam());
    std::uint16_t port = 100;
    for (const Row& row : rows) {
        EXPECT_TRUE(world.from_inside(segment(to_port(++port), row.flags))) << row.flags;
        EXPECT_EQ(state_of(world, port), row.state) << row.flags;
        // Not the other way: there policy has a word.
        EXPECT_FALSE(world.from_outside(segment(to_port(1000), row.flags)));
    }
    EXPECT_EQ(world.sum(&WorkerCounters::connections_sloppy), std::size(rows));
}

TEST_P(Asymmetric, SloppyFollowsTheClientAlone) {
    World world(rules(kSloppy), GetParam());
    EXPECT_TRUE(world.from_inside(segment(kWeb, kSyn, 1000)));
    EXPECT_EQ(state_of(world), TcpState::syn_sent);
    EXPECT_TRUE(world.from_inside(segment(kWeb, kAck, 1001, 0x71000000)));
    EXPECT_EQ(state_of(world), TcpState::established);
    // Acknowledgements of what is never seen, and retransmissions out of any window.
    EXPECT_TRUE(world.from_inside(segment(kWeb, kPsh | kAck, 0x60000000, 0x11000000, "data")));
    EXPECT_TRUE(world.from_inside(segment(kWeb, kAck, 5, 0xf1000000)));
    EXPECT_TRUE(world.from_inside(segment(kWeb, kFin | kAck, 7, 9)));
    EXPECT_EQ(state_of(world), TcpState::fin_wait);
    EXPECT_TRUE(world.from_inside(segment(kWeb, kAck, 8, 19)));
    EXPECT_EQ(state_of(world), TcpState::fin_wait);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
    // The same ports again.
    EXPECT_TRUE(world.from_inside(segment(kWeb, kSyn, 2000)));
    EXPECT_EQ(state_of(world), TcpState::syn_sent);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 2u);
}

TEST_P(Asymmetric, SloppyFollowsTheServerAlone) {
    World world(
        rules("    - {from: outside, proto: tcp, sport: 80, track: sloppy, action: accept}\n"),
        GetParam());
    const Flow back = kWeb.back();
    EXPECT_TRUE(world.from_outside(segment(back, kSyn | kAck, 1000, 77)));
    EXPECT_TRUE(world.from_outside(segment(back, kPsh | kAck, 1001, 90, "200 OK")));
    EXPECT_EQ(state_of(world, 40000), TcpState::established);
    EXPECT_TRUE(world.from_outside(segment(back, kFin | kAck, 1007, 90)));
    EXPECT_EQ(state_of(world, 40000), TcpState::fin_wait);
    EXPECT_TRUE(world.from_outside(segment(back, kSyn | kAck, 5000, 78)));
    EXPECT_EQ(state_of(world, 40000), TcpState::syn_recv);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 2u);
}

TEST_P(Asymmetric, SloppyFollowsBothWhereBothAreSeen) {
    World world(rules(kSloppy), GetParam());
    const Flow back = kWeb.back();
    EXPECT_TRUE(world.from_inside(segment(kWeb, kSyn, 1000)));
    EXPECT_TRUE(world.from_outside(segment(back, kSyn | kAck, 5000, 1001)));
    EXPECT_EQ(state_of(world), TcpState::syn_recv);
    EXPECT_TRUE(world.from_inside(segment(kWeb, kAck, 1001, 5001)));
    EXPECT_EQ(state_of(world), TcpState::established);
    EXPECT_TRUE(world.connection(80)->conn.has(conn_flag::assured));
    EXPECT_FALSE(world.connection(80)->conn.tcp_steady());
    EXPECT_TRUE(world.from_outside(segment(back, kAck, 0x70000000, 1001)));
    EXPECT_TRUE(world.from_inside(segment(kWeb, kFin | kAck, 1001, 5001)));
    EXPECT_EQ(state_of(world), TcpState::fin_wait);
    EXPECT_TRUE(world.from_outside(segment(back, kPsh | kAck, 5001, 1002, "still")));
    EXPECT_TRUE(world.from_outside(segment(back, kFin | kAck, 5006, 1002)));
    EXPECT_EQ(state_of(world), TcpState::time_wait);
    EXPECT_TRUE(world.from_inside(segment(kWeb, kAck, 1002, 5007)));
    EXPECT_EQ(state_of(world), TcpState::time_wait);
    // An error about it is related; there is no number to compare.
    EXPECT_TRUE(world.from_outside(unreachable(kWeb.dst, kWeb.src, segment(kWeb, kAck, 3))));
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
}

TEST_P(Asymmetric, SloppySeenOneWayIsNotKeptForDays) {
    World world(rules(kSloppy), GetParam());
    ASSERT_TRUE(world.from_inside(segment(kWeb, kAck)));
    ASSERT_TRUE(world.from_inside(segment(to_port(81), kAck)));
    ASSERT_TRUE(world.from_outside(segment(to_port(81).back(), kAck)));
    EXPECT_EQ(world.connection(80)->conn.timeout_ms, 300'000u);
    EXPECT_EQ(world.connection(81)->conn.timeout_ms, 432'000'000u);
    EXPECT_FALSE(world.connection(80)->conn.has(conn_flag::assured));
}

TEST_P(Asymmetric, SloppySeenOneWayIsNotHalfOpen) {
    World world(rules(kSloppy), GetParam(), {},
                std::string(World::kLimits) + ", per_source: {half_open: 2}");
    for (std::uint16_t port = 1; port < 20; ++port) {
        EXPECT_TRUE(world.from_inside(segment(to_port(port), kSyn)));
        EXPECT_TRUE(world.from_inside(segment(to_port(port), kAck)));
        EXPECT_TRUE(
            world.from_inside(segment(to_port(static_cast<std::uint16_t>(port + 100)), kAck)));
    }
    // A SYN alone is.
    unsigned passed = 0;
    for (std::uint16_t port = 200; port < 220; ++port)
        passed += world.from_inside(segment(to_port(port), kSyn)) ? 1 : 0;
    EXPECT_LE(passed, 2 * GetParam());
    EXPECT_GE(world.drops(DropReason::source_half_open), 20u - 2 * GetParam());
}

TEST_P(Asymmetric, SloppyHasNoHelper) {
    World world(rules(kSloppy), GetParam(),
                "helpers: [{name: ftp, ports: 21, auto_assign: true}]\n");
    ASSERT_TRUE(world.from_inside(segment(to_port(21), kSyn, 1000)));
    ASSERT_TRUE(world.from_outside(segment(to_port(21).back(), kSyn | kAck, 5000, 1001)));
    ASSERT_TRUE(world.from_inside(segment(to_port(21), kAck, 1001, 5001)));
    EXPECT_EQ(world.connection(21)->conn.helper, kNoHelper);
    EXPECT_FALSE(world.connection(21)->conn.has(conn_flag::has_helper_slot));
}

TEST_P(Asymmetric, SloppyKnowsSctpAndDccp) {
    World world(rules(kSloppy), GetParam());
    const auto sctp = [](std::uint16_t port, std::uint8_t chunk) {
        Frame l4(16);
        l4[1] = 9, l4[2] = static_cast<std::uint8_t>(port >> 8);
        l4[3] = static_cast<std::uint8_t>(port), l4[7] = 5, l4[12] = chunk, l4[15] = 4;
        return ip(kWeb.src, kWeb.dst, proto::sctp, l4);
    };
    EXPECT_TRUE(world.from_inside(sctp(10, 0)));  // DATA
    EXPECT_EQ(world.connection(10)->conn.sctp_state(), SctpState::established);
    EXPECT_TRUE(world.from_inside(sctp(11, 10)));  // COOKIE ECHO
    EXPECT_TRUE(world.from_inside(sctp(11, 3)));   // SACK
    EXPECT_EQ(world.connection(11)->conn.sctp_state(), SctpState::established);
    EXPECT_TRUE(world.from_inside(sctp(11, 7)));  // SHUTDOWN
    EXPECT_EQ(world.connection(11)->conn.sctp_state(), SctpState::shutdown_sent);
    EXPECT_TRUE(world.from_inside(sctp(11, 6)));  // ABORT
    EXPECT_EQ(world.connection(11)->conn.sctp_state(), SctpState::closed);
    const auto dccp = [](std::uint16_t port, std::uint8_t type) {
        Frame l4(28);
        l4[1] = 9, l4[2] = static_cast<std::uint8_t>(port >> 8);
        l4[3] = static_cast<std::uint8_t>(port), l4[4] = 7;
        l4[8] = static_cast<std::uint8_t>(type << 1 | 1);
        return ip(kWeb.src, kWeb.dst, proto::dccp, l4);
    };
    EXPECT_TRUE(world.from_inside(dccp(20, 2)));  // Data
    EXPECT_EQ(world.connection(20)->conn.dccp_state(), DccpState::open);
    EXPECT_TRUE(world.from_inside(dccp(20, 7)));  // Reset
    EXPECT_EQ(world.connection(20)->conn.dccp_state(), DccpState::timewait);
}

// --- what cannot be asked for --------------------------------------------------------------------

TEST(Tracking, ExcludesWhatNeedsAConnectionThatIsSeenWhole) {
    const auto refusal = [](const std::string& rule) {
        const auto loaded = load_spec_text(
            "zones: [inside, outside]\n"
            "ports:\n"
            "  - {name: in0, device: net_null0, zone: inside}\n"
            "  - {name: out0, device: net_null1, zone: outside}\n"
            "bridges: [{ports: [in0, out0]}]\n"
            "helpers: [{name: ftp}]\n"
            "policy: {rules: [{" +
                rule + "}]}\n",
            "x.yaml", build_schema());
        return loaded.errors.empty() ? std::string() : loaded.errors[0].to_string();
    };
    for (const std::string mode : {"no", "sloppy"}) {
        const std::string rule = "track: " + mode + ", ", why = "`track: " + mode + "` ";
        EXPECT_EQ(refusal(rule + "action: accept"), "");
        EXPECT_NE(refusal(rule + "action: drop").find("needs `action: accept`"), std::string::npos);
        EXPECT_NE(refusal(rule + "action: accept, proto: tcp, dport: 21, helper: ftp")
                      .find(why + "excludes `helper`"),
                  std::string::npos);
        EXPECT_NE(refusal(rule + "action: accept, proto: udp, expect: {proto: udp, dport: 7000}")
                      .find(why + "excludes `expect`"),
                  std::string::npos);
        EXPECT_NE(refusal(rule + "action: accept, related: ftp").find(why + "excludes `related`"),
                  std::string::npos);
        EXPECT_NE(refusal(rule + "action: accept, ct: [related]").find(why + "needs `ct: [new]`"),
                  std::string::npos);
        for (const std::string key : {"set: {mark: 1}", "liberal: true"})
            EXPECT_EQ(refusal(rule + "action: accept, " + key) == "", mode == "sloppy") << key;
    }
    EXPECT_EQ(refusal("track: yes, action: accept, proto: tcp, dport: 21, helper: ftp"), "");
    EXPECT_NE(refusal("track: half, action: accept").find("expected one of: yes, sloppy, no"),
              std::string::npos);
}

// What a helper expected is tracked as its helper needs, by a later rule.
TEST(AsymmetricRules, LeaveExpectedConnectionsToTheNextRule) {
    for (const std::string ct : {"", "ct: [new, related], "}) {
        for (const std::string mode : {"no", "sloppy"}) {
            World world(
                "helpers: [{name: ftp}]\n"
                "policy:\n"
                "  default: drop\n"
                "  rules:\n"
                "    - {from: inside, proto: tcp, dport: 21, action: accept, helper: ftp}\n"
                "    - {from: outside, proto: tcp, " +
                    ct + "track: " + mode +
                    ", action: accept}\n"
                    "    - {ct: [related], related: [ftp], action: accept}\n",
                1);
            Talk control(world, frames::flow("192.0.2.1", 40000, "198.51.100.2", 21));
            ASSERT_TRUE(control.open());
            ASSERT_TRUE(control.server("220 ready\r\n"));
            ASSERT_TRUE(control.client("USER u\r\n"));
            ASSERT_TRUE(control.server("230 in\r\n"));
            ASSERT_TRUE(control.client("PORT 192,0,2,1,195,80\r\n"));
            ASSERT_TRUE(control.server("200 ok\r\n"));
            Talk data(world, frames::flow("198.51.100.2", 20, "192.0.2.1", 50000), false);
            EXPECT_TRUE(data.open()) << mode;
            EXPECT_EQ(world.sum(&WorkerCounters::connections_sloppy), 0u);
        }
    }
}

}  // namespace
}  // namespace postern
