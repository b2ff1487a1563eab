// SPDX-License-Identifier: BSD-3-Clause
// Numbers like A.4.1 name the sentence about Linux's expectations that a test holds Postern to.
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "support/expect_fixture.h"

namespace postern {
namespace {

[[maybe_unused]] const auto* const kEal = testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr std::uint32_t kTimeout = 300'000;

IpAddr client(unsigned i) {
    return IpAddr::v4(192, 0, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i));
}
const IpAddr kServer = IpAddr::v4(198, 51, 100, 9);

Tuple tcp(IpAddr src, std::uint16_t sport, IpAddr dst, std::uint16_t dport) {
    return Tuple{src, dst, Be16::from_host(sport), Be16::from_host(dport), proto::tcp};
}
ConnId conn(std::uint32_t index, WorkerId worker = {}) {
    return ConnId{index, 1, worker};
}

/// As FTP's 227: from the client, any port, to the server's announced port.
ExpectRequest ftp(std::uint16_t port, unsigned host = 1, std::uint32_t master = 1) {
    ExpectRequest r;
    r.protocol = proto::tcp;
    r.src = Prefix::exact(client(host));
    r.dst = kServer;
    r.dport = Be16::from_host(port);
    r.master = conn(master);
    r.master_tuple = tcp(client(host), 40000, kServer, 21);
    r.helper = 1;
    r.timeout_ms = kTimeout;
    return r;
}

class ExpectTest : public testing::Test {
  protected:
    void make(ExpectConfig c = {}) {
        c.owners = kOwners;
        c.rcu = rcu.get();
        c.secret = HashSecret::from_seed(7);
        if (c.per_owner == 65536) c.per_owner = 64;
        if (c.event_ring == 0) c.event_ring = 64;
        table = make_table(c);
    }
    void SetUp() override { make(); }
    void TearDown() override {
        rcu.all_offline();
        table.reset();
    }

    ExpectOwner& owner(unsigned i) { return table->owner(static_cast<OwnerId>(i)); }
    ExpectTurn turn() { return {now, ++cookie}; }
    InsertOutcome insert(unsigned o, const ExpectRequest& r, MasterExpectations* m = nullptr) {
        last = owner(o).insert(r, m, turn());
        return last.outcome;
    }
    bool claim(unsigned o, const Tuple& t, CtZone zone = {}) {
        match = {};
        return postern::claim(*table, owner(o), table->probe(zone, t), t, turn(), match);
    }
    bool would_match(const Tuple& t, CtZone zone = {}) {
        ExpectInfo info;
        return table->find(table->probe(zone, t), t, now, info);
    }
    /// Enough turns of everybody for all that has ended to be free again.
    void free_ended() {
        for (int i = 0; i < 4; ++i)
            for (unsigned o = 0; o < kOwners; ++o) {
                owner(o).tick(turn());
                rcu.all_quiescent();
            }
    }
    void expect_all_free() {
        free_ended();
        EXPECT_EQ(table->live(), 0u);
        for (unsigned o = 0; o < kOwners; ++o) {
            EXPECT_EQ(owner(o).free_objects(), 64u) << "owner " << o;
            EXPECT_EQ(owner(o).waiting_objects(), 0u);
        }
    }
    std::vector<ExpectEvent> events(unsigned o) {
        std::vector<ExpectEvent> all;
        for (ExpectEvent e; owner(o).events().pop(e);)
            all.push_back(e);
        return all;
    }
    std::string told(unsigned o) {
        std::string text;
        for (const auto& e : events(o)) {
            text += std::string(text.empty() ? "" : " ") + std::string(to_string(e.type));
            if (e.type == ExpectEventType::destroy) text += ":" + std::string(to_string(e.end));
        }
        return text;
    }

    static constexpr unsigned kOwners = 3;
    Rcu rcu{kOwners};
    std::unique_ptr<ExpectTable> table;
    Tick now{1000};
    std::uint64_t cookie = 0;
    InsertResult last;
    ExpectMatch match;
};

// ---- match --------------------------------------------------------------------------------------

// A.4.2: a new connection that fits takes the expectation away; once, from any worker.
TEST_F(ExpectTest, IsClaimedOnceFromAnotherWorker) {
    ExpectRequest r = ftp(5000);
    r.child_helper = 3;
    r.mark = 0xabcd;
    r.label = 77;
    r.rule = RuleId{12};
    r.class_index = 2;
    MasterExpectations m;
    ASSERT_EQ(insert(0, r, &m), InsertOutcome::created);
    EXPECT_EQ(m.count[2], 1);
    EXPECT_EQ(table->live(), 1u);
    const Tuple child = tcp(client(1), 33333, kServer, 5000);
    ASSERT_TRUE(claim(1, child));
    // A.4.3: what the child inherits.
    EXPECT_EQ(match.id, last.id);
    EXPECT_EQ(match.master, conn(1));
    EXPECT_EQ(match.helper, 1);
    EXPECT_EQ(match.child_helper, 3);
    EXPECT_EQ(match.mark, 0xabcdu);
    EXPECT_EQ(match.label, 77u);
    EXPECT_EQ(match.rule, RuleId{12});
    EXPECT_EQ(match.class_index, 2);
    EXPECT_EQ(match.ct_zone, CtZone{});
    EXPECT_FALSE(claim(2, child));
    EXPECT_FALSE(claim(1, child));
    EXPECT_EQ(owner(1).ended(ExpectEnd::claimed), 1u);
    EXPECT_EQ(table->live(), 0u);
    free_ended();
    EXPECT_EQ(m.count[2], 0);  // the owner learns of it in its own turn
    EXPECT_EQ(m.oldest, 0u);
    expect_all_free();
}

// Policy judges what peek() found; take() claims that one and no other.
TEST_F(ExpectTest, TakesWhatWasPeekedAt) {
    const Tuple child = tcp(client(1), 33333, kServer, 5000);
    ASSERT_EQ(insert(0, ftp(5000)), InsertOutcome::created);
    ExpectMatch a, b;
    ASSERT_EQ(table->peek(table->probe({}, child), child, now, a), ExpectAnswer::match);
    ASSERT_EQ(table->peek(table->probe({}, child), child, now, b), ExpectAnswer::match);
    EXPECT_EQ(a.id, last.id);
    EXPECT_EQ(table->live(), 1u);
    EXPECT_TRUE(owner(1).take(a, turn()));
    EXPECT_FALSE(owner(2).take(b, turn()));
    EXPECT_EQ(owner(2).claims_lost(), 1u);
    // A new one in its place is not the one that was judged.
    ASSERT_EQ(insert(0, ftp(5000)), InsertOutcome::created);
    EXPECT_FALSE(owner(2).take(b, turn()));
    EXPECT_EQ(table->live(), 1u);
    ExpectRequest r = ftp(5001);
    r.flags = expect_flag::permanent;
    ASSERT_EQ(insert(0, r), InsertOutcome::created);
    const Tuple again = tcp(client(1), 33333, kServer, 5001);
    ASSERT_EQ(table->peek(table->probe({}, again), again, now, a), ExpectAnswer::match);
    EXPECT_TRUE(owner(1).take(a, turn()));
    EXPECT_TRUE(owner(2).take(a, turn()));
    owner(0).remove(last.id, ExpectEnd::control, turn());
    EXPECT_FALSE(owner(1).take(a, turn()));
}

// A.1.1 tuple, zone; A.2: destination, protocol and zone are exact, the source port is any.
TEST_F(ExpectTest, ComparesDestinationProtocolZoneAndSource) {
    ASSERT_EQ(insert(0, ftp(5000)), InsertOutcome::created);
    Tuple t = tcp(client(1), 1, kServer, 5000);
    EXPECT_TRUE(would_match(t));
    EXPECT_FALSE(would_match(t, CtZone{1}));
    t.protocol = proto::udp;
    EXPECT_FALSE(would_match(t));
    EXPECT_FALSE(would_match(tcp(client(2), 1, kServer, 5000)));
    EXPECT_FALSE(would_match(tcp(client(1), 1, kServer, 5001)));
    EXPECT_FALSE(would_match(tcp(client(1), 1, IpAddr::v4(198, 51, 100, 8), 5000)));
    EXPECT_FALSE(would_match(tcp(client(1), 5000, kServer, 1)));
}

// A.2: no source address given: any; and a prefix, which Linux has only for broadcast helpers.
TEST_F(ExpectTest, MasksTheSourceAddress) {
    ExpectRequest any = ftp(5000);
    any.src = {};
    ASSERT_EQ(insert(0, any), InsertOutcome::created);
    EXPECT_TRUE(would_match(tcp(client(999), 7, kServer, 5000)));

    for (unsigned bits : {0u, 1u, 7u, 8u, 9u, 15u, 24u, 31u, 32u}) {
        ExpectRequest r = ftp(static_cast<std::uint16_t>(6000 + bits));
        r.src = Prefix::exact(IpAddr::v4(0xc3, 0x5a, 0x96, 0xff));
        r.src.length = static_cast<std::uint8_t>(bits);
        ASSERT_EQ(insert(0, r), InsertOutcome::created);
        for (unsigned flip = 0; flip < 32; ++flip) {
            IpAddr src = r.src.address;
            src.bytes[flip / 8] ^= static_cast<std::uint8_t>(0x80u >> flip % 8);
            EXPECT_EQ(would_match(tcp(src, 7, kServer, static_cast<std::uint16_t>(6000 + bits))),
                      flip >= bits)
                << bits << " " << flip;
        }
    }
}

TEST_F(ExpectTest, MasksTheSourceAddressOfIpv6) {
    const IpAddr dst = *IpAddr::parse("2001:db8::9");
    for (unsigned bits : {0u, 1u, 31u, 32u, 63u, 64u, 65u, 127u, 128u}) {
        ExpectRequest r = ftp(static_cast<std::uint16_t>(6000 + bits));
        r.src = Prefix::exact(*IpAddr::parse("2001:db8:1234:5678:9abc:def0:1234:5678"));
        r.dst = dst;
        r.src.length = static_cast<std::uint8_t>(bits);
        ASSERT_EQ(insert(0, r), InsertOutcome::created);
        EXPECT_TRUE(
            would_match(tcp(r.src.address, 7, dst, static_cast<std::uint16_t>(6000 + bits))));
        for (unsigned flip = 0; flip < 128; ++flip) {
            IpAddr src = r.src.address;
            src.bytes[flip / 8] ^= static_cast<std::uint8_t>(0x80u >> flip % 8);
            EXPECT_EQ(would_match(tcp(src, 7, dst, static_cast<std::uint16_t>(6000 + bits))),
                      flip >= bits)
                << bits << " " << flip;
        }
    }
}

// A.2: source port exact or any.
TEST_F(ExpectTest, MasksTheSourcePort) {
    ExpectRequest exact = ftp(5000);
    exact.sport = Be16::from_host(20);
    exact.sport_mask = Be16::from_raw(0xffff);
    ASSERT_EQ(insert(0, exact), InsertOutcome::created);
    EXPECT_FALSE(would_match(tcp(client(1), 21, kServer, 5000)));
    EXPECT_TRUE(would_match(tcp(client(1), 20, kServer, 5000)));
}

// A.1.1: IPv4 and IPv6 never meet, even with the same leading bytes.
TEST_F(ExpectTest, KeepsFamiliesApart) {
    ExpectRequest r = ftp(5000);
    r.src = {};
    ASSERT_EQ(insert(0, r), InsertOutcome::created);
    IpAddr v6 = kServer;
    v6.family = Family::ipv6;
    EXPECT_FALSE(would_match(tcp(v6, 1, v6, 5000)));
}

// A.3 PERMANENT: a match does not consume it.
TEST_F(ExpectTest, PermanentStaysAfterAMatch) {
    ExpectRequest r = ftp(5000);
    r.flags = expect_flag::permanent;
    ASSERT_EQ(insert(0, r), InsertOutcome::created);
    const Tuple child = tcp(client(1), 33333, kServer, 5000);
    for (unsigned o : {1u, 2u, 1u}) {
        ASSERT_TRUE(claim(o, child));
        EXPECT_EQ(match.flags, expect_flag::permanent);
    }
    EXPECT_EQ(told(1), "claim claim");
    EXPECT_EQ(table->live(), 1u);
    now = now + kTimeout + 100;  // but time ends it like any other
    EXPECT_FALSE(claim(1, child));
    expect_all_free();
}

// A.3 INACTIVE: present but skipped by matching (SIP REGISTER until the registrar's 2xx).
TEST_F(ExpectTest, InactiveIsSkippedUntilActivated) {
    ExpectRequest r = ftp(5000);
    r.flags = expect_flag::inactive | expect_flag::permanent;
    ASSERT_EQ(insert(0, r), InsertOutcome::created);
    const ExpectId id = last.id;
    const Tuple child = tcp(client(1), 33333, kServer, 5000);
    EXPECT_FALSE(claim(1, child));
    ExpectInfo info;
    ASSERT_TRUE(table->get(id, info));
    EXPECT_EQ(info.flags, expect_flag::inactive | expect_flag::permanent);
    // It is in the way of others all the same.
    ExpectRequest other = ftp(5000);
    other.src = {};
    EXPECT_EQ(insert(1, other), InsertOutcome::busy);
    EXPECT_TRUE(owner(0).activate(id));
    EXPECT_FALSE(owner(0).activate(id));
    ASSERT_TRUE(table->get(id, info));
    EXPECT_EQ(info.flags, expect_flag::permanent);
    EXPECT_TRUE(claim(1, child));
    EXPECT_TRUE(owner(2).remove(id, ExpectEnd::control, turn()));
    EXPECT_FALSE(owner(0).activate(id));
    expect_all_free();
}

// A helper's own names for what it files: a call's media, a registration's signalling.
TEST_F(ExpectTest, ATagOfAMasterIsActivatedAndRemoved) {
    MasterExpectations mine, other;
    const auto file = [&](std::uint16_t port, MasterExpectations& m, std::uint32_t tag,
                          std::uint8_t cls = 0) {
        ExpectRequest r = ftp(port, 1, &m == &mine ? 1 : 2);
        r.flags = expect_flag::inactive;
        r.tag = tag;
        r.class_index = cls;
        ASSERT_EQ(insert(0, r, &m), InsertOutcome::created);
    };
    const auto live = [&] {
        std::string ports;
        for (std::uint16_t p = 5000; p < 5006; ++p)
            ports += would_match(tcp(client(1), 33333, kServer, p)) ? '1' : '0';
        return ports;
    };
    file(5000, mine, 7);
    file(5001, mine, 8);
    file(5002, mine, 7, 1);
    file(5003, other, 7);
    file(5004, mine, 7);
    ExpectInfo info;
    ASSERT_TRUE(table->get(last.id, info));
    EXPECT_EQ(info.tag, 7u);
    owner(0).activate(mine, 0, 7, 0, turn());
    EXPECT_EQ(live(), "100010");
    owner(0).activate(mine, 0, 0, 3 * kTimeout, turn());
    EXPECT_EQ(live(), "110010");
    now = now + kTimeout + 100;  // these three have a new time, the others not
    free_ended();
    EXPECT_EQ(table->live(), 3u);
    EXPECT_EQ(live(), "110010");
    told(0);
    owner(0).remove(mine, 0, 8, ExpectEnd::retracted, turn());
    EXPECT_EQ(told(0), "destroy:retracted");
    EXPECT_EQ(live(), "100010");
    ASSERT_TRUE(claim(1, tcp(client(1), 33333, kServer, 5000)));  // still in the master's list
    owner(0).activate(mine, 0, 7, kTimeout, turn());
    owner(0).remove(mine, 0, 0, ExpectEnd::retracted, turn());
    EXPECT_EQ(live(), "000000");
    expect_all_free();
}

TEST_F(ExpectTest, SomeBitsOfATagAreEnoughToRemove) {
    MasterExpectations mine;
    const auto file = [&](std::uint16_t port, std::uint32_t tag, std::uint8_t cls) {
        ExpectRequest r = ftp(port);
        r.tag = tag;
        r.class_index = cls;
        ASSERT_EQ(insert(0, r, &mine), InsertOutcome::created);
    };
    const auto pending = [&] {
        std::string ports;
        for (std::uint16_t p = 5000; p < 5004; ++p)
            ports += would_match(tcp(client(1), 33333, kServer, p)) ? '1' : '0';
        return ports;
    };
    file(5000, 0x101, 0);
    file(5001, 0x102, 1);
    file(5002, 0x201, 2);
    file(5003, 0x103, 1);
    owner(0).remove(mine, 1, 0x1ff, ExpectEnd::retracted, turn(), 0xf02);
    EXPECT_EQ(pending(), "1010");  // 0x102 and 0x103, for class 1 only
    owner(0).remove(mine, kAnyExpectClass, 0x1ff, ExpectEnd::retracted, turn(), 0xf00);
    EXPECT_EQ(pending(), "0010");
    owner(0).remove(mine, kAnyExpectClass, 0, ExpectEnd::retracted, turn());
    EXPECT_EQ(pending(), "0000");
    expect_all_free();
}

TEST_F(ExpectTest, AnInactiveOneSaysSoInItsEvents) {
    ExpectRequest r = ftp(5000);
    r.flags = expect_flag::inactive;
    insert(0, r);
    owner(0).remove(last.id, ExpectEnd::control, turn());
    const auto all = events(0);
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].info.flags, expect_flag::inactive);
    EXPECT_EQ(all[1].info.flags, expect_flag::inactive);
}

// A.4.2: expired ones are skipped, even before their owner had time to remove them.
TEST_F(ExpectTest, ExpiredIsNotMatched) {
    ASSERT_EQ(insert(0, ftp(5000)), InsertOutcome::created);
    const Tuple child = tcp(client(1), 33333, kServer, 5000);
    now = now + (kTimeout - 1);
    EXPECT_TRUE(would_match(child));
    now = now + 1;
    EXPECT_FALSE(would_match(child));
    EXPECT_FALSE(claim(1, child));
    EXPECT_EQ(table->live(), 1u);
    now = now + 100;
    owner(0).tick(turn());
    EXPECT_EQ(table->live(), 0u);
    EXPECT_EQ(told(0), "new expire");
    EXPECT_EQ(owner(0).ended(ExpectEnd::expired), 1u);
    expect_all_free();
}

TEST_F(ExpectTest, ExpiryMeetsNoMoreThanItsBudget) {
    for (std::uint16_t i = 0; i < 10; ++i)
        ASSERT_EQ(insert(0, ftp(static_cast<std::uint16_t>(5000 + i))), InsertOutcome::created);
    now = now + kTimeout + 1000;
    for (unsigned turns = 0; table->live() != 0; ++turns) {
        const std::uint32_t before = table->live();
        EXPECT_LE(owner(0).tick(turn(), 3), 3u);
        EXPECT_LE(before - table->live(), 3u);
        ASSERT_LT(turns, 20u);
    }
}

// ---- insert -------------------------------------------------------------------------------------

// A.4.1: identical, same class and master: the old one goes, the new one comes (DESTROY + NEW).
TEST_F(ExpectTest, IdenticalOfTheSameMasterRefreshes) {
    MasterExpectations m;
    ASSERT_EQ(insert(0, ftp(5000), &m), InsertOutcome::created);
    const ExpectId old = last.id;
    now = now + 200'000;
    EXPECT_EQ(insert(0, ftp(5000), &m), InsertOutcome::refreshed);
    EXPECT_EQ(m.count[0], 1);
    EXPECT_EQ(table->live(), 1u);
    EXPECT_EQ(told(0), "new destroy:refreshed new");
    ExpectInfo info;
    EXPECT_FALSE(table->get(old, info));
    now = now + 200'000;
    EXPECT_TRUE(claim(1, tcp(client(1), 1, kServer, 5000)));
    EXPECT_FALSE(claim(1, tcp(client(1), 1, kServer, 5000)));
    expect_all_free();
}

// A.4.1: identical but of another class or master.
TEST_F(ExpectTest, IdenticalOfAnotherIsAlreadyThere) {
    ASSERT_EQ(insert(0, ftp(5000)), InsertOutcome::created);
    const ExpectId first = last.id;
    EXPECT_EQ(insert(1, ftp(5000, 1, 2)), InsertOutcome::already);
    EXPECT_EQ(last.id, first);
    ExpectRequest other_class = ftp(5000);
    other_class.class_index = 1;
    EXPECT_EQ(insert(0, other_class), InsertOutcome::already);
    EXPECT_EQ(table->live(), 1u);
    EXPECT_EQ(owner(1).inserted(InsertOutcome::already), 1u);
}

// A.3 SKIP_MASTER: several dialogs may announce the same media port.
TEST_F(ExpectTest, SkipMasterSharesAnIdenticalOne) {
    ASSERT_EQ(insert(0, ftp(5000)), InsertOutcome::created);
    const ExpectId first = last.id;
    ExpectRequest second = ftp(5000, 1, 2);
    second.flags |= expect_flag::skip_master;
    EXPECT_EQ(insert(1, second), InsertOutcome::shared);
    EXPECT_EQ(last.id, first);
    EXPECT_TRUE(ok(last.outcome));
    EXPECT_EQ(table->live(), 1u);
    second.class_index = 1;
    EXPECT_EQ(insert(1, second), InsertOutcome::shared);
    second.master = ftp(5000).master;
    EXPECT_EQ(insert(0, second), InsertOutcome::already);  // its own, of another class

    // One that overlaps is another, and is found first.
    ExpectRequest wider = ftp(5000, 1, 2);
    wider.src = {};
    wider.flags |= expect_flag::skip_master;
    EXPECT_EQ(insert(1, wider), InsertOutcome::created);
    const ExpectId newer = last.id;
    EXPECT_TRUE(claim(0, tcp(client(1), 33333, kServer, 5000)));
    EXPECT_EQ(match.id, newer);
    EXPECT_TRUE(claim(0, tcp(client(1), 33334, kServer, 5000)));
    EXPECT_EQ(match.id, first);
}

// Not in Linux: ports that several masters of one host keep open, each for as long as it lives.
TEST_F(ExpectTest, BesideAnIdenticalOneOfAnotherMaster) {
    ExpectRequest first = ftp(5000), second = ftp(5000, 1, 2);
    first.flags = second.flags = expect_flag::permanent;
    second.flags |= expect_flag::beside;
    ASSERT_EQ(insert(0, first), InsertOutcome::created);
    ASSERT_EQ(insert(1, second), InsertOutcome::created);
    EXPECT_EQ(insert(1, second), InsertOutcome::refreshed);
    const ExpectId newer = last.id;
    EXPECT_EQ(table->live(), 2u);
    EXPECT_TRUE(claim(0, tcp(client(1), 33333, kServer, 5000)));
    EXPECT_EQ(match.id, newer);
    EXPECT_TRUE(owner(1).remove(newer, ExpectEnd::control, turn()));
    EXPECT_TRUE(claim(0, tcp(client(1), 33334, kServer, 5000)));
    EXPECT_EQ(match.master, first.master);
    second.class_index = 1;  // a clash with its own stays one
    second.master = first.master;
    EXPECT_EQ(insert(0, second), InsertOutcome::already);
}

// Many masters of one host keep the same port open: the others find room all the same.
TEST_F(ExpectTest, ManyOfOneSourceShutNoOtherOut) {
    ExpectRequest r = ftp(5000);
    r.flags = expect_flag::permanent | expect_flag::beside;
    for (unsigned i = 0; i < 100; ++i) {
        r.master = ftp(5000, 1, i + 1).master;
        ASSERT_EQ(insert(0, r), InsertOutcome::created) << i;
        free_ended();
    }
    EXPECT_LE(table->live(), 8u);
    EXPECT_TRUE(claim(0, tcp(client(1), 33333, kServer, 5000)));
    ExpectRequest other = ftp(5000, 2, 200);
    other.flags = r.flags;
    EXPECT_EQ(insert(0, other), InsertOutcome::created);
    EXPECT_TRUE(claim(0, tcp(client(2), 33333, kServer, 5000)));
}

// A.2, A.4.1: a clash is judged on the intersection of the two masks.
TEST_F(ExpectTest, OverlapIsBusy) {
    ExpectRequest net = ftp(5000);
    net.src = Prefix::exact(IpAddr::v4(192, 0, 0, 0));
    net.src.length = 24;
    ASSERT_EQ(insert(0, net), InsertOutcome::created);
    EXPECT_EQ(insert(0, ftp(5000, 1)), InsertOutcome::busy);         // 192.0.0.1 lies in it
    EXPECT_EQ(insert(0, ftp(5000, 0x101)), InsertOutcome::created);  // 192.0.1.1 does not
    ExpectRequest wider = net;
    wider.src = Prefix::exact(IpAddr::v4(192, 0, 0, 0));
    wider.src.length = 16;
    EXPECT_EQ(insert(0, wider), InsertOutcome::busy);
    ExpectRequest any = ftp(5000);
    any.src = {};
    EXPECT_EQ(insert(0, any), InsertOutcome::busy);
    any.dport = Be16::from_host(5001);
    EXPECT_EQ(insert(0, any), InsertOutcome::created);
    any.ct_zone = CtZone{1};
    EXPECT_EQ(insert(0, any), InsertOutcome::created);
    // Disjoint by source port alone.
    ExpectRequest low = ftp(5002), high = ftp(5002);
    low.sport = Be16::from_host(1);
    high.sport = Be16::from_host(2);
    low.sport_mask = high.sport_mask = Be16::from_raw(0xffff);
    EXPECT_EQ(insert(0, low), InsertOutcome::created);
    EXPECT_EQ(insert(0, high), InsertOutcome::created);
    EXPECT_EQ(insert(0, ftp(5002)), InsertOutcome::busy);
}

// A.4.1: expired entries met on the chain are reaped, whoever owns them.
TEST_F(ExpectTest, ExpiredOnesAreNotInTheWay) {
    ASSERT_EQ(insert(0, ftp(5000)), InsertOutcome::created);
    now = now + kTimeout;
    ExpectRequest any = ftp(5000, 1, 2);
    any.src = {};
    EXPECT_EQ(insert(1, any), InsertOutcome::created);
    EXPECT_EQ(table->live(), 1u);
    EXPECT_EQ(told(1), "expire new");
    EXPECT_EQ(owner(1).ended(ExpectEnd::expired), 1u);
    now = now + kTimeout + 100;  // the wheel may be late by its granularity
    expect_all_free();
}

// A.4.1: class at its maximum: the oldest of the same class goes, no error.
TEST_F(ExpectTest, FullClassLosesItsOldest) {
    MasterExpectations m;
    for (std::uint16_t i = 0; i < 4; ++i) {
        ExpectRequest r = ftp(static_cast<std::uint16_t>(5000 + i));
        r.class_max = 2;
        r.class_index = i == 1 ? 1 : 0;  // one of another class in between is left alone
        ASSERT_EQ(insert(0, r, &m), InsertOutcome::created) << i;
    }
    EXPECT_EQ(m.count[0], 2);
    EXPECT_EQ(m.count[1], 1);
    EXPECT_EQ(table->live(), 3u);
    EXPECT_EQ(told(0), "new new new destroy:evicted new");
    EXPECT_FALSE(would_match(tcp(client(1), 1, kServer, 5000)));
    for (std::uint16_t port = 5001; port <= 5003; ++port)
        EXPECT_TRUE(would_match(tcp(client(1), 1, kServer, port))) << port;
}

// A.4.1: the eviction first reaps expired ones, also when they are not the oldest.
TEST_F(ExpectTest, FullClassLosesExpiredOnesFirst) {
    MasterExpectations m;
    ExpectRequest r = ftp(5000);
    r.class_max = 2;
    ASSERT_EQ(insert(0, r, &m), InsertOutcome::created);
    r.dport = Be16::from_host(5001);
    r.timeout_ms = 1000;
    ASSERT_EQ(insert(0, r, &m), InsertOutcome::created);
    now = now + 2000;
    r.dport = Be16::from_host(5002);
    ASSERT_EQ(insert(0, r, &m), InsertOutcome::created);
    EXPECT_EQ(told(0), "new new expire new");
    EXPECT_TRUE(would_match(tcp(client(1), 1, kServer, 5000)));
}

// The count of a class is right at once when a child on another worker took one.
TEST_F(ExpectTest, AClaimMakesRoomInTheClass) {
    MasterExpectations m;
    ExpectRequest r = ftp(5000);
    r.class_max = 1;
    ASSERT_EQ(insert(0, r, &m), InsertOutcome::created);
    ASSERT_TRUE(claim(1, tcp(client(1), 1, kServer, 5000)));
    r.dport = Be16::from_host(5001);
    ASSERT_EQ(insert(0, r, &m), InsertOutcome::created);
    EXPECT_EQ(owner(0).ended(ExpectEnd::evicted), 0u);
    EXPECT_EQ(m.count[0], 1);
}

// A refused insert leaves the class as it was.
TEST_F(ExpectTest, ARefusedInsertEvictsNobody) {
    MasterExpectations m;
    ExpectRequest r = ftp(5000);
    r.class_max = 1;
    ASSERT_EQ(insert(0, r, &m), InsertOutcome::created);
    ASSERT_EQ(insert(1, ftp(5001, 1, 2)), InsertOutcome::created);
    r.dport = Be16::from_host(5001);
    EXPECT_EQ(insert(0, r, &m), InsertOutcome::already);
    r.src = {};
    EXPECT_EQ(insert(0, r, &m), InsertOutcome::busy);
    EXPECT_TRUE(would_match(tcp(client(1), 1, kServer, 5000)));
    EXPECT_EQ(m.count[0], 1);
}

// A.4.1: table at its maximum: an error, nobody else's is evicted.
TEST_F(ExpectTest, TotalLimit) {
    ExpectConfig c;
    c.max_live = 3;
    make(c);
    MasterExpectations m;
    for (std::uint16_t i = 0; i < 3; ++i)
        ASSERT_EQ(insert(i, ftp(static_cast<std::uint16_t>(5000 + i)), &m), InsertOutcome::created);
    EXPECT_EQ(insert(1, ftp(5003, 1, 2)), InsertOutcome::limit_total);
    EXPECT_EQ(table->live(), 3u);
    // A refresh and an eviction need no further place.
    EXPECT_EQ(insert(0, ftp(5000), &m), InsertOutcome::refreshed);
    MasterExpectations full;
    ASSERT_TRUE(claim(2, tcp(client(1), 1, kServer, 5001)));
    ExpectRequest r = ftp(5010, 1, 3);
    r.class_max = 1;
    ASSERT_EQ(insert(0, r, &full), InsertOutcome::created);
    r.dport = Be16::from_host(5011);
    EXPECT_EQ(insert(0, r, &full), InsertOutcome::created);
    EXPECT_EQ(table->live(), 3u);
    ASSERT_TRUE(claim(2, tcp(client(1), 1, kServer, 5000)));
    EXPECT_EQ(insert(1, ftp(5003, 1, 2)), InsertOutcome::created);
}

// Not in Linux: limits by zone and by source host.
TEST_F(ExpectTest, ZoneLimit) {
    ExpectConfig c;
    c.zone_limits = {{CtZone{1}, 2}};
    make(c);
    for (std::uint16_t i = 0; i < 4; ++i) {
        ExpectRequest r = ftp(static_cast<std::uint16_t>(5000 + i));
        EXPECT_EQ(insert(0, r), InsertOutcome::created);
        r.ct_zone = CtZone{1};
        EXPECT_EQ(insert(0, r), i < 2 ? InsertOutcome::created : InsertOutcome::limit_zone);
    }
    EXPECT_EQ(table->live_in_zone(CtZone{1}), 2u);
    EXPECT_EQ(table->live(), 6u);
    ASSERT_TRUE(claim(1, tcp(client(1), 1, kServer, 5000), CtZone{1}));
    ExpectRequest r = ftp(5007);
    r.ct_zone = CtZone{1};
    EXPECT_EQ(insert(0, r), InsertOutcome::created);
}

TEST_F(ExpectTest, HostLimit) {
    ExpectConfig c;
    c.max_per_host = 2;
    make(c);
    EXPECT_EQ(insert(0, ftp(5000, 1, 1)), InsertOutcome::created);
    EXPECT_EQ(insert(1, ftp(5001, 1, 2)), InsertOutcome::created);
    EXPECT_EQ(insert(0, ftp(5002, 1, 3)), InsertOutcome::limit_host);
    EXPECT_EQ(insert(0, ftp(5002, 2, 4)), InsertOutcome::created);
    ExpectRequest nobody = ftp(5003);
    nobody.master = {};
    nobody.master_tuple = {};
    EXPECT_EQ(insert(0, nobody), InsertOutcome::created);
    EXPECT_EQ(insert(0, ftp(5000, 1, 1)), InsertOutcome::refreshed);
    ASSERT_TRUE(claim(2, tcp(client(1), 1, kServer, 5001)));
    EXPECT_EQ(insert(0, ftp(5002, 1, 3)), InsertOutcome::created);
    EXPECT_EQ(insert(0, ftp(5009, 1, 3)), InsertOutcome::limit_host);
    EXPECT_EQ(table->live(), 4u);
}

TEST_F(ExpectTest, DestinationLimit) {
    ExpectConfig c;
    c.max_per_destination = 3;
    make(c);
    for (unsigned host = 1; host <= 3; ++host)
        ASSERT_EQ(insert(0, ftp(5000, host, host)), InsertOutcome::created);
    EXPECT_EQ(insert(0, ftp(5000, 4, 4)), InsertOutcome::limit_destination);
    EXPECT_EQ(insert(0, ftp(5001, 4, 4)), InsertOutcome::created);
    // One chain, and each finds its own.
    for (unsigned host : {2u, 3u, 1u}) {
        ASSERT_TRUE(claim(1, tcp(client(host), 1, kServer, 5000)));
        EXPECT_EQ(match.master, conn(host));
    }
    EXPECT_FALSE(would_match(tcp(client(4), 1, kServer, 5000)));
    EXPECT_EQ(insert(0, ftp(5000, 4, 5)), InsertOutcome::created);
}

TEST_F(ExpectTest, PoolLimitAndReuseAfterTheGracePeriodOnly) {
    for (std::uint16_t i = 0; i < 64; ++i)
        ASSERT_EQ(insert(0, ftp(static_cast<std::uint16_t>(5000 + i))), InsertOutcome::created);
    EXPECT_EQ(insert(0, ftp(6000)), InsertOutcome::limit_pool);
    EXPECT_EQ(insert(1, ftp(6000)), InsertOutcome::created);  // pools are not shared
    ASSERT_TRUE(claim(1, tcp(client(1), 1, kServer, 5000)));
    // Owner 2 may still be looking at it.
    for (int i = 0; i < 5; ++i) {
        owner(0).tick(turn());
        rcu.quiescent(0);
        rcu.quiescent(1);
        EXPECT_EQ(insert(0, ftp(6001)), InsertOutcome::limit_pool);
    }
    rcu.quiescent(2);
    owner(0).tick(turn());
    rcu.all_quiescent();
    owner(0).tick(turn());
    EXPECT_EQ(insert(0, ftp(6001)), InsertOutcome::created);
}

// A worker that sleeps is offline, and nobody waits for it.
TEST_F(ExpectTest, OfflineReadersDoNotHoldUpReuse) {
    rcu.offline(2);
    insert(0, ftp(5000));
    claim(1, tcp(client(1), 1, kServer, 5000));
    for (int i = 0; i < 3; ++i) {
        owner(0).tick(turn());
        rcu.quiescent(0);
        rcu.quiescent(1);
    }
    EXPECT_EQ(owner(0).free_objects(), 64u);
}

// A.4.1: the master is being destroyed.
TEST_F(ExpectTest, DyingMasterIsRefused) {
    MasterExpectations m;
    owner(0).remove_all(m, ExpectEnd::master_end, turn());
    EXPECT_EQ(insert(0, ftp(5000), &m), InsertOutcome::master_gone);
    EXPECT_EQ(table->live(), 0u);
}

TEST_F(ExpectTest, NonsenseIsRefused) {
    ExpectRequest r = ftp(5000);
    r.class_index = kExpectClasses;
    EXPECT_EQ(insert(0, r), InsertOutcome::invalid);
    r = ftp(5000);
    r.timeout_ms = 0;
    EXPECT_EQ(insert(0, r), InsertOutcome::invalid);
    r.timeout_ms = kMaxTimeoutS * 1000 + 1;
    EXPECT_EQ(insert(0, r), InsertOutcome::invalid);
    r = ftp(5000);
    r.dst = {};
    EXPECT_EQ(insert(0, r), InsertOutcome::invalid);
    r = ftp(5000);
    r.src = Prefix::exact(*IpAddr::parse("2001:db8::1"));
    EXPECT_EQ(insert(0, r), InsertOutcome::invalid);
    EXPECT_EQ(owner(0).inserted(InsertOutcome::invalid), 5u);
    EXPECT_EQ(owner(0).free_objects(), 64u);
}

// ---- end ----------------------------------------------------------------------------------------

// A.4.4: the master's end removes its pending expectations, and only its own.
TEST_F(ExpectTest, MasterEndRemovesThePendingOnes) {
    MasterExpectations a, b;
    for (std::uint16_t i = 0; i < 6; ++i)
        ASSERT_EQ(insert(0, ftp(static_cast<std::uint16_t>(5000 + i), 1, 1u + i % 2),
                         i % 2 != 0 ? &b : &a),
                  InsertOutcome::created);
    ASSERT_TRUE(claim(1, tcp(client(1), 1, kServer, 5002)));  // a's; not yet back at its owner
    owner(0).remove_all(a, ExpectEnd::master_end, turn());
    EXPECT_EQ(a.count[0], 0);
    EXPECT_EQ(a.oldest, 0u);
    EXPECT_EQ(a.newest, 0u);
    EXPECT_EQ(owner(0).ended(ExpectEnd::master_end), 2u);
    EXPECT_EQ(table->live(), 3u);
    free_ended();
    EXPECT_EQ(b.count[0], 3);
    for (std::uint16_t i = 0; i < 6; ++i)
        EXPECT_EQ(would_match(tcp(client(1), 1, kServer, static_cast<std::uint16_t>(5000 + i))),
                  i % 2 != 0);
    owner(0).remove_all(b, ExpectEnd::helper_removed, turn());
    EXPECT_FALSE(b.closed);
    expect_all_free();
}

// A.7: deletion by id, from a thread that does not own it; A.5: by helper.
TEST_F(ExpectTest, ControlRemovesAnybodys) {
    MasterExpectations m;
    ASSERT_EQ(insert(0, ftp(5000), &m), InsertOutcome::created);
    const ExpectId id = last.id;
    EXPECT_TRUE(owner(2).remove(id, ExpectEnd::control, turn()));
    EXPECT_FALSE(owner(2).remove(id, ExpectEnd::control, turn()));
    EXPECT_FALSE(owner(2).remove({}, ExpectEnd::control, turn()));
    EXPECT_FALSE(owner(2).remove({100000, 1}, ExpectEnd::control, turn()));
    EXPECT_EQ(told(2), "destroy:control");
    free_ended();
    EXPECT_EQ(m.count[0], 0);
    // The slot lives again under another generation; the old id stays dead.
    ASSERT_EQ(insert(0, ftp(5001)), InsertOutcome::created);
    ASSERT_EQ(last.id.index, id.index);
    EXPECT_NE(last.id.generation, id.generation);
    ExpectInfo info;
    EXPECT_FALSE(table->get(id, info));
    EXPECT_FALSE(owner(2).remove(id, ExpectEnd::control, turn()));
    EXPECT_FALSE(owner(2).set_timeout(id, 1, turn()));
    EXPECT_TRUE(owner(2).remove(last.id, ExpectEnd::helper_removed, turn()));
    expect_all_free();
}

// A.7: of an existing one only the timeout can change.
TEST_F(ExpectTest, TimeoutCanBeMovedBothWaysByAnyThread) {
    const Tuple child = tcp(client(1), 1, kServer, 5000);
    ASSERT_EQ(insert(0, ftp(5000)), InsertOutcome::created);
    now = now + 299'000;
    EXPECT_TRUE(owner(2).set_timeout(last.id, 100'000, turn()));
    now = now + 50'000;
    owner(0).tick(turn());
    EXPECT_TRUE(would_match(child));
    EXPECT_TRUE(owner(2).set_timeout(last.id, 10, turn()));
    now = now + 10;
    EXPECT_FALSE(would_match(child));  // at once, though its removal may come later
    EXPECT_TRUE(owner(0).set_timeout(last.id, 10, turn()));
    now = now + 200;
    owner(0).tick(turn());
    EXPECT_EQ(table->live(), 0u);
    EXPECT_EQ(told(0), "new expire");
    expect_all_free();
}

// ---- control plane ------------------------------------------------------------------------------

TEST_F(ExpectTest, WalkSeesEachPendingOneOnceInSteps) {
    std::set<std::uint16_t> ports;
    for (std::uint16_t i = 0; i < 60; ++i)
        ASSERT_EQ(insert(i % kOwners, ftp(static_cast<std::uint16_t>(5000 + i))),
                  InsertOutcome::created);
    ASSERT_TRUE(claim(0, tcp(client(1), 1, kServer, 5007)));
    for (std::uint32_t step : {1u, 7u, 1000u}) {
        ports.clear();
        std::uint32_t cursor = 0;
        const auto see = [&](const ExpectInfo& info) {
            EXPECT_TRUE(ports.insert(info.dport.host()).second);
            EXPECT_EQ(info.owner, (info.dport.host() - 5000) % kOwners);
            EXPECT_EQ(table->owner_of(info.id), info.owner);
            EXPECT_EQ(info.dst, kServer);
            EXPECT_EQ(info.src, Prefix::exact(client(1)));
            EXPECT_EQ(info.master_tuple, tcp(client(1), 40000, kServer, 21));
        };
        while (table->walk(cursor, step, see)) {
        }
        EXPECT_EQ(ports.size(), 59u);
        EXPECT_EQ(ports.count(5007), 0u);
    }
}

// A.7: events NEW and DESTROY; which packet caused them is the caller's mark.
TEST_F(ExpectTest, EventsCarryTheCookieAndAreLostWhenNobodyReads) {
    insert(0, ftp(5000));
    claim(1, tcp(client(1), 1, kServer, 5000));
    auto a = events(0), b = events(1);
    ASSERT_EQ(a.size(), 1u);
    ASSERT_EQ(b.size(), 1u);
    EXPECT_EQ(a[0].cookie, cookie - 1);
    EXPECT_EQ(b[0].cookie, cookie);
    EXPECT_EQ(b[0].type, ExpectEventType::claim);
    EXPECT_EQ(b[0].by, 1);
    EXPECT_EQ(b[0].info.owner, 0);
    EXPECT_EQ(b[0].info.id, a[0].info.id);
    for (std::uint16_t i = 0; i < 40; ++i) {
        insert(0, ftp(5000));
        claim(0, tcp(client(1), 1, kServer, 5000));
        free_ended();
    }
    EXPECT_EQ(events(0).size(), 64u);
    EXPECT_EQ(owner(0).events().lost(), 16u);
}

TEST_F(ExpectTest, AnEmptyTableAnswersWithoutALookUp) {
    const Tuple t = tcp(client(1), 1, kServer, 5000);
    EXPECT_FALSE(table->may_match(table->probe({}, t)));
    insert(0, ftp(5000));
    EXPECT_TRUE(table->may_match(table->probe({}, t)));
    claim(1, t);
    EXPECT_FALSE(table->may_match(table->probe({}, t)));
}

TEST_F(ExpectTest, ImpossibleConfigurationsAreErrors) {
    ExpectConfig c;
    c.rcu = nullptr;
    EXPECT_FALSE(ExpectTable::create(c));
    c.rcu = rcu.get();
    c.owners = 0;
    EXPECT_FALSE(ExpectTable::create(c));
    c.owners = 2;
    c.per_owner = 100'000'000;
    const auto r = ExpectTable::create(c);
    ASSERT_FALSE(r);
    EXPECT_NE(r.error().message.find("no memory"), std::string::npos);
}

TEST(ExpectText, EveryOutcomeAndEndHasANameAndHelp) {
    for (unsigned i = 0; i < kInsertOutcomes; ++i)
        EXPECT_FALSE(help_text(static_cast<InsertOutcome>(i)).empty());
    for (unsigned i = 0; i < kExpectEnds; ++i)
        EXPECT_FALSE(help_text(static_cast<ExpectEnd>(i)).empty());
    EXPECT_EQ(to_string(InsertOutcome::limit_pool), "limit_pool");
    EXPECT_EQ(to_string(ExpectEnd::control), "control");
    EXPECT_EQ(to_string(ExpectEventType::fresh), "new");
}

}  // namespace
}  // namespace postern
