// SPDX-License-Identifier: BSD-3-Clause
// What happens to cards: queues that are full, links that go and come, cards that are pulled out,
// counters that begin again.
#include <atomic>
#include <thread>

#include <gtest/gtest.h>
#include <rte_cycles.h>
#include <rte_mempool.h>

#include "nic/traffic.h"
#include "port_report.h"
#include "port_watch.h"
#include "support/eal.h"
#include "worker_loop.h"

namespace postern::nic {
namespace {

constexpr PortId kIn = NicWorld::kInside, kOut = NicWorld::kOutside;

Frame one_of(const frames::Flow& f) {
    return frames::udp(f, "payload");
}

TEST(Descriptors, FramesBeyondThemAreMissedAndCounted) {
    Abilities few;
    few.descriptors = 64;
    NicWorld world({.workers = 2, .inside = few});
    const auto all = flows(300, 4, 1);
    unsigned arrived = 0;
    for (const auto& f : all)
        arrived += world.inside.arrive(one_of(f)) ? 1 : 0;
    EXPECT_LE(arrived, 128u) << "two queues";
    EXPECT_GE(arrived, 64u);
    for (int i = 0; i < 4; ++i)
        world.turn();
    EXPECT_EQ(world.outside.sent().size(), arrived);
    const auto stats = world.ports().stats(kIn);
    EXPECT_EQ(stats.rx_packets, arrived);
    EXPECT_EQ(stats.rx_missed, all.size() - arrived);
}

TEST(Descriptors, AFullTransmitQueueDropsAndCounts) {
    Abilities few;
    few.descriptors = 32;
    NicWorld world({.workers = 2, .outside = few});
    const auto all = flows(200, 4, 2);
    for (const auto& f : all) {
        ASSERT_TRUE(world.inside.arrive(one_of(f)));
        world.turn();
    }
    const auto sent = world.outside.sent().size();
    EXPECT_EQ(sent, 64u) << "two queues, from which nobody sends";
    EXPECT_EQ(world.drops(DropReason::tx_full), all.size() - sent);
    ASSERT_TRUE(world.inside.arrive(one_of(all[0])));
    world.turn();
    EXPECT_EQ(world.outside.sent().size(), 1u) << "and then it goes on";
}

TEST(Links, PacketsForALinkThatIsDownAreDroppedAndNotSentLate) {
    NicWorld world({.workers = 2});
    auto watch = PortWatch::create(world.ports(), world.spec);
    ASSERT_TRUE(watch.ok());
    const auto state = [&] { return watch->rows()[1]["state"].get<std::string>(); };
    // A look is due every 100 ms.
    const auto until = [&](const std::string& wanted) {
        while (state() != wanted)
            watch->turn();
    };
    const auto all = flows(20, 4, 3);
    world.outside.set_link(false);
    until("down");
    for (const auto& f : all) {
        ASSERT_TRUE(world.inside.arrive(one_of(f)));
        world.turn();
    }
    EXPECT_EQ(world.drops(DropReason::link_down), all.size());
    world.outside.set_link(true);
    until("up");
    EXPECT_TRUE(world.outside.sent().empty());
    EXPECT_TRUE(world.pass(one_of(all[0]), kIn));
    EXPECT_EQ(watch->counters(kOut).link_downs, 1u);
}

TEST(Removal, WhileItRuns) {
    NicWorld world({.workers = 4});
    auto watch = PortWatch::create(world.ports(), world.spec);
    ASSERT_TRUE(watch.ok());
    const auto state = [&] { return watch->rows()[1]["state"].get<std::string>(); };
    const auto all = flows(40, 4, 4);
    for (const auto& f : all)
        ASSERT_TRUE(world.pass(one_of(f), kIn));
    const auto before = world.ports().stats(kOut);
    EXPECT_EQ(before.tx_packets, all.size());
    // Packets are in its queues, and on their way to it.
    for (const auto& f : all)
        world.outside.arrive(one_of(f.back()));
    world.outside.pull_out();
    for (const auto& f : all)
        ASSERT_TRUE(world.inside.arrive(one_of(f)));
    world.turn();
    while (state() != "gone")
        watch->turn();
    for (const auto& f : all)
        ASSERT_TRUE(world.inside.arrive(one_of(f)));
    world.turn();
    EXPECT_GE(world.drops(DropReason::link_down), all.size());
    EXPECT_EQ(world.ports().stats(kOut).tx_packets, before.tx_packets)
        << "what it had counted is kept";

    world.outside.put_back();
    while (state() != "up")  // it is tried every second
        watch->turn();
    EXPECT_TRUE(world.ports().info(kOut).rss) << "it has its key and table again";
    world.inside.sent();
    const auto handed = world.handed_off();
    for (const auto& f : all) {
        EXPECT_TRUE(world.pass(one_of(f.back()), kOut)) << "its connection is still there";
        EXPECT_TRUE(world.pass(one_of(f), kIn));
    }
    EXPECT_EQ(world.handed_off(), handed);
    EXPECT_EQ(world.ports().stats(kOut).tx_packets, before.tx_packets + all.size());
}

TEST(Removal, ThatTheKernelAsksFor) {
    NicWorld world({.workers = 2});
    EXPECT_FALSE(world.ports().pulled_out(kOut));
    world.outside.pull_out(Nic::Report::by_bus);
    EXPECT_TRUE(world.ports().pulled_out(kOut));
    EXPECT_FALSE(world.ports().pulled_out(kIn));
    world.ports().detach(kOut);
    world.outside.put_back();
    ASSERT_TRUE(world.ports().attach(kOut).ok());
    EXPECT_FALSE(world.ports().pulled_out(kOut));
    EXPECT_TRUE(world.pass(one_of(flows(1, 4, 5)[0]), kIn));
    world.outside.pull_out(Nic::Report::by_bus);
    EXPECT_TRUE(world.ports().pulled_out(kOut)) << "and once more";
}

TEST(Removal, UnderRunningWorkers) {
    NicWorld world({.workers = 2, .start = Tick{0}});
    auto watch = PortWatch::create(world.ports(), world.spec);
    ASSERT_TRUE(watch.ok());
    const auto state = [&] { return watch->rows()[1]["state"].get<std::string>(); };
    const std::uint64_t start_tsc = rte_rdtsc();
    std::atomic<bool> stop{false};
    std::vector<LoopStats> stats(2);
    std::vector<std::thread> threads;
    for (unsigned w = 0; w < 2; ++w)
        threads.emplace_back([&, w] {
            run_worker(world.fw(), world.ports(), WorkerId::from(w),
                       {.burst = 32, .idle_spins = 10, .sleep_us = 20, .start_tsc = start_tsc},
                       stats[w], stop);
        });
    const auto all = flows(50, 4, 7);
    std::size_t next = 0;
    // Lets packets arrive until `done`.
    const auto send_until = [&](const std::function<bool()>& done) {
        while (!done()) {
            world.inside.arrive(one_of(all[next++ % all.size()]));
            watch->turn();
            std::this_thread::yield();
        }
    };
    const auto left = [&] { return !world.outside.sent().empty(); };
    for (int round = 0; round < 2; ++round) {
        send_until(left);
        world.outside.pull_out();
        send_until([&] { return state() == "gone"; });
        world.outside.put_back();
        send_until([&] { return state() == "up"; });
    }
    send_until(left);
    stop = true;
    for (auto& t : threads)
        t.join();
    world.now = TscClock(start_tsc).now();
    EXPECT_EQ(watch->counters(kOut).removals, 2u);
    EXPECT_EQ(watch->counters(kOut).attaches, 2u);
}

TEST(Removal, OfACardThatAnswersNothingAnyMore) {
    Abilities silent;
    silent.information_after_removal = false;
    NicWorld world({.workers = 2, .outside = silent});
    ASSERT_TRUE(world.pass(one_of(flows(1, 4, 5)[0]), kIn));
    EXPECT_EQ(world.ports().stats(kOut).tx_packets, 1u) << "the daemon reads them all the time";
    world.outside.pull_out();
    EXPECT_TRUE(world.ports().pulled_out(kOut));
    world.ports().detach(kOut);
    EXPECT_FALSE(world.ports().attach(kOut).ok()) << "its slot is empty";
    world.outside.put_back();
    const auto again = world.ports().attach(kOut);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_TRUE(world.pass(one_of(flows(1, 4, 5)[0]), kIn));
    EXPECT_EQ(world.ports().stats(kOut).tx_packets, 2u);
}

TEST(Removal, ACardWithFewerQueuesCannotTakeItsPlace) {
    NicWorld world({.workers = 4});
    world.outside.pull_out();
    world.ports().detach(kOut);
    world.outside.put_back();
    world.outside.can.rx_queues = 2;
    const auto refused = world.ports().attach(kOut);
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().message.find("another number of queues"), std::string::npos);
    world.outside.can.rx_queues = 16;
    world.outside.can.table_entries = 1;
    ASSERT_TRUE(world.ports().attach(kOut).ok());
    EXPECT_FALSE(world.ports().info(kOut).rss) << "its table does not suffice";
}

TEST(Counters, GoOnWhenTheCardsBeginAgain) {
    NicWorld world({.workers = 2});
    const auto all = flows(30, 4, 6);
    const auto pass_all = [&] {
        for (const auto& f : all)
            ASSERT_TRUE(world.pass(one_of(f), kIn));
    };
    const std::uint64_t bytes = all.size() * one_of(all[0]).size();
    for (unsigned round = 1; round <= 4; ++round) {
        pass_all();
        const auto in = world.ports().stats(kIn), out = world.ports().stats(kOut);
        EXPECT_EQ(in.rx_packets, round * all.size());
        EXPECT_EQ(in.rx_bytes, round * bytes);
        EXPECT_EQ(out.tx_packets, round * all.size());
        EXPECT_EQ(out.tx_bytes, round * bytes);
        world.inside.reset_counters();
        world.outside.reset_counters();
        // The daemon reads them ten times a second.
        world.ports().stats(kIn);
        world.ports().stats(kOut);
    }
}

TEST(Report, NamesWhatACardCannotDo) {
    PortSet::Info port;
    port.name = "in0";
    port.driver = "net_x";
    port.rx_queues = port.tx_queues = 2;
    port.rss = port.receives_all = true;
    port.node = 0;
    const int nodes[] = {0, 0, 1, 1};
    EXPECT_EQ(report_port(port, nodes).line,
              "port in0: net_x, 2 receive and 2 transmit queues, symmetric RSS");
    EXPECT_TRUE(report_port(port, nodes).warnings.empty()) << "two workers poll it";
    port.rss_without = "UDP";
    port.rx_queues = 4;
    port.checksums = true;
    EXPECT_EQ(report_port(port, nodes).line,
              "port in0: net_x, 4 receive and 2 transmit queues, symmetric RSS (without UDP: those "
              "packets are handed over), checks checksums");
    ASSERT_EQ(report_port(port, nodes).warnings.size(), 1u);
    EXPECT_EQ(report_port(port, nodes).warnings[0],
              "port in0: its device is on NUMA node 0, but worker 2, 3 on another; choose "
              "workers.cpus of node 0");
    port.receives_all = false;
    EXPECT_EQ(report_port(port, nodes).warnings.size(), 2u);
    port.node = -1;
    EXPECT_EQ(report_port(port, nodes).warnings.size(), 1u) << "an unknown node is no wrong one";
}

TEST(Nodes, PacketBuffersAreOnTheNodeOfTheCards) {
    Abilities here, there;
    here.node = 0;
    there.node = 1;
    const auto node = [](const Abilities& in, const Abilities& out) {
        NicWorld world({.workers = 2, .inside = in, .outside = out});
        EXPECT_EQ(world.refusal, "");
        EXPECT_EQ(world.ports().info(kOut).node, out.node);
        return rte_mempool_lookup("packets")->socket_id;
    };
    EXPECT_EQ(node(here, here), 0);
    EXPECT_EQ(node(there, there), SOCKET_ID_ANY) << "this process has no memory there";
    EXPECT_EQ(node(here, there), SOCKET_ID_ANY);
    EXPECT_EQ(node({}, {}), SOCKET_ID_ANY) << "unknown";
}

TEST(Report, ACardThatRefusesPromiscuousMode) {
    Abilities function;
    function.promiscuous = false;
    NicWorld world({.workers = 2, .outside = function});
    EXPECT_TRUE(world.ports().info(kIn).receives_all);
    EXPECT_FALSE(world.ports().info(kOut).receives_all);
}

}  // namespace
}  // namespace postern::nic
