// SPDX-License-Identifier: BSD-3-Clause
// What cards differ in: hash types, keys, tables. Every packet reaches its worker on each of them;
// whatever the card cannot place is handed over.
#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "nic/traffic.h"
#include "support/eal.h"

namespace postern::nic {
namespace {

using Kinds = std::set<std::string>;

constexpr std::uint64_t kIp6 =
    RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_TCP |
    RTE_ETH_RSS_NONFRAG_IPV6_UDP | RTE_ETH_RSS_NONFRAG_IPV6_SCTP | RTE_ETH_RSS_NONFRAG_IPV6_OTHER |
    RTE_ETH_RSS_IPV6_EX | RTE_ETH_RSS_IPV6_TCP_EX | RTE_ETH_RSS_IPV6_UDP_EX;

/// The first packet of an association (RFC 9260 section 3.3.2).
Frame sctp_frame(const frames::Flow& f) {
    const auto byte = [](unsigned v) { return static_cast<std::uint8_t>(v); };
    Frame l4{byte(f.sport >> 8), byte(f.sport), byte(f.dport >> 8), byte(f.dport)};
    l4.insert(l4.end(), {0, 0, 0, 0, 0, 0, 0, 0});                  // tag, checksum
    l4.insert(l4.end(), {1, 0, 0, 20, 0, 0, 0, 9, 0, 0, 0x80, 0});  // INIT: tag, window
    l4.insert(l4.end(), {0, 5, 0, 5, 0, 0, 0, 7});                  // streams, number
    return frames::ip(f.src, f.dst, 132, l4);
}

/// A datagram in two fragments, each way.
Arrivals in_fragments(NicWorld& world, const frames::Flow& flow) {
    Arrivals a;
    for (const bool original : {true, false}) {
        const frames::Flow& f = original ? flow : flow.back();
        const PortId port = original ? NicWorld::kInside : NicWorld::kOutside;
        for (const Frame& part :
             frames::fragments(frames::udp(f, std::string(1000, 'x')), 800, 7)) {
            if (!world.nic(port).arrive(part)) ++a.lost;
            a.queues.insert(world.nic(port).last_queue());
        }
        world.turn();
        if (world.beyond(port).sent().size() != 2) ++a.lost;
    }
    return a;
}

/// Every kind of traffic through this world. Returns the kinds of which packets were handed over;
/// none may be lost.
Kinds handed(NicWorld& world) {
    const auto tcp = [&](const frames::Flow& f) { return talk(world, f); };
    const auto udp = [&](const frames::Flow& f) { return ask(world, f, udp_frame); };
    const auto echo = [&](const frames::Flow& f) { return ask(world, f, echo_frame); };
    const struct {
        const char* name;
        int family;
        std::function<Arrivals(const frames::Flow&)> one;
    } kinds[] = {
        {"tcp4", 4, tcp},
        {"tcp6", 6, tcp},
        {"udp4", 4, udp},
        {"udp6", 6, udp},
        {"echo4", 4, echo},
        {"echo6", 6, echo},
        {"tagged", 4, [&](const auto& f) { return talk(world, f, tagged); }},
        {"sctp", 4,
         [&](const auto& f) {
             return Arrivals{{}, world.pass(sctp_frame(f), NicWorld::kInside) ? 0u : 1u};
         }},
        {"gre", 4, [&](const auto& f) { return ask(world, f, gre_frame); }},
        {"esp", 4, [&](const auto& f) { return ask(world, f, esp_frame); }},
        {"udplite", 4, [&](const auto& f) { return ask(world, f, udplite_frame); }},
        {"fragments", 4, [&](const auto& f) { return in_fragments(world, f); }},
    };
    Kinds handed;
    unsigned seed = 1;
    for (const auto& kind : kinds) {
        const Cost cost = many(world, 24, kind.family, kind.one, ++seed);
        EXPECT_EQ(cost.lost, 0u) << kind.name;
        if (cost.handed_off != 0) handed.insert(kind.name);
    }
    return handed;
}

struct Case {
    const char* name;
    std::function<void(Abilities&)> change;
    /// Kinds that are handed over on such cards, beside those of any card.
    Kinds more = {};
    const char* without = "";  ///< as the log names it
    unsigned workers = 4;
};
void PrintTo(const Case& c, std::ostream* out) {
    *out << c.name;
}

// Of any card: a datagram that came in fragments was reassembled where its addresses lead.
const Kinds kAlways{"fragments"};

constexpr const char* kIp6Names = "TCP over IPv6, UDP over IPv6";

const Case kCases[] = {
    {"everything", [](Abilities&) {}},
    {"no_udp",
     [](Abilities& a) { a.hash_types &= ~std::uint64_t{RTE_ETH_RSS_UDP}; },
     {"udp4", "udp6"},
     "UDP, UDP over IPv6"},
    // SCTP is then at home where its addresses lead.
    {"no_sctp", [](Abilities& a) { a.hash_types &= ~std::uint64_t{RTE_ETH_RSS_SCTP}; }},
    {"no_ipv6", [](Abilities& a) { a.hash_types &= ~kIp6; }, {"tcp6", "udp6", "echo6"}, kIp6Names},
    {"ports_only",
     [](Abilities& a) { a.hash_types = RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP; },
     {"echo4", "echo6", "sctp", "gre", "esp", "udplite"}},
    {"addresses_for_the_rest",
     [](Abilities& a) {
         a.hash_types = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP |
                        RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_IPV6 |
                        RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
     }},
    {"takes_types_and_drops_them",
     [](Abilities& a) { a.types_dropped = RTE_ETH_RSS_UDP | RTE_ETH_RSS_SCTP; },
     {"udp4", "udp6"},
     "UDP, UDP over IPv6"},
    {"not_behind_tags", [](Abilities& a) { a.hashes_tagged = false; }, {"tagged"}},
    {"key_52", [](Abilities& a) { a.key_bytes = 52; }},
    {"key_while_it_runs", [](Abilities& a) { a.key = Abilities::Key::taken_running; }},
    {"table_64", [](Abilities& a) { a.table_entries = 64; }},
    {"table_64_of_three", [](Abilities& a) { a.table_entries = 64; }, {}, "", 3},
    {"table_4_of_three", [](Abilities& a) { a.table_entries = 4; }, {}, "", 3},
    {"table_128_of_three", [](Abilities& a) { a.table_entries = 128; }, {}, "", 3},
    {"table_512_of_three", [](Abilities& a) { a.table_entries = 512; }, {}, "", 3},
    {"table_2048", [](Abilities& a) { a.table_entries = 2048; }},
    {"table_not_readable", [](Abilities& a) { a.table = Abilities::Table::unreadable; }},
    {"hash_not_reported", [](Abilities& a) { a.reported = Abilities::Reported::none; }},
    // The firewall computes the hash from the headers; what a packet carries decides nothing.
    {"wrong_hash_reported", [](Abilities& a) { a.reported = Abilities::Reported::wrong; }},
};

class Lacking : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cards, Lacking, ::testing::ValuesIn(kCases),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(Lacking, PlacesWhatItCanAndTheRestIsHandedOver) {
    Abilities card;
    GetParam().change(card);
    NicWorld world({.workers = GetParam().workers, .inside = card, .outside = card});
    ASSERT_EQ(world.refusal, "");
    ASSERT_TRUE(world.ports().info(NicWorld::kInside).rss);
    EXPECT_TRUE(world.fw().steering().by_rss);
    EXPECT_EQ(world.ports().info(NicWorld::kInside).rss_without, GetParam().without);
    Kinds expected = kAlways;
    expected.insert(GetParam().more.begin(), GetParam().more.end());
    EXPECT_EQ(handed(world), expected);
}

/// Cards whose queues cannot be those of the symmetric hash.
const Case kOthers[] = {
    {"own_key", [](Abilities& a) { a.key = Abilities::Key::kept; }},
    {"key_not_readable", [](Abilities& a) { a.key = Abilities::Key::unreadable; }},
    {"key_of_64_bytes", [](Abilities& a) { a.key_bytes = 64; }},
    {"no_key", [](Abilities& a) { a.key_bytes = 0; }},
    {"own_table", [](Abilities& a) { a.table = Abilities::Table::kept; }},
    {"table_refused", [](Abilities& a) { a.table = Abilities::Table::refused; }},
    {"no_table", [](Abilities& a) { a.table_entries = 0; }},
    {"table_of_100", [](Abilities& a) { a.table_entries = 100; }},
    {"table_shorter_than_the_workers", [](Abilities& a) { a.table_entries = 2; }},
    {"no_types", [](Abilities& a) { a.hash_types = 0; }},
    {"addresses_only", [](Abilities& a) { a.hash_types = RTE_ETH_RSS_IP; }},
    {"one_queue", [](Abilities& a) { a.rx_queues = 1; }},
};

class Without : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cards, Without, ::testing::ValuesIn(kOthers),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_P(Without, CountsAsWithoutSymmetricRss) {
    Abilities card;
    GetParam().change(card);
    NicWorld world({.workers = 4, .inside = card, .outside = card});
    ASSERT_EQ(world.refusal, "");
    EXPECT_FALSE(world.ports().any_rss());
    EXPECT_FALSE(world.fw().steering().by_rss) << "a secret hash chooses the worker";
    EXPECT_TRUE(handed(world).contains("tcp4"));
}

TEST(Mixed, ThePortWithoutRssHandsOverToTheWorkersOfTheOther) {
    Abilities own;
    own.key = Abilities::Key::kept;
    NicWorld world({.workers = 4, .outside = own});
    EXPECT_TRUE(world.ports().info(NicWorld::kInside).rss);
    EXPECT_FALSE(world.ports().info(NicWorld::kOutside).rss);
    EXPECT_TRUE(world.fw().steering().by_rss);
    EXPECT_EQ(handed(world).count("tcp4"), 1u);
}

TEST(Mixed, TheShorterTableDecidesForBothCards) {
    Abilities shorter, longer;
    shorter.table_entries = 64;
    longer.table_entries = 512;
    for (const bool inside : {true, false}) {
        NicWorld world({.workers = 3,
                        .inside = inside ? shorter : longer,
                        .outside = inside ? longer : shorter});
        EXPECT_TRUE(world.ports().info(NicWorld::kInside).rss);
        EXPECT_TRUE(world.ports().info(NicWorld::kOutside).rss);
        EXPECT_EQ(handed(world), kAlways);
    }
}

TEST(Mixed, OneCardKnowsSctp) {
    Abilities lacks;
    lacks.hash_types &= ~std::uint64_t{RTE_ETH_RSS_SCTP};
    NicWorld world({.workers = 4, .outside = lacks});
    EXPECT_FALSE(world.ports().sctp_ports());
    EXPECT_EQ(world.inside.types() & RTE_ETH_RSS_SCTP, 0u) << "the other is not asked to";
    EXPECT_EQ(handed(world), kAlways);
}

TEST(Mixed, MoreQueuesDemandedThanACardHas) {
    Abilities two;
    two.rx_queues = 2;
    NicWorld world({.workers = 4, .outside = two, .of_ports = ", queues: 4"});
    EXPECT_NE(world.refusal.find("has 2 receive queues, not 4"), std::string::npos)
        << world.refusal;
}

TEST(Mixed, FewerQueuesThanWorkers) {
    Abilities two;
    two.rx_queues = 2;
    two.tx_queues = 2;
    NicWorld world({.workers = 4, .inside = two, .outside = two});
    EXPECT_EQ(world.ports().info(NicWorld::kInside).rx_queues, 2u);
    EXPECT_TRUE(handed(world).contains("tcp4")) << "for the workers without a queue";
}

}  // namespace
}  // namespace postern::nic
