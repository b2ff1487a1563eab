// SPDX-License-Identifier: BSD-3-Clause
// The parts of a worker, each by itself: rings to other workers, limits, expectations, and the
// transaction that makes a connection.
#include <array>
#include <functional>
#include <memory>

#include <gtest/gtest.h>
#include <rte_mbuf.h>

#include "pipeline/expecting.h"
#include "pipeline/new_connection.h"
#include "pipeline/peers.h"
#include "pipeline/worker_limits.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kOutgoing =
    "policy: {rules: [{name: out, from: inside, ct: [new], action: accept}]}\n";

class PeersTest : public ::testing::Test {
  protected:
    static constexpr unsigned kWorkers = 3;
    void SetUp() override {
        auto made = PeerRings::create(kWorkers, 4, 4);
        ASSERT_TRUE(made) << made.error().message;
        rings_ = std::move(made).value();
        for (unsigned w = 0; w < kWorkers; ++w)
            peers_[w] = std::make_unique<Peers>(*rings_, WorkerId::from(w), counters_[w]);
        pool_ = rte_pktmbuf_pool_create("peers", 63, 0, 0, 256, SOCKET_ID_ANY);
        ASSERT_NE(pool_, nullptr);
    }
    void TearDown() override { rte_mempool_free(pool_); }

    std::unique_ptr<PeerRings> rings_;
    std::array<PeerCounters, kWorkers> counters_;
    std::array<std::unique_ptr<Peers>, kWorkers> peers_;
    rte_mempool* pool_ = nullptr;
};

TEST_F(PeersTest, APacketReachesItsHomeAndNobodyElse) {
    rte_mbuf* const m = rte_pktmbuf_alloc(pool_);
    ASSERT_TRUE(peers_[0]->hand_off(m, WorkerId{2}));
    rte_mbuf* got[kMaxBurst];
    EXPECT_EQ(peers_[0]->take_handoff(got), 0u);
    EXPECT_EQ(peers_[1]->take_handoff(got), 0u);
    ASSERT_EQ(peers_[2]->take_handoff(got), 1u);
    EXPECT_EQ(got[0], m);
    EXPECT_EQ(counters_[0].handed_off.get(), 1u);
    EXPECT_EQ(counters_[2].taken_over.get(), 1u);
    rte_pktmbuf_free(m);
}

TEST_F(PeersTest, AFullRingTakesNothingAndRingsFreeWhatIsLeftInThem) {
    unsigned taken = 0;
    for (unsigned i = 0; i < 5; ++i) {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        if (peers_[0]->hand_off(m, WorkerId{1}))
            ++taken;
        else
            rte_pktmbuf_free(m);
    }
    EXPECT_EQ(taken, 3u);
    EXPECT_EQ(counters_[0].handed_off.get(), 3u);
    EXPECT_EQ(rte_mempool_in_use_count(pool_), 3u);
    rings_.reset();
    EXPECT_EQ(rte_mempool_in_use_count(pool_), 0u);
}

TEST_F(PeersTest, MastersAreToldByTheirWholeId) {
    const ConnId master{0xfffffff0, 0xfedc, WorkerId{1}};
    peers_[2]->notify_active(master);
    std::array<ConnId, 8> got{};
    EXPECT_EQ(peers_[0]->take_active(got.data(), 8), 0u);
    ASSERT_EQ(peers_[1]->take_active(got.data(), 8), 1u);
    EXPECT_EQ(got[0], master);
    for (unsigned i = 0; i < 4; ++i)
        peers_[2]->notify_active(master);
    EXPECT_EQ(counters_[2].masters_not_told.get(), 1u);
}

TEST_F(PeersTest, OrdersReachEveryWorkerAndWhoGivesThem) {
    ChildOrder order{};
    order.adopt = true;
    order.by = {7, 8, WorkerId{1}};
    peers_[1]->broadcast(order);
    for (const auto& peer : peers_) {
        std::array<ChildOrder, 4> got{};
        ASSERT_EQ(peer->take_orders(got.data(), 4), 1u);
        EXPECT_TRUE(got[0].adopt);
        EXPECT_EQ(got[0].by, order.by);
    }
    for (unsigned i = 0; i < 4; ++i)
        peers_[1]->broadcast(order);
    EXPECT_EQ(counters_[1].children_not_told.get(), 3u) << "once a worker";
}

class LimitsTest : public ::testing::Test {
  protected:
    LimitsTest() {
        const EdgeId inside = edges_.add_zone("inside"), outside = edges_.add_zone("outside");
        edges_.join(inside, outside);
        conn_.set_edges(edges_.pair(inside, outside));
        const auto who = frames::flow("192.0.2.1", 1, "192.0.2.2", 2).src;
        source_ = who;
        std::copy_n(who.bytes.begin(), 16, conn_.src);
        conn_.key.protocol = proto::udp;
    }

    Edges edges_;
    Conn conn_{};
    IpAddr source_;
    const std::function<IpAddr()> source_of_ = [this] { return source_; };
    const HashSecret secret_ = HashSecret::from_seed(3);
    const ZoneId inside_{0};
    const Tick now_{5000};
};

TEST_F(LimitsTest, NothingIsRefusedWithoutLimits) {
    Limits limits({.start = now_}, secret_);
    for (unsigned i = 0; i < 1000; ++i)
        ASSERT_EQ(limits.admit(inside_, source_of_, now_), DropReason::none);
    limits.opened(conn_, edges_, true);
    EXPECT_FALSE(conn_.has(conn_flag::half_open)) << "nobody counts";
}

TEST_F(LimitsTest, AZoneIsFullUntilAConnectionEnds) {
    Limits::Config config{.start = now_};
    config.per_zone[0] = 1;
    Limits limits(config, secret_);
    limits.opened(conn_, edges_, true);
    EXPECT_EQ(limits.admit(inside_, source_of_, now_), DropReason::zone_full);
    EXPECT_EQ(limits.admit(ZoneId{1}, source_of_, now_), DropReason::none);
    limits.ended(conn_, edges_);
    EXPECT_EQ(limits.admit(inside_, source_of_, now_), DropReason::none);
}

TEST_F(LimitsTest, AHalfOpenConnectionCountsUntilItIsConfirmedOrEnds) {
    Limits::Config config{.start = now_};
    config.sources.half_open = 1;
    Limits limits(config, secret_);
    for (const bool confirmed : {true, false}) {
        limits.opened(conn_, edges_, true);
        EXPECT_TRUE(conn_.has(conn_flag::half_open));
        EXPECT_EQ(limits.admit(inside_, source_of_, now_), DropReason::source_half_open);
        if (confirmed) limits.no_longer_half_open(conn_, edges_);
        limits.ended(conn_, edges_);
        EXPECT_FALSE(conn_.has(conn_flag::half_open));
        EXPECT_EQ(limits.admit(inside_, source_of_, now_), DropReason::none);
    }
    limits.opened(conn_, edges_, false);
    EXPECT_EQ(limits.admit(inside_, source_of_, now_), DropReason::none) << "it was expected";
}

TEST_F(LimitsTest, ConnectionsASecondComeBackWithTime) {
    Limits limits({.new_per_second = 2, .start = now_}, secret_);
    EXPECT_EQ(limits.admit(inside_, source_of_, now_), DropReason::none);
    EXPECT_EQ(limits.admit(inside_, source_of_, now_), DropReason::none);
    EXPECT_EQ(limits.admit(inside_, source_of_, now_), DropReason::worker_rate);
    limits.refill(now_ + 500);
    EXPECT_EQ(limits.admit(inside_, source_of_, now_ + 500), DropReason::none);
    EXPECT_EQ(limits.admit(inside_, source_of_, now_ + 500), DropReason::worker_rate);
}

/// A batch of one SYN, read as the parse stage does it.
void fill(Batch& b, World& world, frames::Frame& frame) {
    const Plan& plan = world.fw().plan();
    const PortPlan& port = plan.ports[World::kInside.number()];
    b.plan = &plan;
    b.now = world.now;
    b.n = 1;
    b.data[0] = frame.data();
    const auto bytes = static_cast<std::uint32_t>(frame.size());
    parse_packet(frame.data(), bytes, bytes, world.fw().steering().parse_context(port), b.info[0]);
    b.info[0].set_zones(port.zones);
}

TEST(ExpectingTest, WhatIsFiledIsFoundAndClaimedOnce) {
    World world(kOutgoing, 1);
    const auto batch = std::make_unique<Batch>();
    ExpectingCounters counters;
    Expecting expecting(world.fw().expectations(), world.fw().expectations().owner(0), *batch, 4,
                        counters);
    const auto flow = frames::flow("192.0.2.1", 40000, "198.51.100.2", 5000);
    frames::Frame syn = frames::tcp(flow, {.flags = 0x02});
    fill(*batch, world, syn);
    EXPECT_FALSE(expecting.any_pending());

    Conn master{};
    master.key = batch->info[0].key;
    master.helper_slot = 1;
    expecting.begin(1, false);
    ExpectRequest request;
    request.protocol = proto::tcp;
    request.dst = flow.dst;
    request.dport = Be16::from_host(5000);
    request.timeout_ms = 1000;
    request.class_max = 1;
    const ConnId id{1, 1, {}};
    ASSERT_TRUE(ok(expecting.file_for_control(request, master, id).outcome));
    EXPECT_EQ(request.master, id) << "its master's to say";
    EXPECT_TRUE(expecting.any_pending());
    expecting.probe(0);
    ASSERT_EQ(expecting.peek(0), ExpectAnswer::match);
    EXPECT_EQ(batch->match[0].master, id);
    EXPECT_TRUE(expecting.claim(0));
    EXPECT_FALSE(expecting.claim(0));
    EXPECT_EQ(counters.claims_lost.get(), 1u);
}

TEST(ExpectingTest, AMastersEndTakesWhatItExpects) {
    World world(kOutgoing, 1);
    const auto batch = std::make_unique<Batch>();
    ExpectingCounters counters;
    Expecting expecting(world.fw().expectations(), world.fw().expectations().owner(0), *batch, 4,
                        counters);
    const auto flow = frames::flow("192.0.2.1", 40000, "198.51.100.2", 21);
    frames::Frame syn = frames::tcp(flow, {.flags = 0x02});
    fill(*batch, world, syn);
    Conn master{};
    master.key = batch->info[0].key;
    std::copy_n(flow.src.bytes.begin(), 16, master.src);
    std::copy_n(flow.dst.bytes.begin(), 16, master.dst);
    master.helper_slot = 2;
    expecting.begin(2, false);
    RuleExpect wish;
    wish.protocol = proto::udp;
    wish.first_port = 6000;
    wish.last_port = 6002;
    wish.class_max = 8;
    wish.timeout_ms = 1000;
    ASSERT_TRUE(expecting.file_for_rule(wish, master, {2, 1, {}}));
    EXPECT_EQ(world.fw().expectations().live(), 3u);
    expecting.end_all(2, ExpectEnd::master_end);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
}

class NewConnectionTest : public ::testing::Test {
  protected:
    /// A SYN up to the point where its connection would be made.
    NewConnectionTest() {
        world_.take({{frames::tcp(kFlow, {.flags = 0x02}), World::kInside}}, 0);
        for (const StageDesc* stage : world_.fw().plan().stages) {
            if (stage->name == "commit") break;
            if (worker().batch()[stage->on] != 0) stage->run(worker(), worker().batch());
        }
    }
    ~NewConnectionTest() override { world_.put_out(worker()); }
    Worker& worker() { return world_.fw().worker(0); }
    DropReason admitted() {
        return worker().limits().admit(
            ZoneId{0}, [this] { return kFlow.src; }, worker().batch().now);
    }

    const frames::Flow kFlow = frames::flow("192.0.2.1", 40000, "198.51.100.2", 80);
    World world_{kOutgoing, 1, "",
                 "connections: 1024, expectations: 16, helped_connections: 16, "
                 "per_source: {half_open: 1}"};
};

TEST_F(NewConnectionTest, GivesBackWhatItTookUnlessCommitted) {
    {
        NewConnection made(worker().tracking(), false);
        ASSERT_TRUE(made.find_room(0));
        EXPECT_EQ(worker().conns().size(), 0u) << "a room is not taken yet";
        ASSERT_TRUE(made.create(0));
        EXPECT_EQ(worker().conns().size(), 1u);
        EXPECT_EQ(admitted(), DropReason::source_half_open);
    }
    EXPECT_EQ(worker().conns().size(), 0u);
    EXPECT_EQ(admitted(), DropReason::none);
    EXPECT_EQ(worker().counters().connections_ended.get(), 0u) << "it never began";
}

TEST_F(NewConnectionTest, StaysOnceCommitted) {
    std::uint32_t slot = 0;
    {
        NewConnection made(worker().tracking(), false);
        ASSERT_TRUE(made.find_room(0));
        ASSERT_TRUE(made.create(0));
        ASSERT_TRUE(start_tracking(made.conn(), worker().batch().info[0], worker().batch().data[0],
                                   world_.now, worker().plan().track));
        slot = made.commit();
    }
    EXPECT_EQ(worker().conns().size(), 1u);
    EXPECT_TRUE(worker().conns().at(slot).alive());
}

TEST(RefusedMasters, APassIsAboutWhatWasCollectedBeforeIt) {
    auto masters = std::make_unique<RefusedMasters>();
    const ConnId first{7, 1, WorkerId{2}}, second{7 + 2048, 1, WorkerId{2}};
    EXPECT_FALSE(masters->begin_pass());
    masters->add(first);
    masters->add(first);
    EXPECT_EQ(masters->room(), RefusedMasters::kMost - 1) << "one is one";
    EXPECT_FALSE(masters->contains(first));
    ASSERT_TRUE(masters->begin_pass());
    masters->add(second);
    EXPECT_TRUE(masters->contains(first));
    EXPECT_FALSE(masters->contains(second));
    EXPECT_FALSE(masters->contains({7, 2, WorkerId{2}})) << "the slot's next user";
    EXPECT_FALSE(masters->contains({7, 1, WorkerId{3}}));
    ASSERT_TRUE(masters->begin_pass());
    EXPECT_TRUE(masters->contains(second));
    EXPECT_FALSE(masters->contains(first));
    EXPECT_FALSE(masters->begin_pass());
}

TEST(RefusedMasters, HoldsAsManyAsItSays) {
    auto masters = std::make_unique<RefusedMasters>();
    for (std::uint32_t i = 1; masters->room() != 0; ++i)
        masters->add({i * 4096, 1, WorkerId{}});
    ASSERT_TRUE(masters->begin_pass());
    for (std::uint32_t i = 1; i <= RefusedMasters::kMost; ++i)
        ASSERT_TRUE(masters->contains({i * 4096, 1, WorkerId{}}));
    EXPECT_FALSE(masters->contains({1, 1, WorkerId{}}));
    EXPECT_EQ(masters->room(), RefusedMasters::kMost);
}

}  // namespace
}  // namespace postern
