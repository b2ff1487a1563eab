// SPDX-License-Identifier: BSD-3-Clause
// Sets of helpers: their parameters, guards, names and counters.
#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "helper/registry.h"
#include "toy_helpers.h"

namespace postern {
namespace {

TEST(Guards, NoWayLeadsBackToAService) {
    const IpAddr client = IpAddr::v4(192, 0, 2, 1), server = IpAddr::v4(198, 51, 100, 2),
                 third = IpAddr::v4(192, 0, 2, 9);
    const Tuple original{client, server, Be16::from_host(40000), Be16::from_host(21), proto::tcp};
    std::array<std::uint8_t, kPrivateBytes> state{};
    const View view{original, {}, {}, state, Direction::original};
    GuardPolicy policy;
    policy.loose = true;
    ASSERT_TRUE(parse_deny_services("3389,5900-5909/tcp,5060/udp,7000/any", policy));
    struct Try {
        const IpAddr& from;
        const IpAddr& to;
        std::uint8_t protocol;
        std::uint16_t port, more;
        bool refused;
    };
    for (const auto& [from, to, protocol, port, more, refused] : {
             Try{server, client, proto::tcp, 3389, 0, true},
             Try{server, client, proto::udp, 3389, 0, false},
             Try{server, client, proto::tcp, 3390, 0, false},
             Try{server, client, proto::tcp, 5899, 0, false},
             Try{server, client, proto::tcp, 5899, 1, true},
             Try{server, client, proto::tcp, 5909, 0, true},
             Try{server, client, proto::tcp, 5910, 9, false},
             Try{server, client, proto::udp, 5060, 0, true},
             Try{server, client, proto::tcp, 5060, 0, false},
             Try{server, client, proto::tcp, 7000, 0, true},
             Try{server, client, proto::udp, 7000, 0, true},
             Try{server, client, proto::gre, 3389, 0, false},  // a call id
             Try{client, server, proto::tcp, 3389, 0, false},
             Try{third, server, proto::tcp, 3389, 0, false},
             Try{server, third, proto::tcp, 3389, 0, true},
             Try{client, third, proto::tcp, 3389, 0, false},  // by itself
         }) {
        PinHole hole;
        hole.src = Prefix::exact(from);
        hole.dst = to;
        hole.protocol = protocol;
        hole.dport = Be16::from_host(port);
        hole.more_ports = static_cast<std::uint8_t>(more);
        EXPECT_EQ(check_guards(policy, view, hole, false),
                  refused ? HelperCounter::denied_service : HelperCounter::kCount)
            << from.to_string() << " -> " << to.to_string() << ":" << port;
    }
    PinHole from_any;
    from_any.src = Prefix{client, 0};
    from_any.dst = client;
    from_any.protocol = proto::tcp;
    from_any.dport = Be16::from_host(3389);
    EXPECT_EQ(check_guards(policy, view, from_any, false), HelperCounter::denied_service);
    ASSERT_TRUE(parse_deny_services("", policy));
    EXPECT_EQ(check_guards(policy, view, from_any, false), HelperCounter::kCount);
    for (const char* wrong : {"3389/", "3389/sctp", "/tcp", "9-8", "1,,2", "x"})
        EXPECT_FALSE(parse_deny_services(wrong, policy)) << wrong;
}

TEST(Guards, ServicesAreDeniedToHelpersThatDoNotNameThem) {
    const std::vector<HelperConfig> configs{{1, "", &kOther, {}}};
    const auto made = HelperSet::create(configs);
    ASSERT_TRUE(made.ok());
    EXPECT_GT((*made.value())[1].guards.service_count, 10u);
}

TEST(HelperSet, RefusesWhatIsWrong) {
    const auto error = [](std::vector<HelperConfig> configs) {
        const auto made = HelperSet::create(configs);
        return made.ok() ? std::string("none") : made.error().message;
    };
    EXPECT_EQ(error({}), "none");
    EXPECT_EQ(error({{1, "a", &kToy, {{"loose", "yes"}}}}),
              "helper a, parameter loose: expected true or false, not \"yes\"");
    EXPECT_EQ(error({{1, "", &kToy, {{"size", "10"}}}}),
              "helper toy, parameter size: expected a number up to 9, not \"10\"");
    EXPECT_EQ(error({{1, "", &kToy, {{"colour", "red"}}}}),
              "helper toy, parameter colour: there is none of this name");
    EXPECT_EQ(error({{1, "", &kToy, {{"deny_ports", "1-2,9-8"}}}}),
              "helper toy, parameter deny_ports: expected a port or a range of ports, not \"9-8\"");
    EXPECT_EQ(error({{1, "", &kToy, {{"near", "192.0.2.0/24,192.0.2.1/24"}}}}),
              "helper toy, parameter near: expected networks as in \"192.0.2.0/24,2001:db8::/32\", "
              "not \"192.0.2.1/24\"");
    EXPECT_NE(error({{1, "", &kToy, {}}, {1, "", &kToy, {}}}), "none");
    EXPECT_NE(error({{0, "", &kToy, {}}}), "none");
    EXPECT_NE(error({{1, "", nullptr, {}}}), "none");
    static constexpr PatternDesc kBad[] = {{1, "^(", std::nullopt}};
    static constexpr HelperDesc kBadDesc{.name = "bad",
                                         .help = "",
                                         .transports = transport::tcp,
                                         .framing = Framing::line,
                                         .patterns = kBad,
                                         .on_message = toy_message};
    EXPECT_EQ(error({{1, "", &kBadDesc, {}}}).substr(0, 27), "pattern \"^(\" of helper bad:");
}

TEST(HelperSet, ReadsRangesOfPorts) {
    constexpr ParamDesc kRange{"range", ParamType::ports, "", ""};
    EXPECT_EQ(parse_param(kRange, "").value(), 0u);
    EXPECT_EQ(parse_param(kRange, "50000-50100").value(), 50000u << 16 | 50100u);
    EXPECT_EQ(parse_param(kRange, "1024").value(), 1024u << 16 | 1024u);
    EXPECT_EQ(parse_param(kRange, "65408-65535").value(), 65408u << 16 | 65535u);
    for (const char* wrong : {"1023-1030", "50000-50128", "50100-50000", "50000-50001,50003", "x",
                              "50000-", "50000-65536", " 50000"})
        EXPECT_EQ(
            parse_param(kRange, wrong).error().message,
            "expected a range of at most 128 ports from 1024 on, such as 50000-50100, not \"" +
                std::string(wrong) + "\"");
}

TEST(HelperSet, ParametersHaveTheirDefaults) {
    const std::vector<HelperConfig> configs{
        {7, "", &kToy, {{"deny_ports", "1-2"}, {"near", "192.0.2.0/24,2001:db8::1"}}}};
    const auto made = HelperSet::create(configs);
    ASSERT_TRUE(made.ok());
    const HelperInstance& i = (*made.value())[7];
    EXPECT_EQ(i.name, "toy");
    EXPECT_EQ(i.params[0].number, 0u);
    EXPECT_EQ(i.params[1].text, "1-2");
    EXPECT_EQ(i.params[2].number, 7u);
    ASSERT_EQ(i.params[3].networks.size(), 2u);
    EXPECT_EQ(i.params[3].networks[0].to_string(), "192.0.2.0/24");
    EXPECT_EQ(i.params[3].networks[1].to_string(), "2001:db8::1/128");
    EXPECT_EQ(i.guards.deny_count, 1);
    EXPECT_EQ(made.value()->find(1), nullptr);
}

TEST(Registry, FindsHelpersByName) {
    ASSERT_FALSE(all_helpers().empty());
    for (const HelperDesc* h : all_helpers()) {
        EXPECT_EQ(find_helper(h->name), h);
        EXPECT_FALSE(h->help.empty());
        std::vector<HelperConfig> configs{{1, "", h, {}}};
        ASSERT_TRUE(add_children(configs, find_helper).ok());
        EXPECT_TRUE(HelperSet::create(configs).ok());
    }
    EXPECT_EQ(find_helper("nonesuch"), nullptr);
}

TEST(Registry, EachCounterIsDescribed) {
    std::set<std::string_view> common;
    for (const CounterDesc& c : kHelperCounterTable)
        EXPECT_TRUE(common.insert(c.name).second) << c.name;
    for (const HelperDesc* h : all_helpers()) {
        std::set<std::string_view> names = common;
        for (const CounterDesc& c : h->counters) {
            SCOPED_TRACE(std::string(h->name) + " " + std::string(c.name));
            EXPECT_TRUE(names.insert(c.name).second) << "twice";
            EXPECT_FALSE(c.name.empty());
            EXPECT_EQ(c.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"),
                      std::string_view::npos);
            EXPECT_FALSE(c.help.empty());
            EXPECT_EQ(c.kind, MetricKind::counter);
            // What is counted has its unit, if it has a name.
            for (const auto& [word, unit] :
                 {std::pair("requests", Unit::requests), std::pair("messages", Unit::messages)})
                if (c.name.ends_with(word) || c.help.starts_with(word)) {
                    EXPECT_TRUE(c.unit == unit || c.unit == Unit::messages ||
                                c.unit == Unit::packets)
                        << to_string(c.unit);
                }
        }
    }
}

TEST(HelperSet, ReadsListsOfNetworks) {
    const auto made = [](const char* text) {
        std::vector<HelperConfig> configs{
            {1, "", find_helper("q931"), {{"callforward_filter", text}}}};
        EXPECT_TRUE(add_children(configs, find_helper).ok());
        return HelperSet::create(configs);
    };
    const auto set = made("192.0.2.0/24,2001:db8::1");
    ASSERT_TRUE(set.ok());
    const auto networks = (*set.value())[1].params[2].networks;
    ASSERT_EQ(networks.size(), 2u);
    EXPECT_EQ(networks[0].to_string(), "192.0.2.0/24");
    EXPECT_EQ(networks[1].to_string(), "2001:db8::1/128");
    EXPECT_EQ(made("192.0.2.0/24,192.0.2.0/33").error().message,
              "helper q931, parameter callforward_filter: expected networks as in "
              "\"192.0.2.0/24,2001:db8::/32\", not \"192.0.2.0/33\"");
}

TEST(HelperCounters, HaveNamesAndHelp) {
    for (const CounterDesc& c : kHelperCounterTable) {
        EXPECT_FALSE(c.name.empty());
        EXPECT_FALSE(c.help.empty());
    }
}

}  // namespace
}  // namespace postern
