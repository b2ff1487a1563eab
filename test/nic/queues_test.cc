// SPDX-License-Identifier: BSD-3-Clause
// Workers on the receive queues of cards with RSS: PortSet gives the cards its key and its table,
// and both directions of each connection arrive at one worker.
#include <gtest/gtest.h>

#include "nic/traffic.h"
#include "support/eal.h"

namespace postern::nic {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

/// The number of workers.
class Queues : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Queues, ::testing::Values(2u, 4u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(Queues, BothDirectionsOfAConnectionArriveAtItsWorker) {
    for (const std::uint64_t seed : {1u, 2u, 3u}) {
        NicWorld world({.workers = GetParam(), .rss_seed = seed});
        ASSERT_EQ(world.refusal, "");
        for (const PortId p : {NicWorld::kInside, NicWorld::kOutside}) {
            EXPECT_TRUE(world.ports().info(p).rss);
            EXPECT_EQ(world.ports().info(p).rx_queues, GetParam());
        }
        for (const int family : {4, 6}) {
            for (const bool udp : {false, true}) {
                std::set<unsigned> homes;
                for (const frames::Flow& flow : flows(40, family, 100u * family + udp)) {
                    const Arrivals a = udp ? ask(world, flow, udp_frame) : talk(world, flow);
                    EXPECT_EQ(a.lost, 0u);
                    const auto home = world.home_of(flow.sport, flow.dport);
                    ASSERT_TRUE(home);
                    EXPECT_EQ(a.queues, std::set<unsigned>{*home});
                    homes.insert(*home);
                }
                EXPECT_EQ(homes.size(), GetParam()) << "all workers have some";
            }
        }
        EXPECT_EQ(world.handed_off(), 0u) << "seed " << seed;
    }
}

TEST_P(Queues, ACardWithAKeyOfItsOwnHasItsPacketsHandedOver) {
    Abilities own;
    own.key = Abilities::Key::kept;
    NicWorld world({.workers = GetParam(), .inside = own, .outside = own});
    ASSERT_EQ(world.refusal, "");
    EXPECT_FALSE(world.ports().any_rss());
    const Cost cost = many(world, 40, 4, [&](const auto& flow) { return talk(world, flow); });
    EXPECT_EQ(cost.lost, 0u) << "they arrive nevertheless";
    EXPECT_GT(cost.split, 0u) << "or the test above would always succeed";
    EXPECT_GT(cost.handed_off, 0u);
}

constexpr const char* kFtp =
    "policy:\n"
    "  rules:\n"
    "    - {from: inside, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {ct: [related], action: accept}\n";

TEST_P(Queues, ExpectedChildrenArriveAtTheirOwnWorker) {
    NicWorld world({.workers = GetParam(), .policy = kFtp, .more = "helpers: [{name: ftp}]\n"});
    ASSERT_EQ(world.refusal, "");
    std::set<unsigned> distances;  // from the master's worker
    unsigned port = 50000;
    for (frames::Flow control : flows(24, 4, 5)) {
        control.dport = 21;
        ++port;
        const auto* s = control.dst.bytes.data();
        const std::string reply = "227 ok (" + std::to_string(s[0]) + "," + std::to_string(s[1]) +
                                  "," + std::to_string(s[2]) + "," + std::to_string(s[3]) + "," +
                                  std::to_string(port >> 8) + "," + std::to_string(port & 255) +
                                  ")\r\n";
        Talk master(world, control);
        master.open();
        master.server("220 hello\r\n");
        master.client("PASV\r\n");
        master.server(reply);
        EXPECT_EQ(master.arrivals.lost, 0u);
        frames::Flow data = control;
        data.sport = static_cast<std::uint16_t>(control.sport ^ 1);
        data.dport = static_cast<std::uint16_t>(port);
        const Arrivals child = talk(world, data);
        EXPECT_EQ(child.lost, 0u);
        const auto home = world.home_of(data.sport, data.dport),
                   of_master = world.home_of(control.sport, 21);
        ASSERT_TRUE(home && of_master);
        EXPECT_EQ(child.queues, std::set<unsigned>{*home});
        distances.insert((*home + GetParam() - *of_master) % GetParam());
    }
    EXPECT_GT(distances.size(), 1u) << "some are at home where their master is not";
    EXPECT_EQ(world.handed_off(), 0u);
}

TEST_P(Queues, ErrorsAreHandedToTheWorkerOfTheConnectionTheyAreAbout) {
    NicWorld world({.workers = GetParam()});
    std::uint64_t handed = 0;
    for (const frames::Flow& flow : flows(40, 4, 6)) {
        const Frame packet = frames::udp(flow, "question");
        ASSERT_TRUE(world.pass(packet, NicWorld::kInside));
        const auto home = world.home_of(flow.sport, flow.dport);
        ASSERT_TRUE(home);
        // The card sees a router's address and the sender's.
        const Frame error =
            frames::unreachable(*IpAddr::parse("203.0.113.7"), flow.src, packet, 28);
        EXPECT_TRUE(world.pass(error, NicWorld::kOutside));
        handed += world.outside.last_queue() != *home ? 1 : 0;
    }
    EXPECT_GT(handed, 0u);
    EXPECT_EQ(world.handed_off(), handed) << "each once, and nothing else";
}

}  // namespace
}  // namespace postern::nic
