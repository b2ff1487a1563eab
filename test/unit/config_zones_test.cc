// SPDX-License-Identifier: BSD-3-Clause
// Zones, ports and bridges of a configuration.
#include <algorithm>
#include <string>

#include "config_files.h"

namespace postern {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Config, Pass) {
    const auto pass = [](const std::string& text) {
        return good(
                   "zones: [a]\npolicy: {}\nports: [{name: p, device: net_null0, zone: a},"
                   "{name: q, device: net_null1, zone: a}]\nbridges: [{ports: [p, q], pass: " +
                   text + "}]\n")
            .bridges.at(0)
            .pass;
    };
    EXPECT_TRUE(pass("all").all_non_ip);
    EXPECT_FALSE(pass("all").neighbour_discovery);
    EXPECT_THAT(pass("[lldp, arp, 0x88CC, llc]").ethertypes, ElementsAre(0x0806, 0x88cc));
    EXPECT_TRUE(pass("[llc]").llc);
    EXPECT_TRUE(pass("[cdp]").cdp && !pass("[cdp]").llc);
    EXPECT_TRUE(pass("[isis]").isis && !pass("[isis]").llc);
    EXPECT_TRUE(pass("nd").neighbour_discovery);
    EXPECT_THAT(pass("[]").ethertypes, IsEmpty());
}

TEST(Config, RoutingHeaders) {
    const auto bits = [](const std::string& text) {
        return good(
                   "zones: [a]\npolicy: {}\nports: [{name: p, device: net_null0, zone: a},"
                   "{name: q, device: net_null1, zone: a}]\nbridges: [{ports: [p, q]" +
                   text + "}]\n")
            .bridges.at(0)
            .routing_headers;
    };
    EXPECT_EQ(bits(""), 0);
    EXPECT_EQ(bits(", routing_headers: []"), 0);
    EXPECT_EQ(bits(", routing_headers: rh2"), 1 << 2);
    EXPECT_EQ(bits(", routing_headers: [srh, rh2]"), 1 << 2 | 1 << 4);
    EXPECT_THAT(errors("zones: [a]\npolicy: {}\nports: [{name: p, device: net_null0, zone: a},"
                       "{name: q, device: net_null1, zone: a}]\n"
                       "bridges: [{ports: [p, q], routing_headers: rh0}]\n"),
                ElementsAre("x.yaml:4:44: bridges[0].routing_headers: \"rh0\" is not a type of "
                            "routing header (did you mean \"rh2\"?)"));
}

TEST(Config, SecurityZones) {
    const std::string rest =
        "policy: {}\nports:\n"
        "- {name: p, device: net_null0, zone: in, zone_of_vlan: {7: dmz}}\n"
        "- {name: q, device: net_null1, zone: isp1}\n"
        "bridges: [{ports: [p, q], sides: port}]\n";
    const Spec s = good(
        "zones: [in, {name: dmz, prefixes: [192.0.2.0/24, \"2001:db8::1\"]},"
        "{name: isp1, sides: loose}, {name: isp2, sides: {loose: far}}, {name: x, sides: "
        "strict}]\n" +
        rest);
    EXPECT_THAT(s.zones[0].prefixes, IsEmpty());
    EXPECT_EQ(s.zones[0].loose, "");
    ASSERT_EQ(s.zones[1].prefixes.size(), 2u);
    EXPECT_EQ(s.zones[1].prefixes[1].to_string(), "2001:db8::1/128");
    EXPECT_EQ(s.zones[2].loose, "loose");
    EXPECT_EQ(s.zones[3].loose, "far");
    EXPECT_EQ(s.zones[4].loose, "");
    EXPECT_THAT(s.ports[0].zone_of_vlan, ElementsAre(std::pair(std::uint16_t{7}, ZoneId{1})));
    EXPECT_TRUE(s.bridges[0].sides_by_port);
    EXPECT_FALSE(good("zones: [in, dmz, isp1]\n" + rest.substr(0, rest.find(", sides")) + "}]\n")
                     .bridges[0]
                     .sides_by_port);
    const auto zone = [&](const std::string& text) {
        return errors("zones: [in, dmz, isp1, " + text + "]\n" + rest);
    };
    EXPECT_THAT(
        zone("{name: z, sides: lose}"),
        ElementsAre("x.yaml:1:41: zones[3].sides: expected strict, loose, or {loose: NAME}, "
                    "found \"lose\""));
    EXPECT_THAT(zone("{sides: loose}"), ElementsAre(HasSubstr("zones[3]: \"name\" is missing")));
    EXPECT_THAT(zone("{name: z, prefixes: 192.0.2.1/24}"),
                ElementsAre(HasSubstr("bits set beyond its length (did you mean 192.0.2.0/24?)")));
    EXPECT_THAT(zone("{name: y, prefixes: 192.0.2.0/24}, {name: z, prefixes: 192.0.2.0/24}"),
                ElementsAre(HasSubstr("prefix 192.0.2.0/24 is in a zone already")));
    EXPECT_THAT(
        errors("zones: [in, dmz, isp1]\n" +
               std::string(rest).replace(rest.find("7: dmz"), 6, "7: dnz")),
        ElementsAre(HasSubstr("ports[0].zone_of_vlan.7: \"dnz\" is not a zone of this file")));
}

TEST(Config, BridgesThatShareConnectionsLeadBetweenTheSameZones) {
    const auto warned = [](const std::string& zones, const std::string& second) {
        const LoadResult l = load(
            "zones: [" + zones +
            "]\npolicy: {}\nports:\n"
            "- {name: p, device: net_null0, zone: a}\n- {name: q, device: net_null1, zone: b}\n"
            "- {name: r, device: net_null2, zone: a}\n- {name: s, device: net_null3, zone: c}\n"
            "bridges: [{ports: [p, q], ct_zone: 1}, {ports: [r, s], ct_zone: " +
            second + "}]\n");
        return std::count_if(l.warnings.begin(), l.warnings.end(), [](const auto& w) {
            return w.to_string().find("shares conntrack zone 1 with bridges[0]") !=
                   std::string::npos;
        });
    };
    EXPECT_EQ(warned("a, b, c", "1"), 1);
    EXPECT_EQ(warned("a, b, c", "2"), 0);
    EXPECT_EQ(warned("a, {name: b, sides: loose}, {name: c, sides: loose}", "1"), 0);
    EXPECT_EQ(warned("a, b, c", "1, sides: port"), 1);
    EXPECT_EQ(warned("a, b, c", "2, vlan_zones: {100: 1}"), 1);
}

TEST(Config, VlansBetweenOtherZonesArePartedUnlessToldOtherwise) {
    const auto loaded = [](const std::string& zones, const std::string& more) {
        return load("zones: [" + zones +
                    "]\npolicy: {}\nports:\n"
                    "- {name: p, device: net_null0, zone: a, zone_of_vlan: {7: c, 8: c, 9: d}}\n"
                    "- {name: q, device: net_null1, zone: b}\n"
                    "bridges: [{ports: [p, q]" +
                    more + "}]\n");
    };
    const auto warned = [](const LoadResult& l) {
        return std::ranges::count_if(l.warnings, [](const auto& w) {
            return w.to_string().find("shares conntrack zone") != std::string::npos;
        });
    };
    const LoadResult parted = loaded("a, b, c, d", "");
    const auto& zones = parted.spec->bridges[0].vlan_zones;
    ASSERT_EQ(zones.size(), kVlans);
    EXPECT_EQ(zones[0], CtZone{0});
    EXPECT_EQ(zones[6], CtZone{0});
    EXPECT_EQ(zones[7], CtZone(kVlans + 7));
    EXPECT_EQ(zones[8], zones[7]) << "between the same zones";
    EXPECT_EQ(zones[9], CtZone(kVlans + 9));
    EXPECT_EQ(warned(parted), 0);
    const std::string loose =
        "{name: a, sides: loose}, b, {name: c, sides: loose}, {name: d, sides: loose}";
    EXPECT_TRUE(loaded(loose, "").spec->bridges[0].vlan_zones.empty());
    EXPECT_TRUE(loaded("a, b, c, d", ", ct_zone: 3").spec->bridges[0].vlan_zones.empty());
    EXPECT_EQ(warned(loaded("a, b, c, d", ", ct_zone: 3")), 1);
    EXPECT_EQ(warned(loaded("a, b, c, d", ", vlan_zones: per_vlan")), 0);
}

TEST(Config, ConntrackZones) {
    const auto bridges = [](const std::string& first, const std::string& second = "") {
        std::string text = "zones: [a]\npolicy: {}\nports:\n";
        for (const char* name : {"p", "q", "r", "s"})
            text += std::string("- {name: ") + name + ", device: net_null_" + name + ", zone: a}\n";
        return good(text + "bridges: [{ports: [p, q]" + first + "}, {ports: [r, s]" + second +
                    "}]\n")
            .bridges;
    };
    EXPECT_EQ(bridges("")[0].ct_zone, CtZone{0});
    EXPECT_EQ(bridges("")[1].ct_zone, CtZone{1});
    EXPECT_THAT(bridges("")[1].vlan_zones, IsEmpty());
    EXPECT_EQ(bridges(", ct_zone: 65535")[0].ct_zone, CtZone{65535});
    const auto mapped = bridges(", ct_zone: 7, vlan_zones: {100: 5, 4094: 0}")[0];
    ASSERT_EQ(mapped.vlan_zones.size(), kVlans);
    EXPECT_EQ(mapped.vlan_zones[100], CtZone{5});
    EXPECT_EQ(mapped.vlan_zones[4094], CtZone{0});
    EXPECT_EQ(mapped.vlan_zones[101], CtZone{7});
    EXPECT_EQ(bridges(", ct_zone: 0, vlan_zones: per_vlan")[0].vlan_zones[4094], CtZone{4094});
    // Not given: apart from each other and from bridges that have one zone.
    const auto apart = bridges(", vlan_zones: per_vlan", ", vlan_zones: per_vlan");
    EXPECT_EQ(apart[0].vlan_zones[1], CtZone{4097});
    EXPECT_EQ(apart[1].vlan_zones[1], CtZone{8193});
    EXPECT_EQ(apart[1].ct_zone, CtZone{8192});
}

}  // namespace
}  // namespace postern
