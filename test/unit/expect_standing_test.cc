// SPDX-License-Identifier: BSD-3-Clause
// What a master that is not proven yet announces takes nothing away from others, and neither does
// what is about other zones.
#include <gtest/gtest.h>

#include "support/expect_fixture.h"

namespace postern {
namespace {

const IpAddr kClient = IpAddr::v4(192, 0, 2, 1), kServer = IpAddr::v4(198, 51, 100, 9);

class Standings : public testing::Test {
  protected:
    void make(ExpectConfig c) {
        c.owners = 2;
        c.rcu = rcu.get();
        c.secret = HashSecret::from_seed(7);
        c.per_owner = 256;
        c.max_unproven = 128;
        table = make_table(c);
        honest.unproven = false;
        for (MasterExpectations& m : forged)
            m.unproven = true;
    }
    void TearDown() override {
        owner().remove_all(honest, ExpectEnd::master_end, turn());
        for (MasterExpectations& m : forged)
            owner().remove_all(m, ExpectEnd::master_end, turn());
        for (int i = 0; i < 4; ++i)
            for (unsigned o = 0; o < 2; ++o) {
                table->owner(static_cast<OwnerId>(o)).tick(turn());
                rcu.all_quiescent();
            }
        EXPECT_EQ(table->live(), 0u);
        EXPECT_EQ(table->live_in_zone({}), 0u);
        rcu.all_offline();
        table.reset();
    }

    ExpectOwner& owner() { return table->owner(0); }
    static ExpectTurn turn() { return {Tick{1000}}; }
    static ExpectRequest request(std::uint16_t port, std::uint32_t master) {
        ExpectRequest r;
        r.protocol = proto::udp;
        r.src = Prefix::exact(kServer);
        r.dst = kClient;
        r.dport = Be16::from_host(port);
        r.master = {master, 1, {}};
        r.master_tuple = {kClient, kServer, Be16::from_host(5060), Be16::from_host(5060),
                          proto::udp};
        r.helper = 1;
        r.timeout_ms = 60'000;
        return r;
    }
    InsertOutcome file(const ExpectRequest& r, MasterExpectations& m) {
        return owner().insert(r, &m, turn()).outcome;
    }
    /// Of a packet to this port between these sides.
    ExpectAnswer ask(std::uint16_t port, EdgeId from, EdgeId to) {
        const Tuple t{kServer, kClient, Be16::from_host(9), Be16::from_host(port), proto::udp};
        ExpectProbe p = table->probe({}, t);
        p.from_side = from;
        p.to_side = to;
        ExpectMatch match;
        return table->peek(p, t, Tick{1000}, match);
    }

    Rcu rcu{2};
    std::unique_ptr<ExpectTable> table;
    MasterExpectations honest, forged[80];
};

TEST_F(Standings, UnprovenOnesUseUpNobodysShare) {
    make({.max_per_zone = 10, .max_per_host = 10});
    for (std::uint16_t i = 0; i < 60; ++i)
        ASSERT_EQ(file(request(2000 + i, 100u + i), forged[i]), InsertOutcome::created);
    EXPECT_EQ(table->live_in_zone({}), 0u);
    for (std::uint16_t i = 0; i < 10; ++i)
        EXPECT_EQ(file(request(3000 + i, 1), honest), InsertOutcome::created);
    EXPECT_EQ(file(request(3999, 1), honest), InsertOutcome::limit_zone);
}

TEST_F(Standings, OnceProvenTheyCountForTheirShare) {
    make({.max_per_zone = 0, .max_per_host = 10});
    for (std::uint16_t i = 0; i < 3; ++i)
        ASSERT_EQ(file(request(2000 + i, 100), forged[0]), InsertOutcome::created);
    for (std::uint16_t i = 0; i < 8; ++i)
        ASSERT_EQ(file(request(3000 + i, 1), honest), InsertOutcome::created);
    owner().promote(forged[0], turn());
    EXPECT_EQ(forged[0].pending(), 2u) << "the host may have ten";
    EXPECT_EQ(table->live_in_zone({}), 10u);
    EXPECT_EQ(file(request(3999, 1), honest), InsertOutcome::limit_host);
}

TEST_F(Standings, AnAccountIsClosedByWhoeverEndsIt) {
    make({.max_per_zone = 10});
    for (std::uint16_t i = 0; i < 3; ++i)
        ASSERT_EQ(file(request(2000 + i, 100), forged[0]), InsertOutcome::created);
    // Another worker's child takes one before the master is proven, and one after.
    ExpectMatch match;
    const auto claim = [&](std::uint16_t port) {
        const Tuple t{kServer, kClient, Be16::from_host(9), Be16::from_host(port), proto::udp};
        return postern::claim(*table, table->owner(1), table->probe({}, t), t, turn(), match);
    };
    ASSERT_TRUE(claim(2000));
    EXPECT_EQ(table->live_in_zone({}), 0u);
    owner().promote(forged[0], turn());
    EXPECT_EQ(table->live_in_zone({}), 2u);
    ASSERT_TRUE(claim(2001));
    EXPECT_EQ(table->live_in_zone({}), 1u);
    owner().remove_all(forged[0], ExpectEnd::master_end, turn());
    EXPECT_EQ(table->live_in_zone({}), 0u);
}

TEST_F(Standings, UnprovenOnesForbidNothing) {
    make({});
    constexpr EdgeId kInside{0}, kOutside{1}, kGuests{2};
    ExpectRequest r = request(51820, 100);
    r.from_side = kGuests;
    r.to_side = kInside;
    ASSERT_EQ(file(r, forged[0]), InsertOutcome::created);
    EXPECT_EQ(ask(51820, kGuests, kInside), ExpectAnswer::match);
    EXPECT_EQ(ask(51820, kOutside, kInside), ExpectAnswer::none) << "policy decides";
    owner().promote(forged[0], turn());
    EXPECT_EQ(ask(51820, kOutside, kInside), ExpectAnswer::wrong_zone);
}

TEST_F(Standings, OtherZonesAreNotInTheWay) {
    make({});
    constexpr EdgeId kInside{0}, kOutside{1}, kLab{2}, kLabOutside{3};
    ExpectRequest lab = request(50000, 2), own = request(50000, 1);
    lab.from_side = kLabOutside, lab.to_side = kLab;
    own.from_side = kOutside, own.to_side = kInside;
    MasterExpectations other;
    ASSERT_EQ(file(lab, other), InsertOutcome::created);
    EXPECT_EQ(file(own, honest), InsertOutcome::created);
    EXPECT_EQ(ask(50000, kOutside, kInside), ExpectAnswer::match);
    EXPECT_EQ(ask(50000, kLabOutside, kLab), ExpectAnswer::match);
    EXPECT_EQ(ask(50000, kLabOutside, kInside), ExpectAnswer::wrong_zone);
    ExpectRequest same = request(50000, 3);
    same.from_side = kOutside, same.to_side = kInside;
    EXPECT_EQ(file(same, forged[0]), InsertOutcome::already);
    owner().remove_all(other, ExpectEnd::master_end, turn());
}

TEST_F(Standings, ForgedOnesOfADestinationShutNoHonestOneOut) {
    make({.max_per_destination = 8});
    for (std::uint32_t i = 0; i < 8; ++i) {
        ExpectRequest r = request(4000, 100 + i);
        r.flags |= expect_flag::beside;
        r.timeout_ms = 10'000 + i;
        ASSERT_EQ(file(r, forged[i]), InsertOutcome::created);
    }
    ExpectRequest r = request(4000, 50);
    r.flags |= expect_flag::beside;
    EXPECT_EQ(file(r, forged[20]), InsertOutcome::created) << "the one that ends first gives way";
    EXPECT_EQ(forged[0].pending(), 0u);
    EXPECT_EQ(table->live(), 8u);
}

}  // namespace
}  // namespace postern
