// SPDX-License-Identifier: BSD-3-Clause
// Conntrack zones by VLAN: the same tuple lives in each, and nothing crosses from one to another:
// no reply, no ICMP error, no expectation, no fragment.
#include <set>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;
using frames::Flow;
using frames::Frame;
using frames::wrap_vlan;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kHelpers = "helpers: [{name: ftp}]\n";
const std::string kPolicy =
    "policy:\n"
    "  rules:\n"
    "    - {from: inside, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {from: inside, proto: [tcp, udp], dport: [53, 80], ct: [new], action: accept}\n"
    "    - {ct: [related], related: [ftp], action: accept}\n";
const std::string kPerVlan = ", ct_zone: 0, vlan_zones: per_vlan";
const std::string kMapped = ", ct_zone: 9, vlan_zones: {100: 5, 200: 5, 300: 6}";

class Zones : public ::testing::TestWithParam<unsigned> {
  protected:
    World make(const std::string& bridge) {
        return World(kPolicy, GetParam(), kHelpers, World::kLimits, bridge);
    }
    /// Zones of the connections to this port.
    static std::multiset<unsigned> zones(World& world, unsigned dport) {
        std::multiset<unsigned> found;
        for (unsigned w = 0; w < world.fw().workers(); ++w) {
            const ConnTable& t = world.fw().worker(w).conns();
            for (std::uint32_t s = 1; s <= t.capacity(); ++s)
                if (t.at(s).alive() && t.at(s).dport.host() == dport)
                    found.insert(t.at(s).ct_zone().number());
        }
        return found;
    }
};
INSTANTIATE_TEST_SUITE_P(Workers, Zones, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

const Flow kWeb = flow("192.0.2.1", 40000, "192.0.2.2", 80);
const Flow kDns = flow("2001:db8::1", 4000, "2001:db8::2", 53);

TEST_P(Zones, WithoutAnyTagsDoNotMatter) {
    World world = make("");
    EXPECT_TRUE(world.from_inside(wrap_vlan(frames::udp(kDns), 100)));
    EXPECT_TRUE(world.from_outside(wrap_vlan(frames::udp(kDns.back()), 200)));
    EXPECT_EQ(zones(world, 53), (std::multiset<unsigned>{0}));
}

TEST_P(Zones, TheSameTupleLivesInEachVlan) {
    World world = make(kPerVlan);
    const Frame syn = frames::tcp(kWeb, {.flags = 0x02, .seq = 1000});
    const Frame answer = frames::tcp(kWeb.back(), {.flags = 0x12, .seq = 1, .ack = 1001});
    EXPECT_TRUE(world.from_inside(wrap_vlan(syn, 100)));
    EXPECT_TRUE(world.from_inside(wrap_vlan(syn, 200)));
    EXPECT_TRUE(world.from_inside(syn));
    EXPECT_EQ(zones(world, 80), (std::multiset<unsigned>{0, 100, 200}));
    // The answer belongs to its own VLAN's connection; the priority bits are no part of that.
    EXPECT_FALSE(world.from_outside(wrap_vlan(answer, 300)));
    EXPECT_TRUE(world.from_outside(wrap_vlan(answer, 0xe000 | 200)));
    unsigned replied = 0;
    for (unsigned w = 0; w < world.fw().workers(); ++w) {
        const ConnTable& t = world.fw().worker(w).conns();
        for (std::uint32_t s = 1; s <= t.capacity(); ++s) {
            if (!t.at(s).alive() || !t.at(s).has(conn_flag::seen_reply)) continue;
            ++replied;
            EXPECT_EQ(t.at(s).ct_zone(), CtZone{200});
        }
    }
    EXPECT_EQ(replied, 1u);
}

TEST_P(Zones, VlansMayShareOne) {
    World world = make(kMapped);
    EXPECT_TRUE(world.from_inside(wrap_vlan(frames::udp(kDns), 100)));
    EXPECT_TRUE(world.from_outside(wrap_vlan(frames::udp(kDns.back()), 200)));
    EXPECT_FALSE(world.from_outside(wrap_vlan(frames::udp(kDns.back()), 300)));
    EXPECT_FALSE(world.from_outside(wrap_vlan(frames::udp(kDns.back()), 400)));  // zone 9
    EXPECT_EQ(zones(world, 53), (std::multiset<unsigned>{5}));
    EXPECT_TRUE(world.from_inside(frames::udp(kDns)));
    EXPECT_EQ(zones(world, 53), (std::multiset<unsigned>{5, 9}));
}

TEST_P(Zones, ErrorsBelongToTheirVlan) {
    World world = make(kPerVlan);
    const Frame question = frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", 53));
    EXPECT_TRUE(world.from_inside(wrap_vlan(question, 100)));
    const Frame error =
        frames::unreachable(*IpAddr::parse("192.0.2.2"), *IpAddr::parse("192.0.2.1"), question);
    EXPECT_FALSE(world.from_outside(wrap_vlan(error, 200)));
    EXPECT_TRUE(world.from_outside(wrap_vlan(error, 100)));
}

/// A TCP conversation in a VLAN.
struct Control {
    World& world;
    std::uint16_t vlan;
    Flow ends = flow("192.0.2.1", 40000, "192.0.2.2", 21);
    std::uint32_t seq[2] = {1000, 5000};

    bool say(Direction d, std::uint8_t flags, std::string_view text = {}) {
        frames::TcpFields t;
        t.flags = flags;
        t.seq = seq[index(d)];
        if (flags & 0x10) t.ack = seq[1 - index(d)];
        t.payload = text;
        seq[index(d)] += static_cast<std::uint32_t>(text.size()) + (flags & 0x02 ? 1u : 0u);
        const bool original = d == Direction::original;
        return world.send(wrap_vlan(frames::tcp(original ? ends : ends.back(), t), vlan),
                          original ? World::kInside : World::kOutside);
    }
    bool announce(std::uint16_t port) {
        return say(Direction::original, 0x02) && say(Direction::reply, 0x12) &&
               say(Direction::original, 0x10) && say(Direction::reply, 0x18, "220 hi\r\n") &&
               say(Direction::original, 0x18, "EPSV\r\n") &&
               say(Direction::reply, 0x18, "229 ok (|||" + std::to_string(port) + "|)\r\n");
    }
};

TEST_P(Zones, ExpectationsDoNotCross) {
    World world = make(kPerVlan);
    ASSERT_TRUE((Control{world, 4094}.announce(50000)));
    EXPECT_EQ(world.fw().expectations().live_in_zone(CtZone{4094}), 1u);
    const Frame syn = frames::tcp(flow("192.0.2.1", 41000, "192.0.2.2", 50000), {.flags = 0x02});
    EXPECT_FALSE(world.from_inside(wrap_vlan(syn, 100)));
    EXPECT_FALSE(world.from_inside(syn));
    EXPECT_TRUE(world.from_inside(wrap_vlan(syn, 4094)));
    // The same two hosts and ports elsewhere: an expectation of its own.
    ASSERT_TRUE((Control{world, 100}.announce(50000)));
    EXPECT_TRUE(world.from_inside(wrap_vlan(syn, 100)));
    EXPECT_EQ(zones(world, 50000), (std::multiset<unsigned>{100, 4094}));
}

TEST_P(Zones, FragmentsDoNotCross) {
    World world = make(kPerVlan);
    const auto parts = frames::fragments(frames::udp(kDns, std::string(2000, 'x')), 1200, 7);
    ASSERT_EQ(parts.size(), 2u);
    EXPECT_FALSE(world.from_inside(wrap_vlan(parts[0], 100)));
    EXPECT_FALSE(world.from_inside(wrap_vlan(parts[1], 200)));
    EXPECT_TRUE(zones(world, 53).empty());
    // Each is made whole by its own other half, whatever priority that has, in its own zone.
    EXPECT_TRUE(world.from_inside(wrap_vlan(parts[1], 0x6000 | 100)));
    EXPECT_TRUE(world.from_inside(wrap_vlan(parts[0], 200)));
    EXPECT_EQ(zones(world, 53), (std::multiset<unsigned>{100, 200}));
}

// The same security zones, but other bridges, and so other conntrack zones.
TEST_P(Zones, FragmentsDoNotCrossBridges) {
    World world(World::Whole{"zones: [inside, outside]\n"
                             "ports:\n"
                             "  - {name: in0, device: net_null0, zone: inside}\n"
                             "  - {name: out0, device: net_null1, zone: outside}\n"
                             "  - {name: in1, device: net_null2, zone: inside}\n"
                             "  - {name: out1, device: net_null3, zone: outside}\n"
                             "bridges: [{ports: [in0, out0]}, {ports: [in1, out1]}]\n"
                             "limits: {" +
                             std::string(World::kLimits) +
                             "}\npolicy: {rules: [{from: inside, action: accept}]}\n"},
                GetParam());
    const auto parts = frames::fragments(frames::udp(kDns, std::string(2000, 'x')), 1200, 7);
    ASSERT_EQ(parts.size(), 2u);
    EXPECT_FALSE(world.send(parts[0], PortId{0}));
    EXPECT_FALSE(world.send(parts[1], PortId{2}));
    EXPECT_TRUE(zones(world, 53).empty());
    EXPECT_TRUE(world.send(parts[1], PortId{0}));
    EXPECT_TRUE(world.send(parts[0], PortId{2}));
    EXPECT_EQ(zones(world, 53), (std::multiset<unsigned>{0, 1}));
}

}  // namespace
}  // namespace postern
