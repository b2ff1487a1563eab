// SPDX-License-Identifier: BSD-3-Clause
// GRE through whole workers: without calls by addresses, with calls by the pair of expectations
// that knows both ids. The calls' master is a connection of the tests' own.
#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::Frame;
using frames::gre_call;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr PortIndex kIn = World::kInside, kOut = World::kOutside;
const IpAddr kClient = IpAddr::v4(192, 0, 2, 1), kServer = IpAddr::v4(198, 51, 100, 2);
const IpAddr kClient6 = *IpAddr::parse("2001:db8::1"), kServer6 = *IpAddr::parse("2001:db8:1::2");

const std::string kRelated = "policy: {rules: [{name: related, ct: [related], action: accept}]}\n";
const std::string kInsideOut =
    "policy:\n"
    "  rules:\n"
    "    - {name: related, ct: [related], action: accept}\n"
    "    - {name: out, from: inside, ct: [new], action: accept}\n";

/// Expects what `from` sends to `to`: packets that name the call `to_id`.
InsertOutcome expect_call(World& world, const IpAddr& from, std::uint16_t from_id, const IpAddr& to,
                          std::uint16_t to_id) {
    ExpectRequest r;
    r.protocol = proto::gre;
    r.src = from;
    r.sport = Be16::from_host(from_id);
    r.sport_mask = Be16::from_raw(0xffff);
    r.dst = to;
    r.dport = Be16::from_host(to_id);
    r.master = {1, 1, 0};
    r.timeout_ms = 60'000;
    auto& control = world.fw().expectations().owner(static_cast<OwnerId>(world.fw().workers()));
    return control.insert(r, nullptr, {world.now}).outcome;
}

class GreCall : public ::testing::TestWithParam<std::tuple<unsigned, bool>> {
  protected:
    unsigned workers() const { return std::get<0>(GetParam()); }
    IpAddr client = std::get<1>(GetParam()) ? kClient6 : kClient;
    IpAddr server = std::get<1>(GetParam()) ? kServer6 : kServer;

    void expect_both(World& world) {
        ASSERT_EQ(expect_call(world, client, 11, server, 22), InsertOutcome::created);
        ASSERT_EQ(expect_call(world, server, 22, client, 11), InsertOutcome::created);
    }
};

TEST_P(GreCall, EitherSideBeginsAndBothAreOneConnection) {
    for (const bool server_first : {false, true}) {
        World world(kRelated, workers());
        expect_both(world);
        const Frame there = gre_call(client, server, 22), back = gre_call(server, client, 11);
        // Wherever they come in, they meet on one worker.
        unsigned on = 0;
        for (int n = 0; n < 3; ++n) {
            const unsigned a = on++ % workers(), b = on++ % workers();
            if (server_first) {
                EXPECT_TRUE(world.send(back, kOut, a));
                EXPECT_TRUE(world.send(there, kIn, b));
            } else {
                EXPECT_TRUE(world.send(there, kIn, a));
                EXPECT_TRUE(world.send(back, kOut, b));
            }
        }
        EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
        EXPECT_EQ(world.sum(&WorkerCounters::connections_expected), 1u);
        EXPECT_EQ(world.fw().expectations().live(), 0u);
        const auto conn = world.connection(server_first ? 11 : 22);
        ASSERT_TRUE(conn);
        EXPECT_EQ(conn->conn.sport.host(), server_first ? 22 : 11);
        EXPECT_EQ(conn->conn.packets(Direction::original), 3u);
        EXPECT_EQ(conn->conn.packets(Direction::reply), 3u);
        EXPECT_TRUE(conn->conn.has(conn_flag::assured));
        EXPECT_EQ(conn->conn.timeout_ms, 18'000'000u);
        // No other call, and none without a call.
        EXPECT_FALSE(world.send(gre_call(server, client, 22), kOut));
        EXPECT_FALSE(world.send(gre_call(client, server, 11), kIn));
        EXPECT_FALSE(world.send(frames::ip(server, client, proto::gre, Frame(8)), kOut));
        EXPECT_EQ(world.drops(DropReason::policy), 3u);
        EXPECT_EQ(world.buffers_in_use(), 0u);
    }
}

TEST_P(GreCall, BothFirstPacketsInOneBurst) {
    World world(kRelated, workers());
    expect_both(world);
    const Frame there = gre_call(client, server, 22), back = gre_call(server, client, 11);
    // On the worker that they belong to.
    PacketInfo info{};
    const auto n = static_cast<std::uint32_t>(there.size());
    parse_packet(there.data(), n, n, {&world.fw().plan().secret, 0}, info);
    const unsigned home = world.fw().plan().home(info.rss);
    EXPECT_EQ(world.send_burst({{back, kOut}, {there, kIn}, {there, kIn}, {back, kOut}}, home),
              "aaaa");
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
}

TEST_P(GreCall, WithoutExpectationsEachDirectionIsItsOwn) {
    World world(kInsideOut, workers());
    // As in Linux, nothing tells which call of the other side an answer belongs to.
    EXPECT_TRUE(world.send(gre_call(client, server, 22), kIn));
    EXPECT_FALSE(world.send(gre_call(server, client, 11), kOut));
    EXPECT_FALSE(world.send(gre_call(server, client, 22), kOut));
    const auto conn = world.connection(22);
    ASSERT_TRUE(conn);
    EXPECT_EQ(conn->conn.sport.host(), 0);
    EXPECT_EQ(conn->conn.timeout_ms, 30'000u);
}

TEST_P(GreCall, TheAnswersThatCameTooEarlyJoinTheirCall) {
    World world(kInsideOut, workers());
    EXPECT_TRUE(world.send(gre_call(client, server, 22), kIn));  // before anybody expected it
    expect_both(world);
    EXPECT_TRUE(world.send(gre_call(server, client, 11), kOut));
    EXPECT_TRUE(world.send(gre_call(client, server, 22), kIn));
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 2u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_ended), 1u);
    const auto conn = world.connection(11);
    ASSERT_TRUE(conn);
    EXPECT_EQ(conn->conn.packets(Direction::original), 1u);
    EXPECT_EQ(conn->conn.packets(Direction::reply), 1u);
}

TEST_P(GreCall, WhatPolicyDropsUsesNoExpectation) {
    World world("policy: {rules: [{name: other, proto: udp, action: accept}]}\n", workers());
    expect_both(world);
    EXPECT_FALSE(world.send(gre_call(client, server, 22), kIn));
    EXPECT_EQ(world.fw().expectations().live(), 2u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 0u);
}

INSTANTIATE_TEST_SUITE_P(All, GreCall,
                         ::testing::Values(std::tuple{1u, false}, std::tuple{3u, true},
                                           std::tuple{4u, false}),
                         [](const auto& param) {
                             return std::to_string(std::get<0>(param.param)) + "Workers" +
                                    (std::get<1>(param.param) ? "6" : "4");
                         });

TEST(Gre, AFullTableLetsGoOfNothing) {
    // Pairs take two slots; a table that is full drops, counts, and goes on once there is room.
    World world(kRelated, 1, {}, "connections: 64, expectations: 256, helped_connections: 16");
    unsigned passed = 0;
    for (std::uint16_t id = 1; id <= 64; ++id) {
        ASSERT_EQ(expect_call(world, kClient, id, kServer, static_cast<std::uint16_t>(1000 + id)),
                  InsertOutcome::created);
        passed +=
            world.send(gre_call(kClient, kServer, static_cast<std::uint16_t>(1000 + id)), kIn);
        passed += world.send(gre_call(kServer, kClient, id), kOut) ? 0 : 1000;
        passed += world.send(gre_call(kClient, kServer, static_cast<std::uint16_t>(1000 + id)), kIn)
                      ? 0
                      : 1000;
        if (passed >= 1000) break;
    }
    EXPECT_EQ(passed, 2032u);  // 32 pairs, then neither direction
    EXPECT_EQ(world.sum(&WorkerCounters::table_full), 2u);
    EXPECT_EQ(world.fw().expectations().live(), 1u);  // it is not used up
    world.pass(18'000'000, 60'000);
    EXPECT_EQ(world.fw().worker(0).conns().size(), 0u);
    ASSERT_EQ(expect_call(world, kClient, 1, kServer, 2000), InsertOutcome::created);
    EXPECT_TRUE(world.send(gre_call(kClient, kServer, 2000), kIn));
}

TEST(Gre, WithoutCallsIsByAddresses) {
    World world(kInsideOut, 2);
    const Frame there = frames::ip(kClient, kServer, proto::gre, {0, 0, 8, 0, 1, 2, 3, 4}),
                back = frames::ip(kServer, kClient, proto::gre, {0x20, 0, 8, 0, 9, 9, 9, 9});
    EXPECT_FALSE(world.send(back, kOut));
    EXPECT_TRUE(world.send(there, kIn, 1));
    EXPECT_TRUE(world.send(back, kOut, 0));
    const auto conn = world.connection(0);
    ASSERT_TRUE(conn);
    EXPECT_EQ(conn->conn.timeout_ms, 30'000u);
    EXPECT_TRUE(world.send(there, kIn, 1));
    EXPECT_EQ(world.connection(0)->conn.timeout_ms, 180'000u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
}

}  // namespace
}  // namespace postern
