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

}  // namespace
}  // namespace postern
