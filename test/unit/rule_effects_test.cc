// SPDX-License-Identifier: BSD-3-Clause
// What a rule does to the connections that it accepts: mark, label, timeouts, liberal windows; and
// what of it their expected children inherit.
#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

/// FTP whose control connections carry a mark and a label; `data` accepts what they expect.
std::string ftp_policy(const std::string& data) {
    return "helpers: [{name: ftp}]\n"
           "policy:\n"
           "  rules:\n"
           "    - {name: control, from: inside, proto: tcp, dport: 21, ct: [new], action: accept,"
           " helper: ftp, set: {mark: 0x12/0xff, label: 7}}\n" +
           data;
}

/// Opens a control connection that announces a passive data connection, and that one.
bool transfer(World& world, std::uint16_t port) {
    Talk control(world, flow("192.0.2.1", 40000, "192.0.2.2", 21));
    EXPECT_TRUE(control.open());
    EXPECT_TRUE(control.server("220 ready\r\n"));
    EXPECT_TRUE(control.client("EPSV\r\n"));
    EXPECT_TRUE(control.server("229 ok (|||" + std::to_string(port) + "|)\r\n"));
    return Talk(world, flow("192.0.2.1", 41000, "192.0.2.2", port)).open();
}

class Effects : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Effects, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(Effects, ChildrenInheritMarkAndLabel) {
    World world(ftp_policy("    - {ct: [related], related: [ftp], action: accept}\n"), GetParam());
    ASSERT_TRUE(transfer(world, 50000));
    EXPECT_EQ(world.connection(21)->conn.mark, 0x12u);
    EXPECT_EQ(world.connection(21)->conn.label, 7u);
    EXPECT_EQ(world.connection(50000)->conn.mark, 0x12u);
    EXPECT_EQ(world.connection(50000)->conn.label, 7u);
}

TEST_P(Effects, ChildsOwnRuleChangesTheBitsOfItsMask) {
    World world(ftp_policy("    - {ct: [related], related: [ftp], action: accept,"
                           " set: {mark: 0x300/0xff00, label: 0x8/0xc}}\n"),
                GetParam());
    ASSERT_TRUE(transfer(world, 50000));
    EXPECT_EQ(world.connection(50000)->conn.mark, 0x312u);
    EXPECT_EQ(world.connection(50000)->conn.label, 0xbu);  // 7: 0b0111, then 0b1011
}

TEST_P(Effects, RulesAskForTheInheritedMark) {
    const char* const accept = "    - {ct: [related], mark: 0x10/0xf0, action: accept}\n";
    World right(ftp_policy(accept), GetParam());
    EXPECT_TRUE(transfer(right, 50000));
    World wrong(ftp_policy("    - {ct: [related], mark: 0x20/0xf0, action: accept}\n"), GetParam());
    EXPECT_FALSE(transfer(wrong, 50000));
    EXPECT_EQ(wrong.fw().expectations().live(), 1u) << "policy dropped it before the claim";
}

TEST_P(Effects, NewConnectionsHaveMarkZero) {
    World world(
        "policy: {rules: [{proto: udp, dport: 53, mark: 1/1, action: accept},"
        "                 {proto: udp, dport: 54, mark: 0/1, action: accept}]}\n",
        GetParam());
    EXPECT_FALSE(world.from_inside(frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", 53))));
    EXPECT_TRUE(world.from_inside(frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", 54))));
    EXPECT_TRUE(world.from_inside(frames::udp(flow("2001:db8::1", 4000, "2001:db8::2", 54))));
}

TEST_P(Effects, TimeoutsByRule) {
    World world(
        "timeouts: {udp: {unreplied: 10}, profiles: {quick: {udp: {unreplied: 2},"
        " tcp: {syn_sent: 3}}}}\n"
        "policy: {rules: [{proto: udp, dport: 53, action: accept, timeouts: quick},"
        "                 {proto: udp, dport: 54, action: accept},"
        "                 {proto: udp, dport: 55, action: accept, timeouts: linux},"
        "                 {proto: tcp, action: accept, timeouts: quick}]}\n",
        GetParam());
    for (const unsigned port : {53u, 54u, 55u})
        EXPECT_TRUE(world.from_inside(frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", port))));
    EXPECT_TRUE(
        world.from_inside(frames::tcp(flow("192.0.2.1", 4000, "192.0.2.2", 80), {.flags = 0x02})));
    const auto alive = [&] {
        std::string ports;
        for (const unsigned port : {53u, 54u, 55u, 80u})
            if (world.connection(static_cast<std::uint16_t>(port)))
                ports += std::to_string(port) + " ";
        return ports;
    };
    EXPECT_EQ(alive(), "53 54 55 80 ");
    world.pass(2500);
    EXPECT_EQ(alive(), "54 55 80 ");
    world.pass(1000);
    EXPECT_EQ(alive(), "54 55 ");
    world.pass(8000);
    EXPECT_EQ(alive(), "55 ");
    world.pass(19'000);
    EXPECT_EQ(alive(), "");
}

TEST_P(Effects, LiberalWindowsByRule) {
    World world(
        "policy: {rules: [{proto: tcp, dport: 80, action: accept},"
        "                 {proto: tcp, dport: 81, action: accept, liberal: true}]}\n",
        GetParam());
    for (const std::uint16_t port : {std::uint16_t{80}, std::uint16_t{81}}) {
        const auto ends = flow("192.0.2.1", 4000, "192.0.2.2", port);
        Talk talk(world, ends);
        ASSERT_TRUE(talk.open());
        ASSERT_TRUE(talk.client("hello"));
        // Far beyond what the server's window allows.
        frames::TcpFields far;
        far.flags = 0x18;
        far.seq = 900'000'000;
        far.ack = 5001;
        far.payload = "x";
        EXPECT_EQ(world.from_inside(frames::tcp(ends, far)), port == 81);
    }
}

// ---- expect: ----

/// Connections to port 1234 from inside expect others; `wish` says which.
std::string expecting(const std::string& wish, const std::string& more = {}) {
    return "policy:\n"
           "  rules:\n"
           "    - {name: call, from: inside, proto: tcp, dport: 1234, ct: [new], action: accept,"
           " set: {mark: 5}, expect: {" +
           wish +
           "}}\n"
           "    - {name: back, ct: [related], action: accept" +
           more + "}\n";
}
bool syn(World& world, const frames::Flow& f, bool inside) {
    return world.send(frames::tcp(f, {.flags = 0x02}), inside ? World::kInside : World::kOutside);
}
const auto kCall = flow("192.0.2.1", 40000, "192.0.2.2", 1234);

// A.6, A.9 last row: as `ct expectation` of nftables, from the peer to who began it.
TEST_P(Effects, RuleExpectsTheServersCallBack) {
    World world(expecting("proto: tcp, dport: 7000-7002"), GetParam());
    const auto back = flow("192.0.2.2", 33333, "192.0.2.1", 7001);
    EXPECT_FALSE(syn(world, back, false)) << "nobody has called yet";
    ASSERT_TRUE(syn(world, kCall, true));
    EXPECT_EQ(world.fw().expectations().live(), 3u);
    EXPECT_FALSE(syn(world, flow("192.0.2.3", 33333, "192.0.2.1", 7001), false)) << "a stranger";
    EXPECT_FALSE(syn(world, flow("192.0.2.2", 33333, "192.0.2.1", 7003), false));
    EXPECT_FALSE(world.from_outside(frames::udp(back)));
    EXPECT_TRUE(syn(world, back, false));
    EXPECT_FALSE(syn(world, flow("192.0.2.2", 33334, "192.0.2.1", 7001), false)) << "used up";
    EXPECT_EQ(world.fw().expectations().live(), 2u);
    const auto child = world.connection(7001);
    ASSERT_TRUE(child);
    EXPECT_EQ(child->conn.master, world.connection(1234)->id);
    EXPECT_EQ(child->conn.mark, 5u);
    EXPECT_EQ(child->conn.expected_by, kNoHelper);
    // The end of the call takes what is pending, not what runs.
    const auto call = *world.connection(1234);
    world.fw().worker(call.worker).tracking().end(call.id.index, ConnEnd::control);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
    EXPECT_TRUE(world.connection(7001));
}

TEST_P(Effects, RuleExpectsTheClientsNextCall) {
    World world(expecting("proto: udp, dport: 5000, to: server, timeout: 2"), GetParam());
    ASSERT_TRUE(syn(world, kCall, true));
    world.pass(1000);
    EXPECT_TRUE(world.from_inside(frames::udp(flow("192.0.2.1", 1, "192.0.2.2", 5000))));
    World late(expecting("proto: udp, dport: 5000, to: server, timeout: 2"), GetParam());
    ASSERT_TRUE(syn(late, kCall, true));
    late.pass(2200);
    EXPECT_FALSE(late.from_inside(frames::udp(flow("192.0.2.1", 1, "192.0.2.2", 5000))));
}

TEST_P(Effects, PermanentExpectationOfARuleStays) {
    World world(expecting("proto: tcp, dport: 7000, permanent: true"), GetParam());
    ASSERT_TRUE(syn(world, kCall, true));
    for (unsigned i = 0; i < 5; ++i)
        EXPECT_TRUE(syn(world, flow("192.0.2.2", 33000 + i, "192.0.2.1", 7000), false));
    EXPECT_EQ(world.fw().expectations().live(), 1u);
}

TEST_P(Effects, WithoutItsExpectationTheConnectionDoesNotBegin) {
    const std::string two =
        std::string(World::kLimits) + ", expectations_per: {source: 2, destination: 1}";
    World world(expecting("proto: tcp, dport: 7000"), GetParam(), "", two);
    ASSERT_TRUE(syn(world, kCall, true));
    EXPECT_TRUE(world.connection(1234));
    // Another client of the same address: its expectation is the first one's ("already").
    EXPECT_FALSE(syn(world, flow("192.0.2.1", 40001, "192.0.2.2", 1234), true));
    EXPECT_EQ(world.drops(DropReason::expect), 1u);
    EXPECT_EQ(world.sum(&WorkerCounters::rule_expectations_failed), 1u);
    EXPECT_EQ(world.fw().expectations().live(), 1u);
    // Once that one is used the sender's next attempt succeeds.
    ASSERT_TRUE(syn(world, flow("192.0.2.2", 33333, "192.0.2.1", 7000), false));
    EXPECT_TRUE(syn(world, flow("192.0.2.1", 40001, "192.0.2.2", 1234), true));
    EXPECT_EQ(world.buffers_in_use(), 0u);
}

TEST_P(Effects, SlotsOfRulesExpectationsComeBack) {
    World world(expecting("proto: tcp, dport: 7000"), GetParam());
    for (unsigned i = 0; i < 300; ++i) {  // 64 slots
        ASSERT_TRUE(syn(world, kCall, true)) << i;
        const auto call = *world.connection(1234);
        world.fw().worker(call.worker).tracking().end(call.id.index, ConnEnd::control);
        world.turn();
        world.turn();
    }
    EXPECT_EQ(world.fw().expectations().live(), 0u);
}

TEST_P(Effects, ExpectationsPerZoneAndSource) {
    for (const char* limit : {"zone: 2", "zone: {0: 2}", "source: 2", "security_zone: 2",
                              "source: 0, server: 0, security_zone: 2"}) {
        World world(expecting("proto: tcp, dport: 7000"), GetParam(), "",
                    std::string(World::kLimits) + ", expectations_per: {" + limit + "}");
        unsigned passed = 0;
        for (unsigned i = 0; i < 4; ++i)  // different destinations: peer and port differ
            passed += syn(
                world, flow("192.0.2.1", 40000, "192.0.2." + std::to_string(10 + i), 1234), true);
        EXPECT_EQ(passed, 2u) << limit;
    }
}

TEST_P(Effects, ExpectationsPerServer) {
    for (const auto& [limit, most] : {std::pair("server: 2", 2u), std::pair("server: 0", 4u)}) {
        World world(expecting("proto: tcp, dport: 7000"), GetParam(), "",
                    std::string(World::kLimits) + ", expectations_per: {" + limit + "}");
        const auto call = [&](unsigned client, unsigned server) {
            return syn(world,
                       flow("192.0.2." + std::to_string(client), 40000,
                            "192.0.2." + std::to_string(server), 1234),
                       true);
        };
        unsigned passed = 0;
        for (unsigned i = 0; i < 4; ++i)
            passed += call(10 + i, 2);
        EXPECT_EQ(passed, most) << limit;
        EXPECT_TRUE(call(20, 3)) << limit;  // another server
    }
}

}  // namespace
}  // namespace postern
