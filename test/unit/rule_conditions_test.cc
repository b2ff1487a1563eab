// SPDX-License-Identifier: BSD-3-Clause
// Rules that match how a packet came: its VLAN, its code point, its port; through all stages, and
// when a new configuration asks again.
#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;
using frames::Frame;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr const char* kBase = R"(
zones: [inside, outside]
ports:
  - {name: in0, device: net_null0, zone: inside}
  - {name: out0, device: net_null1, zone: outside}
  - {name: in1, device: net_null2, zone: inside}
  - {name: out1, device: net_null3, zone: outside}
bridges: [{ports: [in0, out0]}, {ports: [in1, out1]}]
limits: {connections: 1024, expectations: 256, helped_connections: 64}
)";
constexpr PortId kIn0{0}, kOut0{1}, kIn1{2}, kOut1{3};

std::string policy(const std::string& rules, const std::string& on_change = "keep") {
    return "policy: {on_change: " + on_change + ", rules: [" + rules + "]}\n";
}
std::string accept(const std::string& condition) {
    return "{name: ok, action: accept, " + condition + "}";
}

/// The frame with this code point, untagged.
Frame with_dscp(Frame f, unsigned dscp) {
    if (f[frames::kEth] >> 4 == 6) {
        f[14] = static_cast<std::uint8_t>(0x60 | dscp >> 2);
        f[15] = static_cast<std::uint8_t>((dscp << 6 & 0xc0) | (f[15] & 0x3f));
        return f;
    }
    f[15] = static_cast<std::uint8_t>(dscp << 2 | 1);  // and a bit of ECN
    f[24] = f[25] = 0;
    const std::uint32_t sum = frames::ones_sum(&f[14], 20);
    const std::uint32_t once = (sum & 0xffff) + (sum >> 16), twice = (once & 0xffff) + (once >> 16);
    f[24] = static_cast<std::uint8_t>(~twice >> 8);
    f[25] = static_cast<std::uint8_t>(~twice);
    return f;
}

class Conditions : public ::testing::TestWithParam<unsigned> {
  protected:
    void begin(const std::string& rules) {
        world_.emplace(World::Whole{kBase + rules}, GetParam());
    }
    World& world() { return *world_; }
    void replace(const std::string& rules) {
        const auto done = world().replace(kBase + rules);
        ASSERT_TRUE(done.ok()) << (done ? "" : done.error().message);
        world().turn();
    }
    /// A first packet, of a connection of its own; whether it passed.
    bool passes(PortId port, std::uint16_t tci = 0, unsigned dscp = 0, bool ipv6 = false) {
        last_ = ipv6 ? flow("2001:db8::1", ++sport_, "2001:db8::2", 53)
                     : flow("192.0.2.1", ++sport_, "192.0.2.2", 53);
        Frame f = with_dscp(frames::udp(last_), dscp);
        if (tci != 0) f = frames::wrap_vlan(f, tci);
        // Answers carry nothing of what a rule may ask for.
        return world().send(f, port) && world().send(frames::udp(last_.back()), other_end(port));
    }
    static PortId other_end(PortId port) { return PortId::from(port.number() ^ 1); }
    std::size_t connections() {
        std::size_t n = 0;
        for (unsigned w = 0; w < world().fw().workers(); ++w)
            n += world().fw().worker(w).conns().size();
        return n;
    }

  private:
    std::optional<World> world_;
    frames::Flow last_{};
    unsigned sport_ = 40000;
};
INSTANTIATE_TEST_SUITE_P(Workers, Conditions, ::testing::Values(1u, 4u));

TEST_P(Conditions, Vlan) {
    begin(policy(accept("vlan: [10, 20-30, not 25]")));
    EXPECT_TRUE(passes(kIn0, 10));
    EXPECT_TRUE(passes(kIn0, 0xa000 | 30)) << "the priority does not count";
    EXPECT_FALSE(passes(kIn0, 25));
    EXPECT_FALSE(passes(kIn0, 11));
    EXPECT_FALSE(passes(kIn0, 0));
    EXPECT_EQ(world().drops(DropReason::policy), 3u);
}

TEST_P(Conditions, VlanOfTheOutermostTag) {
    begin(policy(accept("vlan: 10")));
    const Frame one = frames::udp(flow("192.0.2.1", 1, "192.0.2.2", 53));
    const Frame two = frames::udp(flow("192.0.2.1", 2, "192.0.2.2", 53));
    EXPECT_TRUE(world().send(frames::wrap_vlan(frames::wrap_vlan(one, 99), 10, 0x88a8), kIn0));
    EXPECT_FALSE(world().send(frames::wrap_vlan(frames::wrap_vlan(two, 10), 99, 0x88a8), kIn0));
}

TEST_P(Conditions, NoVlan) {
    begin(policy(accept("vlan: none")));
    EXPECT_TRUE(passes(kIn0, 0));
    EXPECT_TRUE(passes(kIn0, 0xe000)) << "a priority without an id";
    EXPECT_FALSE(passes(kIn0, 1));
    begin(policy(accept("vlan: not none")));
    EXPECT_FALSE(passes(kIn0, 0));
    EXPECT_TRUE(passes(kIn0, 4095));
}

TEST_P(Conditions, CodePoint) {
    begin(policy(accept("dscp: [ef, 0-7]")));
    for (const bool ipv6 : {false, true}) {
        EXPECT_TRUE(passes(kIn0, 0, 46, ipv6));
        EXPECT_TRUE(passes(kIn0, 7, 46, ipv6)) << "in a VLAN";
        EXPECT_TRUE(passes(kIn0, 0, 7, ipv6));
        EXPECT_FALSE(passes(kIn0, 0, 8, ipv6));
        EXPECT_FALSE(passes(kIn0, 0, 63, ipv6));
    }
}

TEST_P(Conditions, Ports) {
    begin(policy(accept("in_port: in1")));
    EXPECT_TRUE(passes(kIn1));
    EXPECT_FALSE(passes(kIn0));
    EXPECT_FALSE(passes(kOut1));
    begin(policy(accept("out_port: [out0, in1]")));
    EXPECT_TRUE(passes(kIn0));
    EXPECT_TRUE(passes(kOut1));
    EXPECT_FALSE(passes(kIn1));
    begin(policy(accept("in_port: [not in1], out_port: not in0")));
    EXPECT_TRUE(passes(kIn0));
    EXPECT_FALSE(passes(kIn1));
    EXPECT_FALSE(passes(kOut0));
    EXPECT_TRUE(passes(kOut1));
}

TEST_P(Conditions, OfIcmpThatBeginsNoConnection) {
    begin(policy(accept("proto: icmp, icmp_type: router-advertisement, vlan: 10")));
    const Frame advert =
        frames::icmp(*IpAddr::parse("192.0.2.1"), *IpAddr::parse("192.0.2.2"), 9, 0, Frame(12));
    EXPECT_TRUE(world().send(frames::wrap_vlan(advert, 10), kIn0));
    EXPECT_FALSE(world().send(advert, kIn0));
}

TEST_P(Conditions, AreAskedForAgainAsOfTheFirstPacket) {
    begin(policy(accept("vlan: any")));
    ASSERT_TRUE(passes(kIn0, 10, 46));
    ASSERT_TRUE(passes(kIn1, 0, 0));
    ASSERT_EQ(connections(), 2u);
    for (const char* const held :
         {"vlan: [10, none]", "in_port: [in0, in1]", "dscp: [0, 46]",
          "vlan: 10, in_port: in0, dscp: ef}, {action: accept, vlan: none", "out_port: not in0"}) {
        replace(policy(accept(held), "recheck"));
        EXPECT_EQ(connections(), 2u) << held;
    }
    replace(policy(accept("vlan: 10, in_port: in0, dscp: ef"), "recheck"));
    EXPECT_EQ(connections(), 1u);
    replace(policy(accept("in_port: in1"), "recheck"));
    EXPECT_EQ(connections(), 0u);
}

TEST_P(Conditions, AreKeptOfTheFirstPacket) {
    begin(policy(accept("vlan: any")));
    ASSERT_TRUE(passes(kIn1, 4094, 63));
    const auto found = world().connection(53);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->conn.first.vlan, 4094u);
    EXPECT_EQ(found->conn.first.dscp, 63u);
    EXPECT_EQ(found->conn.first.in_port, kIn1.number() + 1u);
    EXPECT_EQ(found->conn.first.limited, 0u);
}

}  // namespace
}  // namespace postern
