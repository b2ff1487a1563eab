// SPDX-License-Identifier: BSD-3-Clause
// Records of a file that are put back in batches, on the workers that are their homes.
#include "restorer.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kPolicy =
    "helpers: [{name: ftp}]\n"
    "policy: {rules: [{name: out, from: inside, ct: [new], action: accept, helper: ftp,"
    " proto: tcp, dport: 21}, {name: all, from: inside, ct: [new], action: accept}]}\n";
constexpr const char* kRoom = "connections: 32768, expectations: 256, helped_connections: 64";

class RestorerTest : public ::testing::TestWithParam<unsigned> {
  protected:
    RestorerTest() : world_(kPolicy, GetParam(), {}, kRoom), requests_(world_.fw()) { begin(0); }
    void begin(std::uint32_t elapsed_ms) {
        restorer_.emplace(world_.fw(), requests_, elapsed_ms, [this] { return world_.now; });
    }
    /// A connection of a client with this number, with the id 0/(number+1).1 of an earlier run.
    static SavedConnection saved(std::uint32_t number, std::uint8_t protocol = proto::udp) {
        SavedConnection s;
        Conn& c = s.image.conn;
        c.key.family = 4;
        c.key.protocol = protocol;
        c.src[0] = 10;
        c.src[1] = static_cast<std::uint8_t>(number >> 16);
        c.src[2] = static_cast<std::uint8_t>(number >> 8);
        c.src[3] = static_cast<std::uint8_t>(number);
        c.dst[0] = 192;
        c.sport = Be16::from_host(1000);
        c.dport = Be16::from_host(2000);
        c.rule = RuleId{1};
        c.flags = conn_flag::seen_reply | conn_flag::assured;
        c.state = protocol == proto::tcp ? static_cast<std::uint8_t>(TcpState::established) : 1;
        c.set_edges({EdgeId{0}, EdgeId{1}});
        s.id = id_of(number);
        return s;
    }
    static decltype(SavedConnection::id) id_of(std::uint32_t number) {
        return {number + 1, 1, WorkerId{0}};
    }
    static SavedConnection child(std::uint32_t number, std::uint32_t of) {
        SavedConnection s = saved(number);
        s.master = id_of(of);
        return s;
    }
    static SavedConnection ftp(std::uint32_t number) {
        SavedConnection s = saved(number, proto::tcp);
        s.image.conn.rule = RuleId{0};
        s.image.conn.dport = Be16::from_host(21);
        s.image.helper.there = true;
        s.image.helper.conn.helper = 1;
        return s;
    }
    static SavedExpectation expected_by(std::uint32_t master, std::uint16_t port) {
        SavedExpectation s;
        s.request.protocol = proto::tcp;
        s.request.src = Prefix::exact(IpAddr::v4(10, 0, 0, 9));
        s.request.dst = IpAddr::v4(192, 0, 0, 0);
        s.request.dport = Be16::from_host(port);
        s.request.helper = 1;
        s.request.timeout_ms = 60'000;
        s.master = id_of(master);
        return s;
    }
    /// Turns of all workers until everything has an outcome; false: it never has.
    bool finish() {
        restorer_->finish();
        for (unsigned turn = 0; turn < 10'000; ++turn) {
            restorer_->step();
            if (restorer_->done()) return true;
            world_.turn();
        }
        return false;
    }
    /// The restored connection of a client; none: its Conn is not alive.
    World::Found find(std::uint32_t number) {
        const Conn want = saved(number).image.conn;
        for (unsigned w = 0; w < world_.fw().workers(); ++w) {
            ConnTable& t = world_.fw().worker(w).conns();
            for (std::uint32_t s = 1; s <= t.capacity(); ++s)
                if (t.at(s).alive() && std::ranges::equal(t.at(s).src, want.src))
                    return {w, t.id_of(s), t.at(s)};
        }
        return {};
    }
    std::uint64_t outcome(const char* name) {
        const auto all = restorer_->summary().connections;
        return all.contains(name) ? all.at(name) : 0;
    }
    std::uint64_t expect_outcome(const char* name) {
        const auto all = restorer_->summary().expectations;
        return all.contains(name) ? all.at(name) : 0;
    }

    World world_;
    WorkerRequests requests_;
    std::optional<Restorer> restorer_;
};

TEST_P(RestorerTest, ThousandsAreRestoredEachAtItsHome) {
    constexpr std::uint32_t kMany = 20'000;
    for (std::uint32_t i = 0; i < kMany; ++i) {
        while (!restorer_->has_room()) {
            world_.turn();
            restorer_->step();
        }
        restorer_->add(saved(i));
    }
    ASSERT_TRUE(finish());
    EXPECT_EQ(outcome("restored"), kMany);
    EXPECT_EQ(restorer_->summary().restored, kMany);
    EXPECT_EQ(restorer_->summary().records, kMany);
    for (const std::uint32_t i : {0u, 1u, 511u, 512u, 513u, 7777u, kMany - 1}) {
        const auto found = find(i);
        ASSERT_TRUE(found.conn.alive()) << i;
        EXPECT_EQ(WorkerId::from(found.worker), home_of(world_.fw().steering(), found.conn)) << i;
    }
}

TEST_P(RestorerTest, ATurnTakesABoundedNumber) {
    for (std::uint32_t i = 0; i < 2000; ++i)
        restorer_->add(saved(i));
    for (unsigned w = 0; w < world_.fw().workers(); ++w) {
        Worker& worker = world_.fw().worker(w);
        const std::uint64_t before = worker.conns().count().get();
        worker.begin_turn(world_.now);
        worker.answer_requests();
        EXPECT_EQ(worker.conns().count().get() - before, 32u);
    }
    EXPECT_TRUE(finish());
    EXPECT_EQ(outcome("restored"), 2000u);
}

TEST_P(RestorerTest, ChildrenWaitForTheirMastersOnAnyWorker) {
    constexpr std::uint32_t kPairs = 40;
    // Children first, and a chain: 3 is a child of 2, which is a child of 1.
    for (std::uint32_t i = 0; i < kPairs; ++i)
        restorer_->add(child(100 + i, 200 + i));
    restorer_->add(child(3, 2));
    restorer_->add(child(2, 1));
    for (std::uint32_t i = 0; i < kPairs; ++i)
        restorer_->add(saved(200 + i));
    restorer_->add(saved(1));
    ASSERT_TRUE(finish());
    EXPECT_EQ(outcome("restored"), 2 * kPairs + 3);
    bool elsewhere = false;
    for (std::uint32_t i = 0; i < kPairs; ++i) {
        const auto of = find(200 + i), has = find(100 + i);
        EXPECT_EQ(has.conn.master, of.id) << i;
        elsewhere = elsewhere || has.worker != of.worker;
    }
    EXPECT_EQ(elsewhere, GetParam() != 1);
    EXPECT_EQ(find(3).conn.master, find(2).id);
    EXPECT_EQ(find(2).conn.master, find(1).id);
}

TEST_P(RestorerTest, ChildrenThatComeLaterFindAMasterWithAHelper) {
    restorer_->add(ftp(1));
    for (unsigned i = 0; i < 5; ++i) {
        restorer_->step();
        world_.turn();
    }
    restorer_->step();
    ASSERT_EQ(outcome("restored"), 1u);
    restorer_->add(child(2, 1));
    restorer_->add(expected_by(1, 3000));
    ASSERT_TRUE(finish());
    EXPECT_EQ(find(2).conn.master, find(1).id);
    EXPECT_EQ(expect_outcome("restored"), 1u);
    EXPECT_EQ(world_.fw().expectations().live(), 1u);
}

TEST_P(RestorerTest, WithoutItsMasterAConnectionGoesOnAndAnExpectationDoesNot) {
    restorer_->add(child(1, 77));
    restorer_->add(child(2, 1));  // its master is there, only later
    restorer_->add(expected_by(78, 3000));
    ASSERT_TRUE(finish());
    EXPECT_EQ(outcome("restored"), 2u);
    EXPECT_FALSE(find(1).conn.master);
    EXPECT_EQ(find(2).conn.master, find(1).id);
    EXPECT_EQ(expect_outcome("master_gone"), 1u);
    EXPECT_EQ(restorer_->summary().records, 3u);
}

TEST_P(RestorerTest, MastersInACircleEndTheWaiting) {
    restorer_->add(child(1, 2));
    restorer_->add(child(2, 1));
    restorer_->add(child(3, 3));
    ASSERT_TRUE(finish());
    EXPECT_EQ(outcome("restored"), 3u);
}

TEST_P(RestorerTest, WhatCannotBePlacedIsCountedByItsCause) {
    restorer_->add(saved(1));
    restorer_->add(saved(1));
    SavedConnection old = saved(2);
    old.idle_ms = 3'000'000;
    restorer_->add(old);
    SavedConnection forgets = saved(3);
    forgets.forgets = true;
    restorer_->add(forgets);
    ASSERT_TRUE(finish());
    const Outcomes expected{{"restored", 1}, {"exists", 1}, {"expired", 1}, {"without_helper", 1}};
    EXPECT_EQ(restorer_->summary().connections, expected);
    EXPECT_EQ(restorer_->summary().records, 4u);
    EXPECT_EQ(restorer_->summary().restored, 2u);
}

TEST_P(RestorerTest, SilenceCountsFromTheSaveAndNotWhileOthersAreRestored) {
    // A stream of UDP has 120 s.
    begin(60'000);
    SavedConnection a = saved(1), b = saved(2), c = saved(3);
    a.idle_ms = 59'999;
    b.idle_ms = 60'000;
    c.idle_ms = 59'999;
    restorer_->add(a);
    restorer_->add(b);
    for (unsigned i = 0; i < 4; ++i) {
        world_.turn();
        restorer_->step();
    }
    EXPECT_EQ(outcome("restored"), 1u);
    EXPECT_EQ(outcome("expired"), 1u);
    world_.now = world_.now + 500'000;  // that long the others took
    restorer_->add(c);
    ASSERT_TRUE(finish());
    EXPECT_EQ(outcome("restored"), 2u);
}

TEST_P(RestorerTest, ExpectationsKeepWhatTheyHadLeftAtTheSaveLessTheTimeSince) {
    begin(20'000);
    restorer_->add(ftp(1));
    SavedExpectation over = expected_by(1, 3001), left = expected_by(1, 3000);
    over.request.timeout_ms = 20'000;
    left.request.timeout_ms = 25'000;
    restorer_->add(over);
    restorer_->add(left);
    ASSERT_TRUE(finish());
    EXPECT_EQ(expect_outcome("expired"), 1u);
    EXPECT_EQ(expect_outcome("restored"), 1u);
    world_.pass(4'500);
    EXPECT_EQ(world_.fw().expectations().live(), 1u);
    world_.pass(1'000);
    EXPECT_EQ(world_.fw().expectations().live(), 0u);
}

TEST(Elapsed, IsBoundedWhateverTheClockDid) {
    const auto by_wall = [](std::int64_t saved_ms, std::int64_t now_ms) {
        return elapsed_between({.saved_ms = saved_ms, .boot_ms = 5, .boot_id = "one"},
                               {.saved_ms = now_ms, .boot_ms = 9, .boot_id = "two"});
    };
    EXPECT_EQ(by_wall(1'000'000, 1'030'000), 30'000u);
    EXPECT_EQ(by_wall(1'000'000, 999'000), 0u);  // set back
    EXPECT_EQ(by_wall(0, std::int64_t{1} << 51), kMaxByWallClockMs);
    EXPECT_EQ(by_wall(std::int64_t{1} << 52, 0), 0u);
    // Files without a boot id.
    EXPECT_EQ(elapsed_between({.saved_ms = 10}, {.saved_ms = 30, .boot_ms = 7, .boot_id = "two"}),
              20u);
    EXPECT_EQ(elapsed_between({.saved_ms = 10}, {.saved_ms = 30}), 20u);
}

TEST(Elapsed, IsExactUntilTheMachineRestarts) {
    const StateHeader saved{.saved_ms = 1'000'000, .boot_ms = 5'000, .boot_id = "one"};
    const auto after = [&](std::int64_t wall_ms, std::int64_t boot_ms) {
        return elapsed_between(saved, {.saved_ms = wall_ms, .boot_ms = boot_ms, .boot_id = "one"});
    };
    EXPECT_EQ(after(1, 25'000), 20'000u);                      // the wall clock was set back
    EXPECT_EQ(after(std::int64_t{1} << 51, 25'000), 20'000u);  // and forward
    EXPECT_EQ(after(1'000'000, 36'005'000), 36'000'000u);      // ten hours
    EXPECT_EQ(after(1'000'000, 4'000), 0u);
    EXPECT_EQ(after(1'000'000, std::int64_t{1} << 51), kMaxSinceSaveMs);
    const StateHeader now = present_times();
    EXPECT_FALSE(now.boot_id.empty());
    EXPECT_LT(elapsed_between(now, present_times()), 60'000u);
}

TEST_P(RestorerTest, RemovedNamesKeepTheirNumbersMeanwhile) {
    Firewall& fw = world_.fw();
    const auto with_rule = [](const char* name) {
        return World::with_two_ports(std::string("policy: {rules: [{name: ") + name +
                                         ", from: inside, ct: [new], action: accept}]}\n",
                                     {}, kRoom);
    };
    ASSERT_TRUE(world_.replace(with_rule("second")));
    const auto swept = [&] {
        for (unsigned i = 0; i < 1000; ++i)
            world_.turn();
        return fw.plan().names.rules.is_gone(1);
    };
    ASSERT_TRUE(swept());
    EXPECT_TRUE(fw.next_names().rules.is_gone(1));  // the restorer that is there holds it
    restorer_.reset();
    EXPECT_FALSE(fw.next_names().rules.is_gone(1));
}

TEST_P(RestorerTest, AClientThatGoesLeavesItsRequestsBehind) {
    for (std::uint32_t i = 0; i < 100; ++i)
        restorer_->add(ftp(i));
    restorer_.reset();  // the workers have not read the helpers' state yet
    begin(0);
    restorer_->add(saved(500));
    ASSERT_TRUE(finish());
    EXPECT_EQ(restorer_->summary().records, 1u);
    EXPECT_TRUE(find(99).conn.alive());
    EXPECT_TRUE(find(500).conn.alive());
}

TEST_P(RestorerTest, BeforeTheWorkersRunControlAnswersInTheirPlace) {
    for (std::uint32_t i = 0; i < 3000; ++i)
        restorer_->add(saved(i));
    restorer_->add(child(5000, 5001));
    restorer_->add(ftp(5001));
    restorer_->add(expected_by(5001, 3000));
    restorer_->finish();
    for (unsigned i = 0; i < 1000 && !restorer_->done(); ++i) {
        requests_.answer_here(world_.now);
        restorer_->step();
    }
    ASSERT_TRUE(restorer_->done());
    EXPECT_EQ(outcome("restored"), 3002u);
    EXPECT_EQ(find(5000).conn.master, find(5001).id);
    EXPECT_EQ(world_.fw().expectations().live(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Workers, RestorerTest, ::testing::Values(1u, 3u));

}  // namespace
}  // namespace postern
