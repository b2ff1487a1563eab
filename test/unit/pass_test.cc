// SPDX-License-Identifier: BSD-3-Clause
// What passes beside connections: frames without IP, neighbour discovery, ICMP that belongs to no
// connection; and that nothing passes with them.
#include <gtest/gtest.h>

#include "net/llc.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using namespace frames;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr PortId kIn = World::kInside, kOut = World::kOutside;

std::string rules(const std::string& text) {
    return "policy:\n  rules:\n" + text;
}
/// A frame whose bytes from the ethertype on are these, and then zeros.
Frame ethernet(std::string_view to, std::string_view rest) {
    const std::string mac = from_hex(to), bytes = from_hex(rest);
    Frame f(mac.begin(), mac.end());
    f.insert(f.end(), {2, 0, 0, 0, 0, 2});
    f.insert(f.end(), bytes.begin(), bytes.end());
    f.resize(60);
    return f;
}
/// ICMP that quotes a datagram of `f`, to its sender.
Frame about(const Flow& f, std::uint8_t type, std::uint8_t code = 0) {
    const Frame quoted = udp(f);
    Frame rest{0, 0, 0, 0};
    rest.insert(rest.end(), quoted.begin() + kEth, quoted.end());
    return icmp(f.dst, f.src, type, code, rest);
}

TEST(Pass, WordsLetThroughWhatTheySay) {
    struct Row {
        std::string_view to, rest;
        const char* word;  ///< in `pass`; null: none does, `all` neither
    };
    const Row rows[] = {
        {"ffffffffffff", "08060001", "arp"},
        {"0180c2000000", "0026424203", "llc"},
        {"01000ccccccd", "0032aaaa0300000c010b", "llc"},
        {"01000ccccccc", "0032aaaa0300000c2000", "cdp"},
        {"0180c2000014", "0032fefe0383", "isis"},
        {"0180c200000e", "88cc0207", "lldp"},
        {"0180c200000e", "0032aaaa0300000088cc", "lldp"},
        {"020000000001", "884700064100", "mpls"},
        {"020000000001", "886411000001", "pppoe"},
        {"020000000001", "0032e0e003", "all"},
        {"020000000001", "0026424203", "all"},
        {"020000000001", "0030aaaa0300000008004500", nullptr},
        {"333300000001", "0040aaaa0300000086dd6000", nullptr},
        {"020000000001", "00300606034500", nullptr},
        {"020000000001", "8100000181000002810000030800", nullptr},
        {"020000000001", "9100000191000002910000030800", nullptr},
    };
    const std::string words[] = {"arp",  "llc",   "cdp", "isis", "lldp",
                                 "mpls", "pppoe", "nd",  "all",  "[]"};
    for (const std::string& word : words) {
        World world(rules("    - {action: accept}\n"), 1, {}, World::kLimits, {}, 0, word);
        for (const Row& row : rows) {
            const Frame f = ethernet(row.to, row.rest);
            const bool passes = row.word != nullptr && (word == row.word || word == "all");
            EXPECT_EQ(world.send(f, kIn), passes) << word << " " << row.rest;
            EXPECT_EQ(world.send(wrap_vlan(f, 5), kOut), passes) << word << " tagged " << row.rest;
        }
    }
}

TEST(Pass, IsCounted) {
    World world(rules("    - {action: accept}\n"), 1);  // passes arp and nd
    Frame solicit =
        icmp(*IpAddr::parse("fe80::1"), *IpAddr::parse("ff02::1:ff00:2"), 135, 0, Frame(20, 0));
    EXPECT_FALSE(world.from_inside(solicit)) << "hop limit 64";
    EXPECT_EQ(world.drops(DropReason::nd_invalid), 1u);
    solicit[kEth + 7] = 255;
    EXPECT_TRUE(world.from_inside(solicit));
    EXPECT_EQ(world.sum(&WorkerCounters::passed_nd), 1u);
    EXPECT_TRUE(world.from_inside(ethernet("ffffffffffff", "08060001")));
    EXPECT_EQ(world.sum(&WorkerCounters::passed_non_ip), 1u);
    EXPECT_FALSE(world.from_inside(ethernet("020000000001", "0030aaaa030000000800")));
    EXPECT_EQ(world.drops(DropReason::snap_ip), 1u);
}

TEST(SourceRoute, DoesNotLeadPastARule) {
    const std::string to_web =
        "    - {from: outside, to: inside, dst: [192.0.2.80, \"2001:db8::80\"], proto: tcp,"
        " dport: 80, action: accept}\n";
    const Flow f4 = flow("203.0.113.66", 1000, "192.0.2.80", 80),
               f6 = flow("2001:db8:ffff::66", 1000, "2001:db8::80", 80);
    const auto routed = [&](std::uint8_t type, std::uint8_t left, std::uint16_t port) {
        Frame header(24);
        header[1] = 2, header[2] = type, header[3] = left;
        Flow f = f6;
        f.sport = port;
        return wrap_extensions(tcp(f, {.flags = tcp_flag::syn}), {{43, header}});
    };
    for (const std::string allowed : {"[]", "rh2", "srh"}) {
        World world(rules(to_web), 1, {}, World::kLimits, ", routing_headers: " + allowed);
        for (const std::uint8_t kind : {std::uint8_t{131}, std::uint8_t{137}}) {
            Frame f = tcp(f4, {.flags = tcp_flag::syn});
            const Frame route{kind, 7, 4, 192, 0, 2, 99, 0};
            f.insert(f.begin() + kEth + 20, route.begin(), route.end());
            f[kEth] = 0x47;
            f[kEth + 3] = static_cast<std::uint8_t>(f.size() - kEth);
            EXPECT_FALSE(world.from_outside(f));
        }
        EXPECT_EQ(world.drops(DropReason::ip_source_route), 2u);
        EXPECT_FALSE(world.from_outside(routed(0, 1, 1001)));
        EXPECT_EQ(world.drops(DropReason::ip6_source_route), 1u);
        EXPECT_EQ(world.from_outside(routed(2, 1, 1002)), allowed == "rh2");
        EXPECT_EQ(world.from_outside(routed(4, 1, 1003)), allowed == "srh");
        EXPECT_EQ(world.drops(DropReason::ip6_routing_header), allowed == "[]" ? 2u : 1u);
        EXPECT_TRUE(world.from_outside(routed(4, 0, 1004))) << "leads nowhere";
        EXPECT_TRUE(world.from_outside(tcp(f4, {.flags = tcp_flag::syn})));
    }
}

TEST(Rules, NameProtocolsThatEndTheChainOfIpv6Headers) {
    World world(rules("    - {proto: 139, action: accept}\n"), 1);
    const Flow f = flow("2001:db8::1", 0, "2001:db8:1::9", 0);
    EXPECT_TRUE(world.from_inside(ip(f.src, f.dst, 139, Frame(40))));
    EXPECT_FALSE(world.from_inside(ip(f.src, f.dst, 135, Frame(40))));
}

TEST(IcmpMessage, EachIsJudgedByItselfAndBeginsNothing) {
    World world(rules("    - {proto: icmp, icmp_type: [9, 40], action: accept}\n"
                      "    - {proto: icmpv6, icmp_type: 148, action: accept}\n"
                      "    - {proto: icmpv6, icmp_type: 149, action: reject}\n"),
                1);
    const Flow f4 = flow("192.0.2.1", 0, "198.51.100.2", 0),
               f6 = flow("2001:db8::1", 0, "2001:db8:1::9", 0);
    const auto message = [](const Flow& f, std::uint8_t type) {
        return icmp(f.src, f.dst, type, 0, Frame(20));
    };
    for (int again = 0; again < 2; ++again) {
        EXPECT_TRUE(world.from_inside(message(f4, 9)));
        EXPECT_TRUE(world.from_inside(message(f4, 40)));
        EXPECT_TRUE(world.from_outside(message(f4.back(), 9))) << "the rule says so";
        EXPECT_TRUE(world.from_inside(message(f6, 148)));
        // Others between the same two, in either direction, do not pass with it.
        EXPECT_FALSE(world.from_inside(message(f4, 10)));
        EXPECT_FALSE(world.from_outside(message(f4.back(), 43)));
        EXPECT_FALSE(world.from_outside(message(f6.back(), 146)));
        EXPECT_FALSE(world.from_inside(message(f6, 149)));
    }
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 0u);
    EXPECT_EQ(world.drops(DropReason::policy), 6u);
    EXPECT_EQ(world.drops(DropReason::reject), 2u);
    EXPECT_EQ(world.sum(&WorkerCounters::rejected), 0u) << "nobody is told";
}

TEST(IcmpMessage, WhatIsShorterThanOthersPasses) {
    World world(rules("    - {proto: icmpv6, icmp_type: [151, 152, 153, 155], action: accept}\n"),
                1);
    const IpAddr router = *IpAddr::parse("fe80::1"), all = *IpAddr::parse("ff02::6a");
    const auto message = [&](std::uint8_t type, unsigned bytes) {
        // RFC 4286: the bare header; RFC 6550: two bytes more.
        Frame icmp_only{type, 0, 0, 0};
        icmp_only.resize(bytes);
        return ip(router, all, proto::icmpv6, icmp_only);
    };
    EXPECT_TRUE(world.from_inside(message(152, 4)));
    EXPECT_TRUE(world.from_inside(message(153, 4)));
    EXPECT_TRUE(world.from_inside(message(155, 6)));
    EXPECT_FALSE(world.from_inside(message(154, 4)));
    EXPECT_EQ(world.drops(DropReason::policy), 1u);
    for (const std::uint8_t type : std::initializer_list<std::uint8_t>{1, 128, 129, 134, 160})
        EXPECT_FALSE(world.from_inside(message(type, 7)));
    EXPECT_FALSE(world.from_inside(message(152, 3)));
    EXPECT_EQ(world.drops(DropReason::truncated_l4), 6u);
}

TEST(IcmpQuestion, OpensAConnectionForItsAnswerOnly) {
    struct Row {
        const char *from, *to;
        std::uint8_t asks, answers;
    };
    const char *a4 = "192.0.2.1", *b4 = "198.51.100.2", *a6 = "2001:db8::1", *b6 = "2001:db8:1::9";
    const Row rows[] = {
        {a4, b4, 8, 0},     {a4, b4, 13, 14},   {a4, b4, 15, 16},   {a4, b4, 17, 18},
        {a4, b4, 37, 38},   {a4, b4, 42, 43},   {a6, b6, 128, 129}, {a6, b6, 139, 140},
        {a6, b6, 144, 145}, {a6, b6, 146, 147}, {a6, b6, 160, 161},
    };
    World world(rules("    - {from: inside, action: accept}\n"), 1);
    std::uint16_t id = 0x1700;
    for (const Row& row : rows) {
        SCOPED_TRACE(row.asks);
        const IpAddr a = *IpAddr::parse(row.from), b = *IpAddr::parse(row.to);
        ++id;
        const auto with_id = [&](std::uint16_t n) {
            return Frame{static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n), 0, 1};
        };
        const auto answer = [&](std::uint8_t type, std::uint16_t n) {
            return world.from_outside(icmp(b, a, type, 0, with_id(n)));
        };
        EXPECT_FALSE(answer(row.answers, id)) << "unasked";
        EXPECT_TRUE(world.from_inside(icmp(a, b, row.asks, 0, with_id(id))));
        EXPECT_FALSE(answer(row.answers, static_cast<std::uint16_t>(id + 0x100)));
        EXPECT_FALSE(answer(row.asks, id)) << "a question of the other's";
        for (const Row& other : rows)
            if (other.from == row.from && other.asks != row.asks) {
                EXPECT_FALSE(answer(other.answers, id)) << unsigned{other.answers};
            }
        EXPECT_TRUE(answer(row.answers, id));
        EXPECT_TRUE(answer(row.answers, id)) << "a second one, of a group";
    }
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), std::size(rows));
}

TEST(IcmpAnswer, UnaskedIsJudgedByItselfAndBeginsNothing) {
    struct Row {
        const char *proto, *from, *group, *hosts[2];
        std::uint8_t asks, answers;
    };
    const Row rows[] = {
        {"icmp", "192.0.2.1", "224.0.0.251", {"192.0.2.7", "192.0.2.8"}, 8, 0},
        {"icmpv6", "fe80::1", "ff02::fb", {"fe80::7", "fe80::8"}, 128, 129},
        {"icmpv6", "2001:db8::1", "2001:db8:5::fdff", {"2001:db8:5::7", "2001:db8:5::8"}, 144, 145},
    };
    for (const Row& row : rows)
        for (const bool named : {false, true}) {
            SCOPED_TRACE(row.from);
            World world(rules("    - {from: inside, action: accept}\n" +
                              (named ? "    - {proto: " + std::string(row.proto) + ", icmp_type: " +
                                           std::to_string(row.answers) + ", src: [" + row.hosts[0] +
                                           ", \"" + row.hosts[1] + "\"], action: accept}\n"
                                     : std::string())),
                        1);
            const IpAddr a = *IpAddr::parse(row.from);
            const auto message = [](const IpAddr& from, const IpAddr& to, std::uint8_t type) {
                return icmp(from, to, type, 0, Frame{0x12, 0x34, 0, 1});
            };
            EXPECT_TRUE(world.from_inside(message(a, *IpAddr::parse(row.group), row.asks)));
            for (const char* host : row.hosts) {
                const IpAddr b = *IpAddr::parse(host);
                for (int again = 0; again < 2; ++again)
                    EXPECT_EQ(world.from_outside(message(b, a, row.answers)), named);
                EXPECT_FALSE(world.from_outside(message(b, a, row.asks)));
                EXPECT_FALSE(world.from_outside(message(b, *IpAddr::parse(row.group), 3)));
            }
            EXPECT_FALSE(world.from_outside(message(*IpAddr::parse(row.group), a, row.asks)));
            EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u) << "the question's";
        }
}

// From one burst: the question, and the answer that would pass unasked.
TEST(IcmpAnswer, BelongsToTheQuestionBeforeIt) {
    World world(rules("    - {from: inside, action: accept}\n"
                      "    - {proto: icmp, icmp_type: echo-reply, action: accept}\n"),
                1);
    const Flow f = flow("192.0.2.1", 0, "198.51.100.2", 0);
    EXPECT_EQ(world.send_burst({{echo(f, true, 7), kIn}, {echo(f.back(), false, 7), kOut}}), "aa");
    const auto conn = world.connection(7);
    ASSERT_TRUE(conn);
    EXPECT_TRUE(conn->conn.has(conn_flag::seen_reply));
}

TEST(IcmpError, AboutAConnectionMeetsTheRulesThatNameItsType) {
    const Flow f = flow("192.0.2.1", 4000, "198.51.100.2", 53);
    struct Row {
        const char* rule;
        bool exceeded, unreachable;
    };
    const Row rows[] = {
        {"{action: drop}", true, true},
        {"{proto: icmp, action: drop}", true, true},
        {"{ct: [related], action: drop}", true, true},
        {"{proto: icmp, icmp_type: time-exceeded, action: drop}", false, true},
        {"{proto: icmp, icmp_type: [3, 11], from: outside, action: drop}", false, false},
        {"{proto: icmp, icmp_type: [3, 11], from: inside, action: drop}", true, true},
        {"{proto: icmp, icmp_type: 3, ct: [related], action: reject}", true, false},
        {"{proto: icmp, icmp_type: 3, ct: [new], action: drop}", true, true},
        // By the addresses of the error itself: a router's, not the quoted packet's.
        {"{proto: icmp, icmp_type: [3, 11], src: 203.0.113.1, action: drop}", false, false},
        {"{proto: icmp, icmp_type: [3, 11], src: 198.51.100.2, action: drop}", true, true},
        {"{proto: icmp, icmp_type: 11, action: accept}", true, true},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.rule);
        World world(rules("    - {from: inside, proto: udp, action: accept}\n    - " +
                          std::string(row.rule) + "\n"),
                    1);
        ASSERT_TRUE(world.from_inside(udp(f)));
        const auto error = [&](std::uint8_t type) {
            Frame e = about(f, type, 1);
            const std::uint8_t router[] = {203, 0, 113, 1};
            std::copy_n(router, 4, e.begin() + kEth + 12);
            return world.from_outside(e);
        };
        EXPECT_EQ(error(11), row.exceeded);
        EXPECT_EQ(error(3), row.unreachable);
        EXPECT_TRUE(world.from_outside(udp(f.back()))) << "the connection goes on";
        EXPECT_EQ(world.sum(&WorkerCounters::rejected), 0u);
    }
}

TEST(IcmpError, AboutNoConnectionPassesByARuleThatNamesItsTypeOnly) {
    const Flow f4 = flow("192.0.2.1", 4000, "198.51.100.2", 53),
               f6 = flow("2001:db8::1", 4000, "2001:db8:1::9", 53);
    for (const bool named : {false, true}) {
        World world(rules("    - {proto: [icmp, icmpv6], action: accept}\n" +
                          std::string(named ? "    - {proto: icmp, icmp_type: 3, action: accept}\n"
                                              "    - {proto: icmpv6, icmp_type: [1, 100], src: "
                                              "\"2001:db8:1::9\", action: accept}\n"
                                            : "")),
                    1);
        EXPECT_EQ(world.from_outside(about(f4, 3, 1)), named);
        EXPECT_EQ(world.from_outside(about(f6, 1, 1)), named);
        EXPECT_EQ(world.from_outside(about(f6, 100, 1)), named);
        EXPECT_FALSE(world.from_outside(about(f4, 11)));
        EXPECT_FALSE(world.from_outside(about(f6, 3)));
        EXPECT_EQ(world.drops(DropReason::ct_not_first), named ? 2u : 5u);
        EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 0u);
        // An unknown error that quotes nothing is a message like others.
        EXPECT_TRUE(world.from_outside(icmp(f6.dst, f6.src, 127, 0, Frame(4))));
        EXPECT_FALSE(world.from_outside(icmp(f6.dst, f6.src, 4, 0, Frame(4))));
    }
}

TEST(IcmpMessage, RedirectsAndSourceQuenchPassByARuleThatNamesThemOnly) {
    const Flow f = flow("192.0.2.1", 4000, "198.51.100.2", 53);
    struct Row {
        const char* policy;
        bool redirect, quench;
    };
    const Row rows[] = {
        {"policy: {rules: [{action: accept}]}\n", false, false},
        {"policy: {rules: [{ct: [related], action: accept}, {proto: icmp, action: accept},"
         " {from: inside, action: accept}]}\n",
         false, false},
        {"policy: {rules: [{action: accept}, {proto: icmp, icmp_type: redirect, action: "
         "accept}]}\n",
         true, false},
        {"policy: {rules: [{proto: icmp, icmp_type: [source-quench, 5], action: accept},"
         " {action: accept}]}\n",
         true, true},
        {"policy: {rules: [{ct: [related], proto: icmp, icmp_type: [4, 5], action: accept},"
         " {from: inside, action: accept}]}\n",
         false, false},
        {"policy: {rules: [{proto: icmp, icmp_type: [4, 5], from: inside, action: accept},"
         " {action: accept}]}\n",
         false, false},
        {"policy: {rules: [{from: outside, proto: icmp, action: drop},"
         " {proto: icmp, icmp_type: [4, 5], action: accept}, {action: accept}]}\n",
         false, false},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.policy);
        World world(row.policy, 1);
        ASSERT_TRUE(world.from_inside(udp(f)));
        EXPECT_EQ(world.from_outside(about(f, 5, 1)), row.redirect);
        EXPECT_EQ(world.from_outside(about(f, 4)), row.quench);
        // What does speak of a connection passes with it.
        EXPECT_TRUE(world.from_outside(about(f, 3, 4)));
        EXPECT_TRUE(world.from_outside(about(f, 11)));
    }
}

}  // namespace
}  // namespace postern
