// SPDX-License-Identifier: BSD-3-Clause
// Expectations that belong to calls of a master: limits, ends and identical ones by call.
#include <string>

#include <gtest/gtest.h>

#include "support/expect_fixture.h"

namespace postern {
namespace {

const IpAddr kPhone = IpAddr::v4(192, 0, 2, 1), kExchange = IpAddr::v4(198, 51, 100, 9);

class Calls : public testing::Test {
  protected:
    static constexpr std::uint32_t kTimeout = 180'000;

    void SetUp() override {
        ExpectConfig c;
        c.owners = 2;
        c.rcu = rcu.get();
        c.secret = HashSecret::from_seed(7);
        c.per_owner = 4096;
        c.max_unproven = 64;
        table = make_table(c);
    }
    void TearDown() override {
        owner().remove_all(trunk, ExpectEnd::master_end, turn());
        owner().remove_all(other, ExpectEnd::master_end, turn());
        for (int i = 0; i < 4; ++i) {
            owner().tick(turn());
            rcu.all_quiescent();
        }
        EXPECT_EQ(table->live(), 0u);
        EXPECT_EQ(owner().free_objects(), 4096u);
        rcu.all_offline();
        table.reset();
    }

    ExpectOwner& owner() { return table->owner(0); }
    ExpectTurn turn() { return {now}; }
    static Tuple media(std::uint16_t port, const IpAddr& dst = kPhone) {
        return {dst == kPhone ? kExchange : kPhone, dst, Be16::from_host(9), Be16::from_host(port),
                proto::udp};
    }
    ExpectRequest hole(std::uint16_t port, std::uint32_t call, std::uint32_t tag = 1,
                       const IpAddr& dst = kPhone) {
        ExpectRequest r;
        r.protocol = proto::udp;
        r.src = Prefix::exact(dst == kPhone ? kExchange : kPhone);
        r.dst = dst;
        r.dport = Be16::from_host(port);
        r.master = {1, 1, {}};
        r.helper = 1;
        r.call = call;
        r.tag = tag;
        r.class_max = 4;
        r.flags |= expect_flag::skip_master;
        r.timeout_ms = kTimeout;
        return r;
    }
    InsertOutcome file(const ExpectRequest& r) { return owner().insert(r, &trunk, turn()).outcome; }
    bool open(std::uint16_t port, const IpAddr& dst = kPhone) {
        ExpectInfo info;
        const Tuple t = media(port, dst);
        return table->find(table->probe({}, t), t, now, info);
    }
    bool claim(std::uint16_t port) {
        ExpectMatch match;
        const Tuple t = media(port);
        return postern::claim(*table, table->owner(1), table->probe({}, t), t, turn(), match);
    }

    Rcu rcu{2};
    std::unique_ptr<ExpectTable> table;
    MasterExpectations trunk, other;
    Tick now{1000};
};

TEST_F(Calls, HaveLimitsOfTheirOwn) {
    for (unsigned call = 1; call <= 300; ++call)
        for (unsigned i = 0; i < 4; ++i)
            ASSERT_EQ(file(hole(static_cast<std::uint16_t>(10000 + 4 * call + i), call)),
                      InsertOutcome::created);
    EXPECT_EQ(trunk.pending(), 1200u);
    EXPECT_EQ(trunk.count[0], 1200u);  // more than a byte holds
    ASSERT_EQ(file(hole(5000, 7)), InsertOutcome::created);
    EXPECT_EQ(trunk.pending(), 1200u);
    EXPECT_FALSE(open(10028)) << "the oldest of that call";
    EXPECT_TRUE(open(10029));
    EXPECT_TRUE(open(10004)) << "older, but another call's";
}

TEST_F(Calls, AnswersDoNotDisplaceTheOffer) {
    ASSERT_EQ(file(hole(5000, 1)), InsertOutcome::created);
    ASSERT_EQ(file(hole(5001, 1)), InsertOutcome::created);
    for (std::uint16_t port = 6000; port < 6010; ++port)
        ASSERT_EQ(file(hole(port, 1, 2, kExchange)), InsertOutcome::created);
    EXPECT_TRUE(open(5000) && open(5001));
    EXPECT_TRUE(open(6009, kExchange) && open(6008, kExchange));
    EXPECT_EQ(trunk.pending(), 4u);
}

TEST_F(Calls, OfAMasterTheOldestGivesWayButWhatIsPermanent) {
    ExpectRequest registered = hole(5060, 1);
    registered.flags = expect_flag::permanent;
    ASSERT_EQ(file(registered), InsertOutcome::created);
    for (unsigned call = 2; call <= 30; ++call) {
        ExpectRequest r = hole(static_cast<std::uint16_t>(10000 + call), call);
        r.master_max = 10;
        ASSERT_EQ(file(r), InsertOutcome::created);
        ASSERT_LE(trunk.pending(), 10u);
    }
    EXPECT_TRUE(open(5060));
    EXPECT_TRUE(open(10030) && open(10022));
    EXPECT_FALSE(open(10021));
    EXPECT_EQ(owner().ended(ExpectEnd::evicted), 20u);
}

TEST_F(Calls, EndAlone) {
    ASSERT_EQ(file(hole(5000, 1, 0x101)), InsertOutcome::created);
    ASSERT_EQ(file(hole(5001, 1, 0x201)), InsertOutcome::created);
    ASSERT_EQ(file(hole(5002, 2, 0x101)), InsertOutcome::created);
    ExpectRequest r = hole(5003, 1, 0x101);
    ASSERT_EQ(owner().insert(r, &other, turn()).outcome, InsertOutcome::created);
    owner().remove(trunk, kAnyExpectClass, 0x101, ExpectEnd::retracted, turn(), 0xf00, 1);
    EXPECT_FALSE(open(5000));
    EXPECT_TRUE(open(5001) && open(5002) && open(5003));
    owner().remove(trunk, kAnyExpectClass, 0x200, ExpectEnd::retracted, turn(), 0xf00, 1, true);
    EXPECT_TRUE(open(5001)) << "only others were to end";
    owner().remove(trunk, kAnyExpectClass, 0x100, ExpectEnd::retracted, turn(), 0xf00, 1, true);
    EXPECT_FALSE(open(5001));
    EXPECT_TRUE(open(5002) && open(5003));
    ASSERT_TRUE(claim(5002));  // by another worker, and still in the call's chain
    owner().remove(trunk, kAnyExpectClass, 0, ExpectEnd::retracted, turn(), ~0u, 2);
    EXPECT_EQ(file(hole(5004, 2)), InsertOutcome::created);
    EXPECT_EQ(trunk.pending(), 1u);
}

TEST_F(Calls, TheLastBranchEndsTheCall) {
    ASSERT_EQ(file(hole(5000, 1, 0x100)), InsertOutcome::created);  // the offer
    ASSERT_EQ(file(hole(6000, 1, 0x101, kExchange)), InsertOutcome::created);
    ASSERT_EQ(file(hole(6001, 1, 0x102, kExchange)), InsertOutcome::created);
    owner().remove_branch(trunk, 1, 2, 0xff, ExpectEnd::retracted, turn());
    EXPECT_TRUE(open(5000) && open(6000, kExchange));
    EXPECT_FALSE(open(6001, kExchange));
    owner().remove_branch(trunk, 1, 1, 0xff, ExpectEnd::retracted, turn());
    EXPECT_EQ(trunk.pending(), 0u);
    EXPECT_FALSE(open(5000));
}

// Two attempts, or two calls, may announce the same address: each ends by its own.
TEST_F(Calls, IdenticalOnesOfOneMasterEndApart) {
    ASSERT_EQ(file(hole(5000, 1, 1)), InsertOutcome::created);
    ASSERT_EQ(file(hole(5000, 1, 2)), InsertOutcome::created);
    ASSERT_EQ(file(hole(5000, 2, 1)), InsertOutcome::created);
    EXPECT_EQ(file(hole(5000, 1, 2)), InsertOutcome::refreshed);
    EXPECT_EQ(trunk.pending(), 3u);
    owner().remove(trunk, kAnyExpectClass, 1, ExpectEnd::retracted, turn(), ~0u, 1);
    EXPECT_TRUE(open(5000));
    // No more than a few: the oldest give way.
    for (std::uint32_t call = 10; call < 100; ++call)
        ASSERT_EQ(file(hole(5000, call, 1)), InsertOutcome::created);
    EXPECT_EQ(trunk.pending(), 4u);
    for (int i = 0; i < 4; ++i)
        EXPECT_TRUE(claim(5000));
    EXPECT_FALSE(claim(5000));
}

TEST_F(Calls, MatchAgainAFewTimesFromOtherPorts) {
    ExpectRequest r = hole(5000, 1);
    r.again = 2;
    ASSERT_EQ(file(r), InsertOutcome::created);
    for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(claim(5000)) << i;
    EXPECT_FALSE(claim(5000));
    EXPECT_EQ(table->owner(1).ended(ExpectEnd::claimed), 1u);
    // A claim proves its master, so those of unproven ones end with it.
    other.unproven = true;
    ASSERT_EQ(owner().insert(r, &other, turn()).outcome, InsertOutcome::created);
    EXPECT_TRUE(claim(5000));
    EXPECT_FALSE(claim(5000));
    ASSERT_EQ(owner().insert(r, &other, turn()).outcome, InsertOutcome::created);
    owner().promote(other, turn());
    for (int i = 0; i < 3; ++i)
        EXPECT_TRUE(claim(5000)) << i;
    EXPECT_FALSE(claim(5000));
    // A new one in the same memory begins anew.
    r.again = 0;
    ASSERT_EQ(file(r), InsertOutcome::created);
    EXPECT_TRUE(claim(5000));
    EXPECT_FALSE(claim(5000));
}

TEST_F(Calls, WhatIsRenewedStands) {
    ExpectRequest r = hole(5060, 1);
    r.flags = expect_flag::permanent | expect_flag::inactive;
    r.flags |= expect_flag::stays;
    ASSERT_EQ(file(r), InsertOutcome::created);
    ASSERT_EQ(file(r), InsertOutcome::refreshed) << "it does not match yet";
    owner().activate(trunk, 0, 1, 60'000, turn(), 1);
    ASSERT_TRUE(open(5060));
    now = now + 50'000;
    ASSERT_EQ(file(r), InsertOutcome::shared);
    EXPECT_TRUE(open(5060));
    now = now + 20'000;  // its own time is over
    owner().tick(turn());
    EXPECT_TRUE(open(5060)) << "until the answer may have come";
    now = now + 20'000;
    EXPECT_FALSE(open(5060));
    ASSERT_EQ(file(r), InsertOutcome::created);
    EXPECT_FALSE(open(5060));
}

TEST_F(Calls, AnotherThreadFindsWhatAMasterHas) {
    ExpectRequest r = hole(5060, 1, 7);
    r.flags = expect_flag::inactive;
    ASSERT_EQ(file(r), InsertOutcome::created);
    const ExpectProbe p = table->probe({}, media(5060));
    EXPECT_FALSE(table->find_of({2, 1, {}}, p, 0, 1, 7));
    EXPECT_FALSE(table->find_of({1, 1, {}}, p, 1, 1, 7));
    EXPECT_FALSE(table->find_of({1, 1, {}}, p, 0, 2, 7));
    EXPECT_FALSE(table->find_of({1, 1, {}}, p, 0, 1, 8));
    EXPECT_FALSE(table->find_of({1, 1, {}}, table->probe({}, media(5061)), 0, 1, 7));
    const ExpectId id = table->find_of({1, 1, {}}, p, 0, 1, 7);
    ASSERT_TRUE(id);
    EXPECT_TRUE(table->owner(1).activate(id));
    EXPECT_TRUE(open(5060));
}

}  // namespace
}  // namespace postern
