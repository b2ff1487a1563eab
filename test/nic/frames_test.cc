// SPDX-License-Identifier: BSD-3-Clause
// Frames as cards deliver them: without their tag, with findings about checksums, in several
// buffers, longer than usual.
#include <gtest/gtest.h>

#include "nic/traffic.h"
#include "support/eal.h"

namespace postern::nic {
namespace {

constexpr PortId kIn = NicWorld::kInside, kOut = NicWorld::kOutside;

TEST(Tags, ThatACardStripsArePutBack) {
    Abilities strips;
    strips.strip = Abilities::Strip::always;
    NicWorld world({.workers = 4, .inside = strips, .outside = strips});
    const Cost tagged_ones =
        many(world, 30, 4, [&](const auto& f) { return talk(world, f, tagged); });
    EXPECT_EQ(tagged_ones.lost, 0u) << "a tagged frame leaves tagged";
    EXPECT_EQ(tagged_ones.handed_off, 0u);
    const Cost double_ones = many(
        world, 30, 4,
        [&](const auto& f) {
            return talk(world, f, [](const Frame& frame) { return tagged(tagged(frame)); });
        },
        2);
    EXPECT_EQ(double_ones.lost, 0u);
    EXPECT_EQ(many(
                  world, 30, 6, [&](const auto& f) { return talk(world, f); }, 3)
                  .lost,
              0u);
}

TEST(Tags, AStrippedTagDecidesLikeAnyOther) {
    Abilities strips;
    strips.strip = Abilities::Strip::always;
    NicWorld world(
        {.workers = 2, .inside = strips, .outside = strips, .of_bridge = ", vlan_zones: per_vlan"});
    ASSERT_EQ(world.refusal, "");
    const auto f = flows(1, 4, 9)[0];
    ASSERT_TRUE(world.pass(tagged(frames::udp(f, "x")), kIn));
    EXPECT_FALSE(world.pass(frames::udp(f.back(), "x"), kOut)) << "of the untagged zone";
    EXPECT_TRUE(world.pass(tagged(frames::udp(f.back(), "x")), kOut));
}

Frame with_wrong_sum(Frame f, bool ip) {
    f[ip ? 24 : f.size() - 1] ^= 1;  // the header's checksum, or a byte of the payload
    return f;
}

TEST(ChecksumFindings, OnlyAComputedErrorDrops) {
    using enum Finding;
    for (const std::string mode : {"nic", "full", "off"}) {
        NicWorld world({.workers = 2, .of_ports = ", checksums: " + mode});
        ASSERT_EQ(world.refusal, "");
        EXPECT_EQ(world.ports().info(kIn).checksums, mode != "off");
        unsigned seed = 0;
        for (const Finding finding : {unknown, good, bad, none}) {
            for (const bool ip : {true, false}) {
                const Findings findings = ip ? Findings{finding, good} : Findings{good, finding};
                for (const bool wrong : {false, true}) {
                    const Frame right = frames::udp(flows(1, 4, ++seed)[0], "payload");
                    const Frame frame = wrong ? with_wrong_sum(right, ip) : right;
                    ASSERT_TRUE(world.inside.arrive(frame, findings));
                    world.turn();
                    const bool passed = world.outside.sent().size() == 1;
                    const bool computed =
                        mode != "off" && (finding == bad || (mode == "full" && finding == unknown));
                    EXPECT_EQ(passed, !(wrong && computed))
                        << mode << " finding " << static_cast<int>(finding) << " ip " << ip
                        << " wrong " << wrong;
                }
            }
        }
    }
}

TEST(ChecksumFindings, ACardThatChecksOnlyAPartIsNotAsked) {
    Abilities part;
    part.rx_offloads = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
    NicWorld world({.workers = 2, .inside = part});
    EXPECT_FALSE(world.ports().info(kIn).checksums);
    EXPECT_EQ(world.inside.conf().rxmode.offloads, 0u);
    const Cost cost = many(world, 10, 4, [&](const auto& f) { return talk(world, f); });
    EXPECT_EQ(cost.lost, 0u);
}

/// TCP segments of `bytes` in both directions.
void long_segments(NicWorld& world, unsigned bytes) {
    const std::string text(bytes, 'l');
    for (const int family : {4, 6}) {
        const Cost cost = many(world, 8, family, [&](const auto& f) {
            Talk t(world, f);
            t.open();
            t.client(text);
            t.server(text);
            return t.arrivals;
        });
        EXPECT_EQ(cost.lost, 0u) << "IPv" << family;
        EXPECT_EQ(cost.handed_off, 0u);
    }
}

TEST(Buffers, AFrameOfTheUsualLengthNeedsOne) {
    Abilities card;
    card.buffer_unit = 1024;
    NicWorld world({.workers = 2, .inside = card, .outside = card});
    long_segments(world, 1440);
    EXPECT_EQ(world.inside.chained() + world.outside.chained(), 0u);
    EXPECT_EQ(world.outside.conf().txmode.offloads, 0u) << "the fastest way to send";
}

TEST(Buffers, ALongFrameNeedsOneAlsoWhereCardsUseWholeKilobytes) {
    Abilities card;
    card.buffer_unit = 1024;
    card.chains = true;
    NicWorld world({.workers = 2, .inside = card, .outside = card, .of_ports = ", mtu: 9000"});
    ASSERT_EQ(world.refusal, "");
    long_segments(world, 8940);
    EXPECT_EQ(world.inside.chained() + world.outside.chained(), 0u);
}

TEST(Buffers, ChainsOfLongFramesLeaveWhole) {
    for (const std::uint32_t piece : {128u, 1000u, 2048u}) {
        Abilities card;
        card.piece = piece;
        card.chains = true;
        NicWorld world({.workers = 2, .inside = card, .outside = card, .of_ports = ", mtu: 9000"});
        ASSERT_EQ(world.refusal, "");
        long_segments(world, 8940);
        EXPECT_NE(world.inside.chained(), 0u);
    }
}

TEST(Mtu, OfACardThatTakesLessThanTheUsual) {
    Abilities small;
    small.max_mtu = 1460;
    {
        NicWorld world({.workers = 2, .outside = small});
        EXPECT_NE(world.refusal.find("takes an MTU of 68 to 1460, not of 1500"), std::string::npos)
            << world.refusal;
    }
    NicWorld world({.workers = 2, .outside = small, .of_ports = ", mtu: 1460"});
    ASSERT_EQ(world.refusal, "");
    EXPECT_EQ(world.outside.mtu(), 1460u);
    long_segments(world, 1380);
}

}  // namespace
}  // namespace postern::nic
