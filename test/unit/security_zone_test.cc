// SPDX-License-Identifier: BSD-3-Clause
// A connection knows the security zones of both directions. What comes from elsewhere changes
// nothing; what moves between ports of a zone, or between zones that count as one, passes.
#include <set>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;
using frames::Flow;
using frames::Frame;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr PortId kIn = World::kInside, kOut = World::kOutside;
constexpr std::uint8_t kSyn = 0x02, kAck = 0x10, kRst = 0x04;

const std::string kLimits = "limits: {connections: 1024, expectations: 64, helped_connections: 64";
const std::string kHelpers = "}\nhelpers: [{name: ftp}]\n";
const std::string kPolicy =
    "policy:\n"
    "  rules:\n"
    "    - {proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {ct: [new], from: outside, to: inside, proto: tcp, dport: 25, action: accept}\n"
    "    - {ct: [new], from: inside, action: accept}\n"
    "    - {ct: [related], action: accept}\n";

/// Zones, ports p0, p1, … in them, bridges of two ports each in one conntrack zone.
std::string config(const std::string& zones, const std::vector<std::string>& ports,
                   const std::vector<std::string>& bridges, const std::string& limits = "") {
    std::string out = "zones: [" + zones + "]\nports:\n";
    for (std::size_t i = 0; i < ports.size(); ++i)
        out += "  - {name: p" + std::to_string(i) + ", device: net_null" + std::to_string(i) +
               ", " + ports[i] + "}\n";
    out += "bridges:\n";
    for (const std::string& b : bridges)
        out += "  - {ct_zone: 0, " + b + "}\n";
    return out + kLimits + limits + kHelpers + kPolicy;
}
const std::string kTwo =
    config("inside, outside", {"zone: inside", "zone: outside"}, {"ports: [p0, p1]"});
/// Two bridges side by side.
std::string twice(const std::string& zones, const std::string& inside, const std::string& outside,
                  const std::string& third) {
    return config(zones,
                  {"zone: " + inside, "zone: " + outside, "zone: " + inside, "zone: " + third},
                  {"ports: [p0, p1]", "ports: [p2, p3]"});
}

class SecurityZones : public ::testing::TestWithParam<std::tuple<unsigned, bool>> {
  protected:
    unsigned workers() const { return std::get<0>(GetParam()); }
    bool v6() const { return std::get<1>(GetParam()); }
    Flow to_server(std::uint16_t dport, std::uint16_t sport = 40000) const {
        return v6() ? flow("2001:db8::1", sport, "2001:db8::2", dport)
                    : flow("192.0.2.1", sport, "192.0.2.2", dport);
    }
    static Frame segment(const Flow& f, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack,
                         std::string_view payload = {}) {
        return frames::tcp(f, {.flags = flags, .seq = seq, .ack = ack, .payload = payload});
    }
    static bool open(World& world, const Flow& f, PortId client = kIn, PortId server = kOut) {
        return world.send(segment(f, kSyn, 1000, 0), client) &&
               world.send(segment(f.back(), kSyn | kAck, 5000, 1001), server) &&
               world.send(segment(f, kAck, 1001, 5001), client);
    }
    static std::uint64_t wrong_zone(World& world, PortId port) {
        return world.drops_at(port, DropReason::wrong_zone);
    }
};
INSTANTIATE_TEST_SUITE_P(All, SecurityZones,
                         ::testing::Combine(::testing::Values(1u, 3u), ::testing::Bool()),
                         [](const auto& p) {
                             return std::to_string(std::get<0>(p.param)) + "_" +
                                    (std::get<1>(p.param) ? "ipv6" : "ipv4");
                         });

TEST_P(SecurityZones, ASegmentFromTheOtherSideIsNoPartOfTheConnection) {
    World world(World::Whole{kTwo}, workers());
    const Flow f = to_server(80);
    ASSERT_TRUE(open(world, f));
    const Conn before = world.connection(80)->conn;
    world.pass(1000);
    // The client's, by the server's port, and the other way round; in order, and such as end it.
    EXPECT_FALSE(world.send(segment(f, kAck, 1001, 5001, "GET"), kOut));
    EXPECT_FALSE(world.send(segment(f, kSyn, 77, 0), kOut));
    EXPECT_FALSE(world.send(segment(f, kRst, 1001, 0), kOut));
    EXPECT_FALSE(world.send(segment(f.back(), kRst, 5001, 0), kIn));
    EXPECT_EQ(wrong_zone(world, kIn), 1u);
    EXPECT_EQ(wrong_zone(world, kOut), 3u);
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 4u);
    const Conn after = world.connection(80)->conn;
    EXPECT_EQ(after.last_seen_ms, before.last_seen_ms);
    EXPECT_EQ(after.packets(Direction::original), before.packets(Direction::original));
    EXPECT_TRUE(world.send(segment(f, kAck, 1001, 5001, "GET"), kIn));
    EXPECT_TRUE(world.send(segment(f.back(), kAck, 5001, 1004, "200"), kOut));
}

TEST_P(SecurityZones, ADatagramFromTheOtherSideIsNoPartOfTheConnection) {
    World world(World::Whole{kTwo}, workers());
    const Flow f = to_server(53);
    ASSERT_TRUE(world.send(frames::udp(f), kIn));
    EXPECT_FALSE(world.send(frames::udp(f.back(), "forged"), kIn));
    EXPECT_TRUE(world.send(frames::udp(f.back()), kOut));
    world.pass(3000);  // a stream from now on: the fast path
    ASSERT_TRUE(world.send(frames::udp(f), kIn));
    ASSERT_TRUE(world.send(frames::udp(f.back()), kOut));
    EXPECT_FALSE(world.send(frames::udp(f), kOut));
    EXPECT_FALSE(world.send(frames::udp(f.back()), kIn));
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 3u);
}

TEST_P(SecurityZones, AnErrorComesFromWhereThePacketWent) {
    World world(World::Whole{kTwo}, workers());
    const Flow f = to_server(53);
    const IpAddr router = *IpAddr::parse(v6() ? "2001:db8::99" : "198.51.100.99");
    ASSERT_TRUE(world.send(frames::udp(f), kIn));
    const Frame error = frames::unreachable(router, f.src, frames::udp(f));
    EXPECT_FALSE(world.send(error, kIn));
    EXPECT_TRUE(world.send(error, kOut));
    // A host inside answers the answer.
    ASSERT_TRUE(world.send(frames::udp(f.back()), kOut));
    const Frame back = frames::unreachable(f.src, f.dst, frames::udp(f.back()));
    EXPECT_FALSE(world.send(back, kOut));
    EXPECT_TRUE(world.send(back, kIn));
}

TEST_P(SecurityZones, FragmentsOfOtherSidesDoNotMix) {
    World world(World::Whole{kTwo}, workers());
    const Flow f = to_server(53);
    ASSERT_TRUE(world.send(frames::udp(f), kIn));
    ASSERT_TRUE(world.send(frames::udp(f.back()), kOut));
    const auto answer = frames::fragments(frames::udp(f.back(), std::string(64, 'a')), 40, 7);
    ASSERT_EQ(answer.size(), 2u);
    // The client's side adds nothing to a datagram of the server's side.
    EXPECT_FALSE(world.send(answer[0], kOut));
    EXPECT_FALSE(world.send(answer[1], kIn));
    EXPECT_TRUE(world.send(answer[1], kOut));
    // A whole datagram of the wrong side is whole, and wrong.
    EXPECT_FALSE(world.send(answer[0], kIn));
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 2u);  // both its fragments
}

TEST_P(SecurityZones, TheHonestSideTakesThePlaceOfWhatWasNeverAnswered) {
    World world(World::Whole{kTwo}, workers(), 64);
    for (unsigned w = 0; w < workers(); ++w)
        world.fw().worker(w).tracking().listen(ConnEvents::all);
    // A stranger begins, under the client's name, what policy lets him begin.
    const Flow f = to_server(25);
    ASSERT_TRUE(world.send(segment(f, kSyn, 1, 0), kOut));
    EXPECT_TRUE(open(world, f));
    EXPECT_EQ(world.connection(25)->conn.edge(Direction::original), EdgeId{0});
    bool told = false;
    ConnEvent e;
    for (unsigned w = 0; w < workers(); ++w)
        while (world.fw().worker(w).tracking().events().pop(e))
            told |= e.type == ConnEventType::destroy && e.end == ConnEnd::zone_changed;
    EXPECT_TRUE(told);
    // An answered one keeps its place, however long it has been silent.
    world.pass(600'000, 60'000);
    EXPECT_FALSE(world.send(segment(f, kSyn, 1, 0), kOut));
    EXPECT_EQ(world.connection(25)->conn.edge(Direction::original), EdgeId{0});
}

TEST_P(SecurityZones, APathThatHasMovedTakesThePlaceOfASilentDirection) {
    World world(World::Whole{kTwo}, workers());
    const Flow f = to_server(500);
    ASSERT_TRUE(world.send(frames::udp(f), kIn));
    ASSERT_TRUE(world.send(frames::udp(f.back()), kOut));
    // The server's side keeps talking, the client has moved to where it stands.
    for (unsigned s = 0; s < 29; ++s) {
        world.pass(1000, 1000);
        ASSERT_TRUE(world.send(frames::udp(f.back()), kOut));
    }
    EXPECT_FALSE(world.send(frames::udp(f), kOut)) << "its direction spoke 29 seconds ago";
    world.pass(2000, 1000);
    EXPECT_FALSE(world.send(frames::udp(f), kOut)) << "policy accepts nothing new from there";
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 2u);
    EXPECT_TRUE(world.connection(500)) << "and then the old one stays";
    EXPECT_TRUE(world.send(frames::udp(f), kIn));
}

TEST_P(SecurityZones, BridgesBetweenTheSameZonesAreOnePath) {
    World world(World::Whole{twice("inside, outside", "inside", "outside", "outside")}, workers());
    const Flow f = to_server(80);
    ASSERT_TRUE(open(world, f, kIn, PortId{3}));
    EXPECT_TRUE(world.send(segment(f, kAck, 1001, 5001, "GET"), PortId{2}));
    EXPECT_TRUE(world.send(segment(f.back(), kAck, 5001, 1004, "200"), kOut));
    // So are they for the fragments of one datagram.
    const Flow dns = to_server(53);
    ASSERT_TRUE(world.send(frames::udp(dns), kIn));
    const auto answer = frames::fragments(frames::udp(dns.back(), std::string(64, 'a')), 40, 7);
    EXPECT_FALSE(world.send(answer[0], kOut));
    EXPECT_TRUE(world.send(answer[1], PortId{3}));
}

TEST_P(SecurityZones, AnswersDoNotLeakIntoAThirdZone) {
    World world(World::Whole{twice("inside, outside, dmz", "inside", "outside", "dmz")}, workers());
    const Flow f = to_server(80);
    ASSERT_TRUE(open(world, f));
    EXPECT_FALSE(world.send(segment(f, kAck, 1001, 5001, "GET"), PortId{2}));
    EXPECT_FALSE(world.send(segment(f.back(), kAck, 5001, 1001, "200"), PortId{3}));
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 2u);
}

TEST_P(SecurityZones, LooseZonesAreOneAmongThemselves) {
    World world(World::Whole{twice("inside, outside, {name: isp1, sides: loose}, "
                                   "{name: isp2, sides: loose}",
                                   "inside", "isp1", "isp2")},
                workers());
    const Flow f = to_server(80);
    ASSERT_TRUE(world.send(segment(f, kSyn, 1000, 0), kIn));
    EXPECT_TRUE(world.send(segment(f.back(), kSyn | kAck, 5000, 1001), PortId{3}))
        << "by the other one";
    EXPECT_TRUE(world.send(segment(f, kAck, 1001, 5001), kIn));
    EXPECT_TRUE(world.send(segment(f, kAck, 1001, 5001, "GET"), PortId{2}));
    // Neither may speak for the inside, errors included.
    EXPECT_FALSE(world.send(segment(f, kAck, 1004, 5001, "x"), kOut));
    EXPECT_FALSE(world.send(segment(f, kAck, 1004, 5001, "x"), PortId{3}));
    const Frame about = segment(f.back(), kAck, 5001, 1004);
    EXPECT_FALSE(world.send(frames::unreachable(f.src, f.dst, about), PortId{3}));
    EXPECT_TRUE(world.send(frames::unreachable(f.src, f.dst, about), kIn));
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 3u);
}

TEST_P(SecurityZones, WhatCrossesTwiceNeedsLooseZones) {
    const Flow f = to_server(80);
    const Frame syn = segment(f, kSyn, 1000, 0);
    World strict(World::Whole{kTwo}, workers());
    EXPECT_TRUE(strict.send(syn, kIn));
    EXPECT_FALSE(strict.send(segment(f.back(), kSyn | kAck, 5000, 1001), kIn));
    World loose(World::Whole{config("{name: inside, sides: loose}, {name: outside, sides: loose}",
                                    {"zone: inside", "zone: outside"}, {"ports: [p0, p1]"})},
                workers());
    // A router on one leg: the packet comes back by where it went.
    for (const PortId port : {PortId{0}, PortId{1}})
        EXPECT_TRUE(loose.send(syn, port));
    for (const PortId port : {PortId{0}, PortId{1}})
        EXPECT_TRUE(loose.send(segment(f.back(), kSyn | kAck, 5000, 1001), port));
    for (const PortId port : {PortId{0}, PortId{1}})
        EXPECT_TRUE(loose.send(segment(f, kAck, 1001, 5001), port));
}

TEST_P(SecurityZones, BothEndsInOneZoneAreToldApartByPortWhenAsked) {
    const Flow f = to_server(80);
    for (const bool by_port : {false, true}) {
        World world(World::Whole{config("inside, outside", {"zone: inside", "zone: inside"},
                                        {by_port ? "ports: [p0, p1], sides: port"
                                                 : "ports: [p0, p1], sides: zone"})},
                    workers());
        ASSERT_TRUE(open(world, f));
        EXPECT_EQ(world.send(segment(f.back(), kAck, 5001, 1001, "x"), kIn), !by_port);
    }
}

TEST_P(SecurityZones, VlansMayBeZones) {
    World world(World::Whole{config("inside, outside, guests",
                                    {"zone: inside, zone_of_vlan: {100: guests}", "zone: outside"},
                                    {"ports: [p0, p1]"})},
                workers());
    const Flow f = to_server(80);
    const auto tagged = [](const Frame& frame) { return frames::wrap_vlan(frame, 100); };
    EXPECT_FALSE(world.send(tagged(segment(f, kSyn, 1000, 0)), kIn)) << "guests may begin nothing";
    ASSERT_TRUE(open(world, f));
    EXPECT_FALSE(world.send(tagged(segment(f, kAck, 1001, 5001, "x")), kIn));
    EXPECT_TRUE(world.send(segment(f, kAck, 1001, 5001, "x"), kIn));
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 1u);
}

TEST_P(SecurityZones, MoreZonesThanShortNumbersAreComparedFurtherOn) {
    std::string zones = "inside, outside", vlans;
    for (unsigned id = 1; id <= 20; ++id) {
        zones += ", z" + std::to_string(id);
        vlans += std::to_string(id) + ": z" + std::to_string(id) + ", ";
    }
    World world(World::Whole{config(zones,
                                    {"zone: inside, zone_of_vlan: {" + vlans + "}",
                                     "zone: outside, zone_of_vlan: {30: inside}"},
                                    {"ports: [p0, p1]"})},
                workers());
    // Policy lets FTP begin from anywhere.
    for (std::uint16_t id = 1; id <= 20; ++id) {
        const Flow f = to_server(21, static_cast<std::uint16_t>(40000 + id));
        const auto tagged = [&](const Frame& frame, std::uint16_t tag) {
            return frames::wrap_vlan(frame, tag);
        };
        ASSERT_TRUE(world.send(tagged(segment(f, kSyn, 1000, 0), id), kIn));
        ASSERT_TRUE(world.send(tagged(segment(f.back(), kSyn | kAck, 5000, 1001), id), kOut));
        ASSERT_TRUE(world.send(tagged(segment(f, kAck, 1001, 5001), id), kIn));
        EXPECT_FALSE(world.send(tagged(segment(f.back(), kAck, 5001, 1001), id), kIn));
        const auto other = static_cast<std::uint16_t>(id % 20 + 1);
        EXPECT_FALSE(world.send(tagged(segment(f, kAck, 1001, 5001), other), kIn));
    }
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 40u);
}

TEST_P(SecurityZones, AnExpectedConnectionComesFromTheRightSide) {
    World world(World::Whole{kTwo}, workers());
    const Flow f = to_server(21);
    ASSERT_TRUE(open(world, f));
    Talk talk(world, f);
    // (Its sequence numbers are those of open().)
    ASSERT_TRUE(world.send(segment(f.back(), 0x18, 5001, 1001, "220 ftp\r\n"), kOut));
    ASSERT_TRUE(world.send(segment(f, 0x18, 1001, 5010, "USER a\r\n"), kIn));
    ASSERT_TRUE(world.send(segment(f.back(), 0x18, 5010, 1009, "230 in\r\n"), kOut));
    const std::string ask = v6() ? "EPSV\r\n" : "PASV\r\n";
    ASSERT_TRUE(world.send(segment(f, 0x18, 1009, 5018, ask), kIn));
    ASSERT_TRUE(world.send(segment(f.back(), 0x18, 5018, 1015,
                                   v6() ? "229 (|||50001|)\r\n" : "227 (192,0,2,2,195,81)\r\n"),
                           kOut));
    ASSERT_EQ(world.fw().expectations().live(), 1u);
    const Frame child = segment(to_server(50001, 41000), kSyn, 1, 0);
    EXPECT_FALSE(world.send(child, kOut)) << "the client's name, from the server's side";
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 1u);
    EXPECT_EQ(world.fw().expectations().live(), 1u);
    EXPECT_TRUE(world.send(child, kIn));
}

TEST(SecurityZone, AnswersToABroadcastComeFromWhereItWent) {
    for (const char* prefix : {"24", "0"}) {
        SCOPED_TRACE(prefix);
        std::string text = twice("inside, outside, dmz", "inside", "outside", "dmz");
        const auto replace = [&](const std::string& old, const std::string& by) {
            text.replace(text.find(old), old.size(), by);
        };
        replace("{name: ftp}", std::string("{name: snmp, params: {prefix: ") + prefix + "}}");
        replace("{proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}",
                "{proto: udp, dport: 161, ct: [new], action: accept, helper: snmp}");
        World world(World::Whole{text}, 1);
        const Flow asked = flow("192.0.2.1", 40000, "255.255.255.255", 161);
        const std::string get = frames::from_hex("301202010104067075626c6963a0050201013000");
        ASSERT_TRUE(world.send(frames::udp(asked, get), kIn));
        ASSERT_EQ(world.fw().expectations().live(), 1u);
        const Frame answer = frames::udp(flow("192.0.2.77", 161, "192.0.2.1", 40000), "answer");
        EXPECT_FALSE(world.send(answer, PortId{3})) << "the question did not go to the dmz";
        EXPECT_EQ(world.drops(DropReason::policy), 1u) << "nobody has answered: new";
        EXPECT_TRUE(world.send(answer, kOut));
    }
}

TEST_P(SecurityZones, AnAddressBelongsToTheZoneThatDeclaresIt) {
    const std::string net = v6() ? "2001:db8::/64" : "192.0.2.0/24";
    const std::string router = v6() ? "2001:db8::2/128" : "192.0.2.2/32";
    World world(World::Whole{config("{name: inside, prefixes: \"" + net +
                                        "\"}, {name: outside, prefixes: [\"" + router + "\"]}",
                                    {"zone: inside", "zone: outside"}, {"ports: [p0, p1]"})},
                workers());
    EXPECT_FALSE(world.send(segment(to_server(25), kSyn, 1, 0), kOut))
        << "an inside host's address";
    EXPECT_EQ(world.drops(DropReason::spoofed), 1u);
    EXPECT_TRUE(open(world, to_server(80))) << "the router's address is outside, by its prefix";
    // What nobody declared may be anywhere; so may who has no address yet.
    const Flow far = v6() ? flow("2001:db8:5::1", 1, "2001:db8::1", 25)
                          : flow("203.0.113.1", 1, "192.0.2.1", 25);
    EXPECT_TRUE(world.send(segment(far, kSyn, 1, 0), kOut));
    const Flow local =
        v6() ? flow("fe80::1", 546, "ff02::1:2", 547) : flow("0.0.0.0", 68, "255.255.255.255", 67);
    EXPECT_TRUE(world.send(frames::udp(local), kIn));
    // The answer of a host that lies elsewhere, and an error in another's name.
    const Flow wrong = v6() ? flow("2001:db8:9::1", 1, "2001:db8::7", 80)
                            : flow("198.51.100.1", 1, "192.0.2.7", 80);
    ASSERT_TRUE(world.send(segment(wrong, kSyn, 1000, 0), kIn));
    EXPECT_FALSE(world.send(segment(wrong.back(), kSyn | kAck, 5000, 1001), kOut));
    const Frame forged = frames::unreachable(*IpAddr::parse(v6() ? "2001:db8::8" : "192.0.2.8"),
                                             wrong.src, segment(wrong, kSyn, 1000, 0));
    EXPECT_FALSE(world.send(forged, kOut));
    EXPECT_EQ(world.drops(DropReason::spoofed), 3u);
}

TEST_P(SecurityZones, ASourcesShareIsItsZones) {
    World world(World::Whole{config("inside, outside", {"zone: inside", "zone: outside"},
                                    {"ports: [p0, p1]"}, ", per_source: {half_open: 3}")},
                1);
    for (std::uint16_t i = 0; i < 10; ++i)
        world.send(segment(to_server(25, static_cast<std::uint16_t>(1000 + i)), kSyn, 1, 0), kOut);
    EXPECT_EQ(world.drops(DropReason::source_half_open), 7u);
    EXPECT_TRUE(open(world, to_server(80)));
}

TEST_P(SecurityZones, PortsToldApartBelongToTheirZonesPrefixes) {
    const std::string net = v6() ? "2001:db8::1/128" : "192.0.2.1/32";
    World world(
        World::Whole{config("{name: inside, prefixes: \"" + net + "\"}, outside",
                            {"zone: inside", "zone: outside"}, {"ports: [p0, p1], sides: port"})},
        workers());
    EXPECT_TRUE(open(world, to_server(80)));
    EXPECT_FALSE(world.send(segment(to_server(25), kSyn, 1, 0), kOut));
    EXPECT_EQ(world.drops(DropReason::spoofed), 1u);
}

TEST_P(SecurityZones, PortsAreToldApartInEachVlan) {
    World world(World::Whole{config("inside, outside, dmz",
                                    {"zone: inside, zone_of_vlan: {100: dmz}",
                                     "zone: outside, zone_of_vlan: {100: dmz}"},
                                    {"ports: [p0, p1], sides: port"}) +
                             "    - {ct: [new], from: dmz, action: accept}\n"},
                workers());
    const Flow f = to_server(80);
    const auto tagged = [](const Frame& frame) { return frames::wrap_vlan(frame, 100); };
    ASSERT_TRUE(world.send(tagged(segment(f, kSyn, 1000, 0)), kIn));
    ASSERT_TRUE(world.send(tagged(segment(f.back(), kSyn | kAck, 5000, 1001)), kOut));
    ASSERT_TRUE(world.send(tagged(segment(f, kAck, 1001, 5001)), kIn));
    EXPECT_FALSE(world.send(tagged(segment(f, kAck, 1001, 5001, "x")), kOut));
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 1u);
    EXPECT_TRUE(world.send(tagged(segment(f, kAck, 1001, 5001, "x")), kIn));
}

TEST_P(SecurityZones, APriorityTagHidesNoVlan) {
    World world(World::Whole{config("inside, outside, guests",
                                    {"zone: inside, zone_of_vlan: {100: guests}", "zone: outside"},
                                    {"ports: [p0, p1]"})},
                workers());
    const Frame syn = segment(to_server(80), kSyn, 1000, 0);
    const auto behind_priority = [](const Frame& frame) {
        return frames::wrap_vlan(frame, 0xa000);
    };
    EXPECT_FALSE(world.send(behind_priority(frames::wrap_vlan(syn, 100)), kIn));
    EXPECT_TRUE(world.send(behind_priority(syn), kIn));
}

TEST_P(SecurityZones, WhatAllHostsSayBelongsToNoZone) {
    // The same first words in two VLANs, between other zones of one conntrack zone.
    World world(World::Whole{config("inside, outside, guests",
                                    {"zone: inside, zone_of_vlan: {100: guests}", "zone: outside"},
                                    {"ports: [p0, p1]"}) +
                             "    - {ct: [new], proto: udp, action: accept}\n"},
                workers());
    const Flow first =
        v6() ? flow("fe80::1", 521, "ff02::9", 521) : flow("0.0.0.0", 68, "255.255.255.255", 67);
    for (int round = 0; round < 3; ++round) {
        EXPECT_TRUE(world.send(frames::udp(first), kIn)) << round;
        EXPECT_TRUE(world.send(frames::wrap_vlan(frames::udp(first), 100), kIn)) << round;
    }
    EXPECT_EQ(world.drops(DropReason::wrong_zone), 0u);
}

TEST_P(SecurityZones, VlansBetweenOtherZonesHaveConntrackZonesOfTheirOwn) {
    std::string text = config("inside, outside, guests",
                              {"zone: inside, zone_of_vlan: {100: guests}", "zone: outside"},
                              {"ports: [p0, p1]"}) +
                       "    - {ct: [new], proto: udp, action: accept}\n";
    const std::string shared = "ct_zone: 0, ";
    for (const bool share : {true, false}) {
        if (!share) text.erase(text.find(shared), shared.size());
        World world(World::Whole{text}, workers());
        const Flow f = to_server(9);  // two hosts that have one address
        EXPECT_TRUE(world.send(frames::udp(f), kIn));
        EXPECT_EQ(world.send(frames::wrap_vlan(frames::udp(f), 100), kIn), !share);
    }
}

TEST_P(SecurityZones, APortInNoBridgeBeginsNothing) {
    World world(
        World::Whole{config("inside, outside", {"zone: inside", "zone: outside", "zone: inside"},
                            {"ports: [p0, p1]"})},
        workers());
    const Flow f = to_server(80);
    EXPECT_FALSE(world.send(frames::udp(f), PortId{2}));
    EXPECT_EQ(world.drops(DropReason::no_peer), 1u);
    for (unsigned w = 0; w < world.fw().workers(); ++w)
        EXPECT_EQ(world.fw().worker(w).conns().size(), 0u);
}

}  // namespace
}  // namespace postern
