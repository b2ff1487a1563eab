// SPDX-License-Identifier: BSD-3-Clause
// What control may ask of a worker's connections (list, end, by filters) and what it is told of
// them (events), at the workers' side of it.
#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kPolicy =
    "helpers: [{name: ftp}]\n"
    "timeouts: {udp: {unreplied: 5}}\n"
    "policy:\n"
    "  rules:\n"
    "    - {name: control, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp,"
    " set: {mark: 0x12, label: 3}}\n"
    "    - {name: data, ct: [related], related: [ftp], action: accept}\n"
    "    - {name: dns, proto: udp, ct: [new], action: accept}\n"
    "    - {name: web, proto: tcp, dport: 80, ct: [new], action: accept}\n";

/// Gives all workers an order, one after the other, and takes what they answer.
struct Answer {
    std::vector<ConnQuery::Row> rows;
    std::uint64_t ended = 0;
};
Answer order(World& world, const ConnFilter& filter,
             ConnQuery::Action what = ConnQuery::Action::list) {
    Answer answer;
    for (unsigned w = 0; w < world.fw().workers(); ++w) {
        ConnQuery& m = world.fw().worker(w).requests().conn_query();
        m.action = what;
        m.filter = filter;
        m.cursor = 1;
        m.matched = 0;
        m.state.store(ConnQuery::asked, std::memory_order_release);
        ConnQuery::Row row;
        while (m.state.load(std::memory_order_acquire) == ConnQuery::asked) {
            world.turn();
            while (m.rows.pop(row))
                answer.rows.push_back(row);
        }
        answer.ended += m.matched;
        m.state.store(ConnQuery::idle);
    }
    return answer;
}
std::string ports(const Answer& answer) {
    std::set<unsigned> found;
    for (const auto& row : answer.rows)
        found.insert(row.conn.dport.host());
    std::string text;
    for (const unsigned port : found)
        text += (text.empty() ? "" : " ") + std::to_string(port);
    return text;
}

class ConnQueries : public ::testing::TestWithParam<unsigned> {
  protected:
    void SetUp() override {
        // 21: helped, marked; 50000: its child; 53: unanswered; 54: answered, IPv6; 80: half-open.
        ASSERT_TRUE(control_.open());
        ASSERT_TRUE(control_.server("220 ready\r\n"));
        ASSERT_TRUE(control_.client("EPSV\r\n"));
        ASSERT_TRUE(control_.server("229 ok (|||50000|)\r\n"));
        ASSERT_TRUE(Talk(world_, flow("192.0.2.1", 41000, "192.0.2.2", 50000)).open());
        ASSERT_TRUE(world_.from_inside(frames::udp(flow("192.0.2.3", 4000, "192.0.2.2", 53))));
        const auto v6 = flow("2001:db8::1", 4000, "2001:db8::2", 54);
        ASSERT_TRUE(world_.from_inside(frames::udp(v6)));
        ASSERT_TRUE(world_.from_outside(frames::udp(v6.back())));
        ASSERT_TRUE(world_.from_inside(
            frames::tcp(flow("192.0.2.1", 4001, "198.51.100.1", 80), {.flags = 0x02})));
    }
    std::string list(const ConnFilter& f) { return ports(order(world_, f)); }

    World world_{kPolicy, GetParam()};
    Talk control_{world_, flow("192.0.2.1", 40000, "192.0.2.2", 21)};
};
INSTANTIATE_TEST_SUITE_P(Workers, ConnQueries, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(ConnQueries, ListsWhatTheFilterMeans) {
    const ConnId master = world_.connection(21)->id;
    EXPECT_EQ(list({}), "21 53 54 80 50000");
    EXPECT_EQ(list({.ct_zone = CtZone{0}}), "21 53 54 80 50000");
    EXPECT_EQ(list({.ct_zone = CtZone{1}}), "");
    EXPECT_EQ(list({.family = Family::ipv6}), "54");
    EXPECT_EQ(list({.protocol = proto::tcp}), "21 80 50000");
    EXPECT_EQ(list({.src = Prefix::parse("192.0.2.1/32")}), "21 80 50000");
    EXPECT_EQ(list({.dst = Prefix::parse("198.51.0.0/16")}), "80");
    EXPECT_EQ(list({.dst = Prefix::parse("2001:db8::/32")}), "54");
    EXPECT_EQ(list({.sport = Interval::of(4000)}), "53 54");
    EXPECT_EQ(list({.sport = Interval::of(4000), .dport = Interval::of(53)}), "53");
    EXPECT_EQ(list({.state = CtState::fresh}), "53 80");
    EXPECT_EQ(list({.state = CtState::established}), "21 54 50000");
    EXPECT_EQ(list({.state_name = "syn_sent"}), "80");
    EXPECT_EQ(list({.mark = 0x10, .mark_mask = 0xf0}), "21 50000");
    EXPECT_EQ(list({.mark = 0, .mark_mask = 0xf0}), "53 54 80");
    EXPECT_EQ(list({.label = 3, .label_mask = ~0u}), "21 50000");
    EXPECT_EQ(list({.assured = true}), "21 50000");
    EXPECT_EQ(list({.helper = HelperId{1}}), "21");
    EXPECT_EQ(list({.expected_by = HelperId{1}}), "50000");
    EXPECT_EQ(list({.master = master}), "50000");
    EXPECT_EQ(list({.rule = RuleId{2}}), "53 54");
}

TEST_P(ConnQueries, EndsWhatTheFilterMeansAndNothingElse) {
    // A pending expectation goes with its master; a child that runs does not.
    ASSERT_TRUE(control_.client("EPSV\r\n"));
    ASSERT_TRUE(control_.server("229 ok (|||50001|)\r\n"));
    ASSERT_EQ(world_.fw().expectations().live(), 1u);
    EXPECT_EQ(order(world_, {.helper = HelperId{1}}, ConnQuery::Action::end).ended, 1u);
    EXPECT_EQ(list({}), "53 54 80 50000");
    EXPECT_EQ(world_.fw().expectations().live(), 0u);
    EXPECT_EQ(order(world_, {.protocol = proto::sctp}, ConnQuery::Action::end).ended, 0u);
    EXPECT_EQ(order(world_, {}, ConnQuery::Action::end).ended, 4u);
    EXPECT_EQ(list({}), "");
    EXPECT_EQ(world_.sum(&WorkerCounters::connections_ended), 5u);
}

TEST(OrdersAtSize, AllRowsComeThoughTheRingIsSmallerThanTheTable) {
    World world(kPolicy, 1, "", "connections: 4096, expectations: 64, helped_connections: 64");
    for (unsigned i = 0; i < 3000; ++i)
        ASSERT_TRUE(world.from_inside(frames::udp(flow("192.0.2.1", 1024 + i, "192.0.2.2", 53))));
    ConnQuery& m = world.fw().worker(0).requests().conn_query();
    m.state.store(ConnQuery::asked);
    // Control does not read: the worker stops at the ring's end, and each turn is short.
    for (unsigned turn = 0; turn < 100; ++turn)
        world.turn();
    EXPECT_EQ(m.state.load(), ConnQuery::asked);
    EXPECT_EQ(m.cursor, ConnQuery::kRows + 1);
    // 500 end meanwhile, and 500 come; who was there all the time is listed exactly once.
    std::map<unsigned, unsigned> seen;
    ConnQuery::Row row;
    bool changed = false;
    while (m.state.load() == ConnQuery::asked) {
        while (m.rows.pop(row))
            ++seen[row.conn.sport.host()];
        if (!std::exchange(changed, true))
            for (unsigned i = 0; i < 500; ++i) {
                const auto c = world.fw().worker(0).conns().at(2501 + i).sport.host();
                ASSERT_GE(c, 1024u);
                world.fw().worker(0).tracking().end(2501 + i, ConnEnd::control);
                ASSERT_TRUE(
                    world.from_inside(frames::udp(flow("192.0.2.9", 40000 + i, "192.0.2.2", 53))));
            }
        world.turn();
    }
    while (m.rows.pop(row))
        ++seen[row.conn.sport.host()];
    for (unsigned i = 0; i < 2500; ++i)
        EXPECT_EQ(seen[1024 + i], 1u) << i;
    std::uint64_t rows = 0;
    for (const auto& [port, n] : seen)
        rows += n;
    EXPECT_EQ(rows, 3000u);
}

TEST(OrdersAtSize, ACancelledOrderEndsAtOnce) {
    World world(kPolicy, 1);
    ConnQuery& m = world.fw().worker(0).requests().conn_query();
    m.state.store(ConnQuery::asked);
    m.cancelled.store(true);
    world.turn();
    EXPECT_EQ(m.state.load(), ConnQuery::answered);
    EXPECT_EQ(m.cursor, 1u);
}

// ---- events ----

class Events : public ::testing::TestWithParam<unsigned> {
  protected:
    World world_{kPolicy, GetParam(), "", World::kLimits, "", 64};

    void listen(bool on) {
        for (unsigned w = 0; w < GetParam(); ++w)
            world_.fw().worker(w).tracking().listen(on ? ConnEvents::all : ConnEvents::none);
        world_.turn();
    }
    /// "new 80 syn_sent; update 80 syn_recv; destroy 80 expired" …
    std::string told() {
        std::string text;
        ConnEvent e;
        for (unsigned w = 0; w < GetParam(); ++w)
            while (world_.fw().worker(w).tracking().events().pop(e)) {
                text += (text.empty() ? "" : "; ") + std::string(to_string(e.type)) + " " +
                        std::to_string(e.conn.dport.host());
                if (e.type == ConnEventType::destroy)
                    text += " " + std::string(to_string(e.end));
                else if (e.conn.protocol() == proto::tcp)
                    text += std::string(" ") + e.conn.state_name();
                EXPECT_EQ(e.worker, WorkerId::from(w));
            }
        return text;
    }
};
INSTANTIATE_TEST_SUITE_P(Workers, Events, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(Events, NothingIsToldWhileNobodyListens) {
    ASSERT_TRUE(world_.from_inside(frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", 53))));
    EXPECT_EQ(told(), "");
    listen(true);
    ASSERT_TRUE(world_.from_inside(frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", 54))));
    EXPECT_EQ(told(), "new 54");
    listen(false);
    ASSERT_TRUE(world_.from_inside(frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", 55))));
    EXPECT_EQ(told(), "");
}

TEST_P(Events, TellsEachChangeOfState) {
    listen(true);
    Talk talk(world_, flow("192.0.2.1", 4000, "192.0.2.2", 80));
    ASSERT_TRUE(talk.open());
    EXPECT_EQ(told(), "new 80 syn_sent; update 80 syn_recv; update 80 established");
    ASSERT_TRUE(talk.client("GET"));
    ASSERT_TRUE(talk.server("200"));
    EXPECT_EQ(told(), "") << "data changes nothing";
    ASSERT_TRUE(talk.packet(Direction::original, 0x11));
    EXPECT_EQ(told(), "update 80 fin_wait");
    const auto dns = flow("192.0.2.1", 4000, "192.0.2.2", 53);
    ASSERT_TRUE(world_.from_inside(frames::udp(dns)));
    ASSERT_TRUE(world_.from_outside(frames::udp(dns.back())));
    ASSERT_TRUE(world_.from_outside(frames::udp(dns.back())));
    EXPECT_EQ(told(), "new 53; update 53") << "the first reply";
}

TEST_P(Events, TellsWhyAConnectionEnded) {
    listen(true);
    ASSERT_TRUE(world_.from_inside(frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", 53))));
    world_.pass(6000);
    EXPECT_EQ(told(), "new 53; destroy 53 expired");
    Talk refused(world_, flow("192.0.2.1", 4000, "192.0.2.2", 80));
    ASSERT_TRUE(refused.packet(Direction::original, 0x02));
    ASSERT_TRUE(refused.packet(Direction::reply, 0x14));
    EXPECT_EQ(told(), "new 80 syn_sent; destroy 80 closed");
    ASSERT_TRUE(world_.from_inside(frames::udp(flow("192.0.2.1", 4000, "192.0.2.2", 54))));
    order(world_, {}, ConnQuery::Action::end);
    EXPECT_EQ(told(), "new 54; destroy 54 control");
}

TEST_P(Events, WhatDoesNotFitIsCounted) {
    listen(true);
    for (unsigned i = 0; i < 600; ++i)
        ASSERT_TRUE(world_.from_inside(frames::udp(flow("192.0.2.1", 4000 + i, "192.0.2.2", 53))));
    std::uint64_t kept = 0, lost = 0;
    ConnEvent e;
    for (unsigned w = 0; w < GetParam(); ++w) {
        lost += world_.fw().worker(w).tracking().events().lost();
        while (world_.fw().worker(w).tracking().events().pop(e))
            ++kept;
    }
    EXPECT_EQ(kept, 64u * GetParam());
    EXPECT_EQ(kept + lost, 600u);
}

}  // namespace
}  // namespace postern
