// SPDX-License-Identifier: BSD-3-Clause
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>
#include <rte_malloc.h>

#include "conntrack/conn_table.h"
#include "conntrack/track.h"
#include "support/eal.h"
#include "support/frames.h"

namespace postern {
namespace {

using namespace frames;

[[maybe_unused]] auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const HashSecret kSecret = HashSecret::from_seed(7);

/// A frame and what parse_packet() says of it.
struct Parsed {
    Frame frame;
    PacketInfo info{};

    explicit Parsed(Frame f, std::uint16_t zone = 0) : frame(std::move(f)) {
        const auto n = static_cast<std::uint32_t>(frame.size());
        parse_packet(frame.data(), n, n, {&kSecret, CtZone{zone}}, info);
        EXPECT_EQ(info.why, DropReason::none);
    }
};

class ConnTableTest : public ::testing::Test {
  protected:
    std::unique_ptr<ConnTable> make(std::uint32_t max, std::uint32_t reserve = 0,
                                    std::uint32_t second_keys = 10) {
        auto r = ConnTable::create({.worker = WorkerId{3},
                                    .max_connections = max,
                                    .expected_reserve = reserve,
                                    .second_keys = second_keys,
                                    .secret = &kSecret});
        EXPECT_TRUE(r);
        return std::move(r.value());
    }
    static std::uint32_t add(ConnTable& t, Parsed& p, bool expected = false) {
        return t.create_conn(p.info, p.frame.data(), Tick{0}, expected);
    }
    static bool found(ConnTable& t, Parsed& p) {
        p.info.conn = 0;
        return t.lookup_one(p.info, p.frame.data()) != nullptr;
    }
    /// As the path does: the guess, then whatever it may be.
    static Conn* found_by_guess(ConnTable& t, PacketInfo& info, const std::uint8_t* data) {
        if (const ConnTable::Found guessed = t.lookup(info, data))
            return guessed.checked(info, data);
        return t.may_be_another(info) ? t.lookup_one(info, data) : nullptr;
    }
};

/// Between two zones that have tags, this way and back.
constexpr ZonePair kThere{EdgeId{0}, EdgeId{1}, {0x20, 0x30}};
constexpr ZonePair kBack{EdgeId{1}, EdgeId{0}, {0x30, 0x20}};

/// One packet and its answer, of each kind of key.
struct Exchange {
    const char* name;
    Frame there, back;
};
std::vector<Exchange> exchanges() {
    std::vector<Exchange> out;
    for (const bool v6 : {false, true})
        for (const bool high : {false, true}) {  // which end sorts first
            const char* a = v6 ? "2001:db8::1" : "10.0.0.1";
            const char* b = v6 ? "2001:db8::2" : "192.0.2.9";
            const Flow f = high ? flow(b, 1024, a, 80) : flow(a, 1024, b, 80);
            out.push_back({v6 ? "tcp6" : "tcp4", tcp(f, {.flags = tcp_flag::syn}),
                           tcp(f.back(), {.flags = tcp_flag::syn | tcp_flag::ack})});
            out.push_back({v6 ? "udp6" : "udp4", udp(f, "question"), udp(f.back(), "answer")});
            out.push_back({v6 ? "icmp6" : "icmp4", echo(f, true, 77), echo(f.back(), false, 77)});
            out.push_back({v6 ? "ipip6" : "ipip4", ip(f.src, f.dst, 4, Frame(40, 1)),
                           ip(f.dst, f.src, 4, Frame(40, 2))});
        }
    return out;
}

TEST_F(ConnTableTest, BothDirectionsFindTheConnectionUntilItIsRemoved) {
    auto t = make(100);
    for (const Exchange& e : exchanges()) {
        SCOPED_TRACE(e.name);
        Parsed there(e.there), back(e.back);
        EXPECT_FALSE(found(*t, there));
        const std::uint32_t slot = add(*t, there);
        ASSERT_NE(slot, 0u);
        EXPECT_TRUE(found(*t, there));
        EXPECT_EQ(there.info.conn, slot);
        EXPECT_EQ(there.info.dir, Direction::original);
        EXPECT_TRUE(found(*t, back));
        EXPECT_EQ(back.info.conn, slot);
        EXPECT_EQ(back.info.dir, Direction::reply);
        EXPECT_EQ(t->at(slot).tuple(), *tuple_of(there.frame.data(), there.info));
        t->remove(slot);
        EXPECT_FALSE(found(*t, there));
        EXPECT_FALSE(found(*t, back));
        EXPECT_EQ(t->size(), 0u);
    }
}

TEST_F(ConnTableTest, WhateverIsGuessedALookUpSaysTheSame) {
    auto t = make(100);
    std::vector<Parsed> packets;
    for (const Exchange& e : exchanges()) {
        packets.emplace_back(e.there);
        packets.emplace_back(e.back);
        // Half of them without a tag: more zones than there are tags.
        if (packets.size() % 8 != 2) continue;
        packets.end()[-2].info.set_zones(kThere);
        packets.end()[-1].info.set_zones(kBack);
    }
    std::vector<PacketInfo> infos;
    std::vector<bool> want;
    for (std::size_t i = 0; i < packets.size(); ++i) {
        // Every second exchange is a connection; two exchanges of the list may be the same one.
        if (i % 4 != 0 || found(*t, packets[i])) continue;
        ASSERT_NE(add(*t, packets[i]), 0u);
    }
    for (std::size_t i = 0; i < packets.size(); ++i) {
        want.push_back(found(*t, packets[i]));
        infos.push_back(packets[i].info);
    }
    // Guessed, not guessed, or guessed wrongly: the same, and nothing is left of a guess.
    for (unsigned round = 0; round < 6; ++round) {
        for (std::size_t i = 0; i < packets.size(); ++i) {
            const unsigned way = round < 3 ? round : static_cast<unsigned>(i + round) % 3;
            infos[i].conn = 77;
            infos[i].why = DropReason::none;
            if (way == 1) t->prefetch_conn(infos[i]);
            if (way == 2) infos[i].conn = 1 + static_cast<std::uint32_t>(i) % 7;
            const std::uint8_t* data = packets[i].frame.data();
            const Conn* conn = found_by_guess(*t, infos[i], data);
            ASSERT_EQ(conn != nullptr, want[i]) << round << ' ' << i;
            EXPECT_EQ(infos[i].conn, want[i] ? packets[i].info.conn : 0u) << round;
            if (!want[i]) continue;
            EXPECT_EQ(conn, &t->at(infos[i].conn));
            EXPECT_EQ(infos[i].dir, packets[i].info.dir) << round;
        }
    }
}

TEST_F(ConnTableTest, AnIdOfTheDeadNamesNobody) {
    auto t = make(10);
    Parsed p(udp(flow("10.0.0.1", 1, "10.0.0.2", 2)));
    const std::uint32_t slot = add(*t, p);
    const ConnId id = t->id_of(slot);
    EXPECT_EQ(id.worker, WorkerId{3});
    EXPECT_EQ(t->find(id), &t->at(slot));
    ConnId elsewhere = id;
    elsewhere.worker = WorkerId{2};
    EXPECT_EQ(t->find(elsewhere), nullptr);
    EXPECT_EQ(t->find({}), nullptr);
    EXPECT_EQ(t->find({11, 0, WorkerId{3}}), nullptr);
    t->remove(slot);
    EXPECT_EQ(t->find(id), nullptr);
    ASSERT_EQ(add(*t, p), slot);  // last out, first in
    EXPECT_EQ(t->find(id), nullptr);
    EXPECT_NE(t->find(t->id_of(slot)), nullptr);
}

TEST_F(ConnTableTest, FullIsFullButForTheExpected) {
    constexpr std::uint32_t kMax = 1000, kReserve = 10;
    auto t = make(kMax, kReserve);
    std::vector<Parsed> packets;
    for (std::uint32_t i = 0; i <= kMax; ++i)
        packets.emplace_back(udp(flow("10.0.0.1", 1000 + i, "10.0.0.2", 53)));
    for (std::uint32_t i = 0; i < kMax - kReserve; ++i)
        ASSERT_NE(add(*t, packets[i]), 0u) << i;
    EXPECT_EQ(add(*t, packets[kMax]), 0u);
    for (std::uint32_t i = kMax - kReserve; i < kMax; ++i)
        ASSERT_NE(add(*t, packets[i], true), 0u) << i;
    EXPECT_EQ(add(*t, packets[kMax], true), 0u);
    EXPECT_EQ(t->size(), kMax);
    for (std::uint32_t i = 0; i < kMax; ++i)
        EXPECT_TRUE(found(*t, packets[i])) << i;
    for (std::uint32_t i = 0; i < kMax; ++i) {
        ASSERT_TRUE(found(*t, packets[i]));
        t->remove(packets[i].info.conn);
        EXPECT_FALSE(found(*t, packets[i]));
    }
    EXPECT_EQ(t->size(), 0u);
}

TEST_F(ConnTableTest, FillsAndEmptiesAgainAndAgain) {
    constexpr std::uint32_t kMax = 500;
    auto t = make(kMax);
    for (unsigned round = 0; round < 20; ++round) {
        std::vector<std::uint32_t> slots;
        for (std::uint32_t i = 0; i < kMax; ++i) {
            Parsed p(i % 2 ? udp(flow("2001:db8::1", i, "2001:db8::2", round))
                           : udp(flow("10.0.0.1", i, "10.0.0.2", round)));
            const std::uint32_t slot = add(*t, p);
            ASSERT_NE(slot, 0u) << round << " " << i;
            slots.push_back(slot);
        }
        for (const std::uint32_t slot : slots)
            t->remove(slot);
    }
}

TEST_F(ConnTableTest, TheSameEndsInAnotherZoneAreAnotherConnection) {
    auto t = make(10);
    const Frame f = tcp(flow("10.0.0.1", 1, "10.0.0.2", 2), {.flags = tcp_flag::syn});
    Parsed a(f, 0), b(f, 1);
    const std::uint32_t slot = add(*t, a);
    EXPECT_FALSE(found(*t, b));
    const std::uint32_t other = add(*t, b);
    EXPECT_NE(slot, other);
    t->remove(slot);
    EXPECT_TRUE(found(*t, b));
    EXPECT_EQ(b.info.conn, other);
}

TEST_F(ConnTableTest, TwoHostsThatPingEachOtherWithOneIdHaveTwoConnections) {
    for (const char* family : {"v4", "v6"}) {
        SCOPED_TRACE(family);
        const Flow f = family[1] == '4' ? flow("10.0.0.1", 0, "10.0.0.2", 0)
                                        : flow("2001:db8::1", 0, "2001:db8::2", 0);
        auto t = make(10);
        Parsed ping(echo(f, true, 9)), other_ping(echo(f.back(), true, 9));
        Parsed pong(echo(f.back(), false, 9)), other_pong(echo(f, false, 9));
        const std::uint32_t a = add(*t, ping);
        EXPECT_FALSE(found(*t, other_ping));
        const std::uint32_t b = add(*t, other_ping);
        ASSERT_NE(a, b);
        EXPECT_TRUE(found(*t, pong));
        EXPECT_EQ(pong.info.conn, a);
        EXPECT_TRUE(found(*t, other_pong));
        EXPECT_EQ(other_pong.info.conn, b);
        t->remove(a);
        EXPECT_FALSE(found(*t, pong));
        EXPECT_TRUE(found(*t, other_pong));
    }
}

TEST_F(ConnTableTest, AGreCallIsFoundByBothOfItsKeys) {
    for (const bool v6 : {false, true})
        for (const bool high : {false, true}) {
            IpAddr a = *IpAddr::parse(v6 ? "2001:db8::1" : "10.0.0.1"),
                   b = *IpAddr::parse(v6 ? "2001:db8::2" : "192.0.2.9");
            if (high) std::swap(a, b);
            auto t = make(10);
            const auto theirs = Be16::from_host(2), ours = Be16::from_host(1);
            Parsed there(gre_call(a, b, 2)), back(gre_call(b, a, 1)), other(gre_call(b, a, 2));
            const std::uint32_t slot = add(*t, there, true);
            ASSERT_NE(slot, 0u);
            EXPECT_FALSE(found(*t, back));  // so far nobody knows whose it is
            EXPECT_EQ(t->holder_of(slot, ours), 0u);
            ASSERT_TRUE(t->pair(slot, ours));
            EXPECT_EQ(t->size(), 1u);
            EXPECT_EQ(t->at(slot).tuple(), (Tuple{a, b, ours, theirs, proto::gre}));
            EXPECT_TRUE(found(*t, there));
            EXPECT_EQ(there.info.conn, slot);
            EXPECT_EQ(there.info.dir, Direction::original);
            EXPECT_TRUE(found(*t, back));
            EXPECT_EQ(back.info.conn, slot);
            EXPECT_EQ(back.info.dir, Direction::reply);
            EXPECT_FALSE(found(*t, other));
            Parsed without_call(ip(a, b, proto::gre, Frame(12, 0)));
            EXPECT_FALSE(found(*t, without_call));
            Parsed error(unreachable(b, a, there.frame)),
                other_error(unreachable(a, b, back.frame));
            ASSERT_TRUE(found(*t, error));
            EXPECT_EQ(error.info.dir, Direction::reply);
            ASSERT_TRUE(found(*t, other_error));
            EXPECT_EQ(other_error.info.conn, slot);
            EXPECT_EQ(other_error.info.dir, Direction::original);
            // It is one connection: one row, one end.
            unsigned rows = 0;
            for (std::uint32_t s = 1; s <= t->capacity(); ++s)
                rows += t->at(s).alive() ? 1 : 0;
            EXPECT_EQ(rows, 1u);
            t->remove(slot);
            EXPECT_FALSE(found(*t, there));
            EXPECT_FALSE(found(*t, back));
            EXPECT_EQ(t->size(), 0u);
        }
}

TEST_F(ConnTableTest, SecondKeysAreUsedAgain) {
    auto t = make(10, 0, 8);
    const auto call = [](unsigned id, bool back) {
        const IpAddr a = IpAddr::v4(10, 0, 0, 1), b = IpAddr::v4(192, 0, 2, 9);
        return Parsed(gre_call(back ? b : a, back ? a : b, static_cast<std::uint16_t>(id)));
    };
    for (int round = 0; round < 3; ++round) {
        std::vector<std::uint32_t> slots;
        for (unsigned id = 1;; ++id) {
            Parsed p = call(id, false);
            const std::uint32_t slot = add(*t, p, true);
            if (slot == 0) break;
            slots.push_back(slot);
            ASSERT_EQ(t->has_second_key(), id <= 8);
            ASSERT_EQ(t->pair(slot, Be16::from_host(static_cast<std::uint16_t>(100 + id))),
                      id <= 8);
        }
        EXPECT_EQ(slots.size(), 10u);  // a second key takes no slot
        EXPECT_EQ(t->size(), 10u);
        for (unsigned id = 1; id <= 10; ++id) {
            Parsed there = call(id, false), back = call(100 + id, true);
            ASSERT_TRUE(found(*t, there));
            EXPECT_EQ(there.info.conn, slots[id - 1]);
            EXPECT_EQ(there.info.dir, Direction::original);
            ASSERT_EQ(found(*t, back), id <= 8);
            if (id > 8) continue;
            EXPECT_EQ(back.info.conn, slots[id - 1]);
            EXPECT_EQ(back.info.dir, Direction::reply);
        }
        // Who would get another's answers is named, by either of the other's keys.
        Parsed answer = call(101, true);
        ASSERT_TRUE(found(*t, answer));
        EXPECT_EQ(t->holder_of(slots[1], Be16::from_host(101)), slots[0]);
        EXPECT_EQ(t->holder_of(slots[1], Be16::from_host(102)), slots[1]);
        for (const std::uint32_t slot : slots)
            t->remove(slot);
        EXPECT_EQ(t->size(), 0u);
    }
    Parsed last = call(1, false);
    auto one = make(1, 0, 0);
    const std::uint32_t slot = add(*one, last, true);
    ASSERT_NE(slot, 0u);
    EXPECT_FALSE(one->pair(slot, Be16::from_host(9)));
    one->remove(slot);
    EXPECT_NE(add(*one, last, true), 0u);
}

TEST_F(ConnTableTest, AnErrorFindsTheConnectionItSpeaksOf) {
    auto t = make(100);
    for (const Exchange& e : exchanges()) {
        SCOPED_TRACE(e.name);
        Parsed there(e.there);
        const std::uint32_t slot = add(*t, there);
        const Tuple tuple = *tuple_of(there.frame.data(), there.info);
        // From the far end, and from a router on the way.
        for (const char* router : {"", "198.51.100.1"}) {
            IpAddr from = tuple.dst;
            if (*router != 0)
                from = from.family == Family::ipv4 ? *IpAddr::parse(router)
                                                   : *IpAddr::parse("2001:db8:9::9");
            Parsed error(unreachable(from, tuple.src, e.there));
            EXPECT_EQ(error.info.kind, L4Kind::icmp_error);
            ASSERT_TRUE(found(*t, error));
            EXPECT_EQ(error.info.conn, slot);
            EXPECT_EQ(error.info.dir, Direction::reply);
        }
        Parsed back(unreachable(tuple.src, tuple.dst, e.back));
        ASSERT_TRUE(found(*t, back));
        EXPECT_EQ(back.info.conn, slot);
        EXPECT_EQ(back.info.dir, Direction::original);
        t->remove(slot);
    }
}

TEST_F(ConnTableTest, TwoIpv6ConnectionsOnOneDigestAreToldApart) {
    const char* const src = "2001:db8::1";
    const char* const dst = "2001:db8::2";
    const Flow others[] = {
        flow(src, 3, dst, 2),           flow(src, 1, dst, 3),
        flow("2001:db9::1", 1, dst, 2),  // each half of each address
        flow("2001:db8::3", 1, dst, 2), flow(src, 1, "2001:db9::2", 2),
        flow(src, 1, "2001:db8::4", 2),
    };
    for (const Flow& other : others) {
        auto t = make(10);
        Parsed a(udp(flow(src, 1, dst, 2)));
        ASSERT_NE(add(*t, a), 0u);
        for (const bool back : {false, true}) {
            Parsed own(udp(back ? flow(dst, 2, src, 1) : flow(src, 1, dst, 2)));
            Parsed b(udp(back ? other.back() : other));
            b.info.key = a.info.key;  // nobody can find such a pair; say that somebody did
            b.info.hash = a.info.hash;
            b.info.swapped = own.info.swapped;
            EXPECT_FALSE(found(*t, b));
            EXPECT_EQ(b.info.why, DropReason::ct_collision);
            b.info.why = DropReason::none;
            t->prefetch_conn(b.info);
            EXPECT_EQ(found_by_guess(*t, b.info, b.frame.data()), nullptr);
            EXPECT_EQ(b.info.why, DropReason::ct_collision);
            EXPECT_TRUE(found(*t, own));
            EXPECT_EQ(own.info.dir, back ? Direction::reply : Direction::original);
        }
    }
}

TEST_F(ConnTableTest, SilentConnectionsExpireInBudgetedSteps) {
    auto t = make(100);
    for (std::uint32_t i = 0; i < 50; ++i) {
        Parsed p(udp(flow("10.0.0.1", i, "10.0.0.2", 53)));
        const std::uint32_t slot = add(*t, p);
        t->at(slot).timeout_ms = i < 40 ? 1000 : 5000;
        t->arm(slot);
    }
    const auto end = [&](std::uint32_t slot) { t->remove(slot); };
    t->expire(Tick{900}, 64, end);
    EXPECT_EQ(t->size(), 50u);
    // A packet of one of them in the meantime: only the time is stamped.
    Parsed alive(udp(flow("10.0.0.1", 7, "10.0.0.2", 53)));
    ASSERT_TRUE(found(*t, alive));
    t->at(alive.info.conn).last_seen_ms = 900;
    EXPECT_LE(t->expire(Tick{1200}, 10, end), 10u);
    EXPECT_GE(t->size(), 40u);
    while (t->expire(Tick{1200}, 10, end) == 10) {
    }
    EXPECT_EQ(t->size(), 11u);
    EXPECT_TRUE(found(*t, alive));
    while (t->expire(Tick{6000}, 10, end) == 10) {
    }
    EXPECT_EQ(t->size(), 0u);
}

// Against a list of deadlines: connections come, are ended, speak, change their minds about how
// long they may be silent, and end by silence; slots are used again long before their last timer
// would have fired.
TEST_F(ConnTableTest, EachConnectionEndsInItsOwnTimeWhoeverHadItsSlotBefore) {
    constexpr std::uint32_t kFlows = 200, kMax = 60,
                            kTimeouts[] = {90, 5'000, 119'999, 120'000, 432'000'000};
    for (std::uint32_t seed = 1; seed <= 6; ++seed) {
        std::mt19937 random(seed);
        const auto below = [&](std::uint32_t n) {
            return static_cast<std::uint32_t>(random() % n);
        };
        auto t = make(kMax);
        std::vector<Parsed> flows;
        for (std::uint32_t i = 0; i < kFlows; ++i)
            flows.emplace_back(udp(flow("10.0.0.1", i + 1, "10.0.0.2", 53)));
        std::set<std::uint32_t> live;  // slots
        std::uint32_t expired = 0;
        for (Tick now{0}; now.ms < 400'000; now = now + below(below(200) == 0 ? 20'000 : 100)) {
            t->expire(now, 1000, [&](std::uint32_t slot) {
                ASSERT_EQ(live.count(slot), 1u);
                ASSERT_TRUE(reached(t->at(slot).deadline(), now)) << "early";
                t->remove(slot);
                live.erase(slot);
                ++expired;
            });
            for (const std::uint32_t slot : live)
                ASSERT_GT(t->at(slot).deadline() + 100 - now, 0) << "late";
            ASSERT_EQ(t->size(), live.size());
            for (unsigned n = below(6); n > 0; --n) {
                Parsed& p = flows[below(kFlows)];
                if (!found(*t, p)) {
                    const std::uint32_t slot = t->create_conn(p.info, p.frame.data(), now, false);
                    ASSERT_EQ(slot == 0, live.size() == kMax);
                    if (slot == 0) continue;
                    ASSERT_TRUE(live.insert(slot).second);
                    t->at(slot).timeout_ms = kTimeouts[below(std::size(kTimeouts))];
                    t->arm(slot);
                    if (below(4) != 0) continue;
                    t->remove(slot);  // at once
                    live.erase(slot);
                    continue;
                }
                const std::uint32_t slot = p.info.conn;
                Conn& c = t->at(slot);
                if (below(3) == 0) {
                    t->remove(slot);
                    live.erase(slot);
                    continue;
                }
                const std::uint32_t before = c.timeout_ms;
                c.last_seen_ms = now.ms;
                c.timeout_ms = kTimeouts[below(std::size(kTimeouts))];
                t->arm_if_shorter(slot, before, c.timeout_ms);
            }
        }
        EXPECT_GT(expired, 100u);
    }
}

std::size_t heap_used() {
    std::size_t used = 0;
    for (int socket = 0; socket < 8; ++socket) {
        rte_malloc_socket_stats stats{};
        if (rte_malloc_get_socket_stats(socket, &stats) == 0) used += stats.heap_allocsz_bytes;
    }
    return used;
}

TEST_F(ConnTableTest, AConnectionTakesAtMost256Bytes) {
    constexpr std::uint32_t kMax = 200'000;
    const std::size_t before = heap_used();
    auto t = make(kMax);
    const std::size_t taken = heap_used() - before;
    const double each = static_cast<double>(taken) / kMax;
    RecordProperty("bytes_per_connection", std::to_string(each));
    std::printf("memory: %.1f bytes a connection (%zu for the Conn)\n", each, sizeof(Conn));
    EXPECT_LE(each, 256.0);
    EXPECT_GT(each, sizeof(Conn));
    EXPECT_NEAR(static_cast<double>(t->memory_bytes()), static_cast<double>(taken),
                0.1 * static_cast<double>(taken));
    // All of them fit.
    for (std::uint32_t i = 0; i < kMax; ++i) {
        Parsed p(udp(flow("10.0.0.1", i & 0xffff, "10.0.0.2", 53 + (i >> 16))));
        ASSERT_NE(add(*t, p), 0u) << i;
    }
    EXPECT_EQ(heap_used() - before, taken);
}

}  // namespace
}  // namespace postern
