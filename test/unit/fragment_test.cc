// SPDX-License-Identifier: BSD-3-Clause
// Datagrams in fragments, through whole workers: what passes, what leaves, what is refused and why.
#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "stages/stages.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::Flow;
using frames::Frame;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr const char* kPolicy =
    "policy: {rules: [{name: out, from: inside, proto: [udp, icmp, icmpv6, 99], action: accept},\n"
    "                 {name: no, from: inside, proto: tcp, action: reject}]}\n";

std::string text(unsigned bytes) {
    std::string s;
    for (unsigned i = 0; i < bytes; ++i)
        s += static_cast<char>('a' + i * 7 % 23);
    return s;
}

std::vector<Frame> frames_of(const World& world) {
    std::vector<Frame> all;
    for (const World::Packet& p : world.out)
        all.push_back(p.frame);
    return all;
}

/// Family and number of workers.
class Fragments : public ::testing::TestWithParam<std::pair<int, unsigned>> {
  protected:
    bool v4() const { return GetParam().first == 4; }
    unsigned workers() const { return GetParam().second; }
    Flow flow(unsigned sport = 4000) const {
        return v4() ? frames::flow("192.0.2.1", sport, "192.0.2.2", 53)
                    : frames::flow("2001:db8::1", sport, "2001:db8::2", 53);
    }
    Frame datagram(unsigned bytes = 3000) const { return frames::udp(flow(), text(bytes)); }

    World world_{kPolicy, GetParam().second};
    std::vector<Frame> out_;  ///< what came out by the last send()
    unsigned next_ = 0;
    /// Each on another worker than the one before.
    bool send(const Frame& f, PortId port = World::kInside) {
        world_.keep_out = true;
        world_.out.clear();
        const bool sent = world_.send(f, port, next_++ % workers());
        out_ = frames_of(world_);
        return sent;
    }
    /// All of them; true when all came out by the last one, as they were.
    bool send_all(const std::vector<Frame>& all, PortId port = World::kInside) {
        bool early = false;
        for (std::size_t i = 0; i < all.size(); ++i)
            early |= send(all[i], port) && i + 1 < all.size();
        std::vector<Frame> sorted = all, got = out_;
        std::sort(sorted.begin(), sorted.end());
        std::sort(got.begin(), got.end());
        return !early && got == sorted;
    }
    /// Nothing held, nothing lost on the way.
    void TearDown() override {
        EXPECT_EQ(world_.unbalanced(), "");
        EXPECT_EQ(world_.buffers_in_use(), world_.sum(&WorkerCounters::fragments_held));
    }
    /// Sends fragments of one datagram, which are all dropped for this reason.
    void expect_given_up(const std::vector<Frame>& all, DropReason why) {
        for (const Frame& f : all)
            EXPECT_FALSE(send(f));
        EXPECT_EQ(world_.drops(why), all.size()) << to_string(why);
        EXPECT_EQ(world_.sum(&WorkerCounters::dropped), all.size());
        EXPECT_EQ(world_.buffers_in_use(), 0u);
    }
};

TEST_P(Fragments, LeaveAsTheyCame) {
    EXPECT_TRUE(send_all(frames::fragments(datagram(), 1400, 7)));
    EXPECT_EQ(world_.sum(&WorkerCounters::reassembled), 1u);
    EXPECT_EQ(world_.sum(&WorkerCounters::connections_created), 1u);
    EXPECT_TRUE(world_.connection(53));
    const Frame answer = frames::udp(flow().back(), text(5000));
    EXPECT_TRUE(send_all(frames::fragments(answer, 1232, 8), World::kOutside));
    EXPECT_EQ(world_.connection(53)->conn.has(conn_flag::seen_reply), true);
    EXPECT_EQ(world_.buffers_in_use(), 0u);
}

TEST_P(Fragments, OneConnectionWithWholePackets) {
    EXPECT_TRUE(send(frames::udp(flow(), "small")));
    EXPECT_TRUE(send_all(frames::fragments(datagram(), 1400, 7)));
    EXPECT_EQ(world_.sum(&WorkerCounters::connections_created), 1u);
}

TEST_P(Fragments, InAnyOrder) {
    auto all = frames::fragments(datagram(), 800, 7);
    ASSERT_EQ(all.size(), 4u);
    std::sort(all.begin(), all.end());
    std::uint32_t id = 8;
    do {
        ASSERT_TRUE(send_all(all));
        // They come out first to last, whatever the order in which they came.
        const auto ordered = frames::fragments(datagram(), 800, id - 1);
        ASSERT_EQ(out_, ordered);
        all = frames::fragments(datagram(), 800, id++);
        std::rotate(all.begin(), all.begin() + id % 4, all.end());
        if (id % 2 == 0) std::swap(all[0], all[3]);
    } while (id < 30);
    EXPECT_EQ(world_.buffers_in_use(), 0u);
}

TEST_P(Fragments, ManyAndLarge) {
    EXPECT_TRUE(send_all(frames::fragments(datagram(60'000), 1448, 7)));
    EXPECT_TRUE(send_all(frames::fragments(datagram(600), 16, 8)));
}

TEST_P(Fragments, EchoPasses) {
    const Flow f = flow();
    Frame rest(3000);
    const Frame request = frames::icmp(f.src, f.dst, v4() ? 8 : 128, 0, rest);
    EXPECT_TRUE(send_all(frames::fragments(request, 1448, 7)));
    const Frame reply = frames::icmp(f.dst, f.src, v4() ? 0 : 129, 0, rest);
    EXPECT_TRUE(send_all(frames::fragments(reply, 1448, 7), World::kOutside));
}

TEST_P(Fragments, PolicyDecidesAboutTheWhole) {
    for (const Frame& f : frames::fragments(datagram(), 1400, 7))
        EXPECT_FALSE(send(f, World::kOutside));
    EXPECT_EQ(world_.drops(DropReason::policy), 3u);
    EXPECT_EQ(world_.buffers_in_use(), 0u);
}

TEST_P(Fragments, RejectAnswersOnce) {
    const std::string long_text = text(3000);
    const Frame syn = frames::tcp(flow(), {.flags = tcp_flag::syn, .payload = long_text});
    const auto all = frames::fragments(syn, 1448, 7);
    EXPECT_FALSE(send(all[0]));
    EXPECT_FALSE(send(all[1]));
    EXPECT_TRUE(send(all[2]));
    ASSERT_EQ(out_.size(), 1u);
    EXPECT_TRUE(frames::checksums_right(out_[0]));
    EXPECT_EQ(world_.buffers_in_use(), 0u);
}

TEST_P(Fragments, SameIdOfOthersIsAnotherDatagram) {
    const auto a = frames::fragments(datagram(), 1448, 7);
    const Flow g = v4() ? frames::flow("192.0.2.9", 1, "192.0.2.2", 53)
                        : frames::flow("2001:db8::9", 1, "2001:db8::2", 53);
    const auto b = frames::fragments(frames::udp(g, text(3000)), 1448, 7);
    EXPECT_FALSE(send(a[0]));
    EXPECT_FALSE(send(b[1]));
    EXPECT_FALSE(send(a[1]));
    EXPECT_FALSE(send(b[0]));
    EXPECT_TRUE(send(a[2]));
    EXPECT_EQ(out_, a);
    EXPECT_TRUE(send(b[2]));
    EXPECT_EQ(out_, b);
}

TEST_P(Fragments, PaddingIsNotData) {
    auto all = frames::fragments(datagram(1400), 1400, 7);
    ASSERT_EQ(all.size(), 2u);
    auto padded = all;
    padded[1].resize(padded[1].size() + 18);
    EXPECT_FALSE(send(padded[1]));
    EXPECT_TRUE(send(padded[0]));
    EXPECT_EQ(out_, all);
}

TEST_P(Fragments, DuplicateIsDroppedAlone) {
    const auto all = frames::fragments(datagram(), 1448, 7);
    EXPECT_FALSE(send(all[0]));
    EXPECT_FALSE(send(all[2]));
    EXPECT_FALSE(send(all[0]));
    EXPECT_FALSE(send(all[2]));
    EXPECT_TRUE(send(all[1]));
    EXPECT_EQ(out_, all);
    EXPECT_EQ(world_.drops(DropReason::fragment_duplicate), 2u);
}

TEST_P(Fragments, OverlapGivesTheDatagramUp) {
    const Frame d = datagram();
    expect_given_up(
        {frames::fragment(d, 0, 1448, true, 7), frames::fragment(d, 1440, 1448, true, 7),
         frames::fragment(d, 1448, 1560, false, 7), frames::fragment(d, 0, 8, true, 7)},
        DropReason::fragment_overlap);
}

TEST_P(Fragments, OverlapFromBeforeGivesTheDatagramUp) {
    const Frame d = datagram();
    expect_given_up(
        {frames::fragment(d, 1448, 1448, true, 7), frames::fragment(d, 0, 1456, true, 7)},
        DropReason::fragment_overlap);
}

TEST_P(Fragments, TinyFirstOneGivesTheDatagramUp) {
    const Frame d = frames::tcp(flow(), {.flags = tcp_flag::syn});
    expect_given_up({frames::fragment(d, 0, 16, true, 7), frames::fragment(d, 16, 4, false, 7)},
                    DropReason::fragment_tiny);
}

TEST_P(Fragments, HeaderThatGoesOnInTheSecondOneIsTiny) {
    const Frame d = frames::tcp(flow(), {.flags = tcp_flag::syn, .options = Frame(20, 1)});
    expect_given_up({frames::fragment(d, 0, 24, true, 7), frames::fragment(d, 24, 16, false, 7)},
                    DropReason::fragment_tiny);
}

TEST_P(Fragments, SecondOneInsideTheHeaderIsTiny) {
    const Frame d = frames::tcp(flow(), {.flags = tcp_flag::syn});
    if (v4())
        expect_given_up({frames::fragment(d, 8, 16, true, 7), frames::fragment(d, 0, 24, true, 7)},
                        DropReason::fragment_tiny);
}

TEST_P(Fragments, OddLengthGivesTheDatagramUp) {
    const Frame d = datagram();
    expect_given_up(
        {frames::fragment(d, 0, 1449, true, 7), frames::fragment(d, 1448, 1560, false, 7)},
        DropReason::fragment_bad);
}

TEST_P(Fragments, TwoEndsGiveTheDatagramUp) {
    const Frame d = datagram();
    expect_given_up(
        {frames::fragment(d, 2000, 8, false, 7), frames::fragment(d, 2400, 8, false, 7)},
        DropReason::fragment_bad);
    World other(kPolicy, 1);
    EXPECT_FALSE(other.from_inside(frames::fragment(d, 2400, 8, true, 7)));
    EXPECT_FALSE(other.from_inside(frames::fragment(d, 2000, 8, false, 7)));
    EXPECT_EQ(other.drops(DropReason::fragment_bad), 2u);
}

TEST_P(Fragments, BeyondTheLargestDatagramGivesItUp) {
    expect_given_up({frames::fragment(datagram(), 65528, 1400, false, 7)},
                    DropReason::fragment_bad);
}

TEST_P(Fragments, TooManyGiveTheDatagramUp) {
    expect_given_up(frames::fragments(datagram(65 * 8 - 8), 8, 7), DropReason::fragment_too_many);
}

TEST_P(Fragments, NeverCompletedOnesEnd) {
    const auto all = frames::fragments(datagram(), 1448, 7);
    EXPECT_FALSE(send(all[0]));
    EXPECT_FALSE(send(all[2]));
    EXPECT_EQ(world_.sum(&WorkerCounters::fragments_held), 2u);
    world_.pass(29'900);
    EXPECT_EQ(world_.drops(DropReason::fragment_timeout), 0u);
    world_.pass(200);
    EXPECT_EQ(world_.drops(DropReason::fragment_timeout), 2u);
    EXPECT_EQ(world_.sum(&WorkerCounters::fragments_held), 0u);
    EXPECT_EQ(world_.buffers_in_use(), 0u);
    EXPECT_FALSE(send(all[1]));  // begins anew
}

TEST_P(Fragments, GivenUpIsForgottenInTime) {
    const Frame d = datagram();
    EXPECT_FALSE(send(frames::fragment(d, 0, 1448, true, 7)));
    EXPECT_FALSE(send(frames::fragment(d, 0, 1456, true, 7)));
    world_.pass(30'100);
    EXPECT_TRUE(send_all(frames::fragments(d, 1448, 7)));
}

/// An IPv4 identification has come round: what is left of the datagram that had it first does not
/// harm the next one.
class FragmentIds : public Fragments {
  protected:
    void other_datagrams(unsigned n) {
        for (unsigned id = 1000; n != 0; --n, ++id)
            ASSERT_TRUE(send_all(frames::fragments(datagram(), 1600, id)));
    }
    Frame older() const { return frames::udp(flow(), std::string(3000, 'o')); }
};

TEST_P(FragmentIds, LostLaterFragmentDoesNotSpoilTheNextDatagram) {
    EXPECT_FALSE(send(frames::fragments(older(), 1448, 7)[0]));
    other_datagrams(40);
    EXPECT_TRUE(send_all(frames::fragments(datagram(), 1448, 7)));
    EXPECT_EQ(world_.drops(DropReason::fragment_timeout), 1u);
    // Nor in other sizes.
    EXPECT_FALSE(send(frames::fragments(older(), 1448, 8)[1]));
    other_datagrams(40);
    EXPECT_TRUE(send_all(frames::fragments(datagram(), 1600, 8)));
    EXPECT_EQ(world_.buffers_in_use(), 0u);
}

TEST_P(FragmentIds, LostFirstFragmentDoesNotSpoilTheNextDatagram) {
    // Nothing contradicts: only time tells, or distance.
    EXPECT_FALSE(send(frames::fragments(older(), 1600, 7)[1]));
    other_datagrams(40);
    world_.pass(1100);
    EXPECT_TRUE(send_all(frames::fragments(datagram(), 1600, 7)));
    EXPECT_FALSE(send(frames::fragments(older(), 1600, 8)[1]));
    other_datagrams(520);
    EXPECT_TRUE(send_all(frames::fragments(datagram(), 1600, 8)));
    EXPECT_EQ(world_.drops(DropReason::fragment_timeout), 2u);
}

TEST_P(FragmentIds, WhatWasGivenUpDoesNotSpoilTheNextDatagram) {
    EXPECT_FALSE(send(frames::fragment(older(), 0, 1448, true, 7)));
    EXPECT_FALSE(send(frames::fragment(older(), 0, 1456, true, 7)));
    EXPECT_FALSE(send(frames::fragment(older(), 1448, 1560, false, 7))) << "its own rest";
    EXPECT_EQ(world_.drops(DropReason::fragment_overlap), 3u);
    other_datagrams(40);
    EXPECT_TRUE(send_all(frames::fragments(datagram(), 1448, 7)));
}

// Links that hash by ports carry first fragments here and later ones there, in bursts.
TEST_P(FragmentIds, DisorderIsNotAge) {
    std::vector<Frame> later;
    for (unsigned id = 1; id <= 100; ++id) {
        const auto parts = frames::fragments(datagram(600), 400, id);
        ASSERT_EQ(parts.size(), 2u);
        EXPECT_FALSE(send(parts[0]));
        later.push_back(parts[1]);
    }
    for (const Frame& f : later)
        EXPECT_TRUE(send(f));
    EXPECT_EQ(world_.sum(&WorkerCounters::reassembled), 100u);
}

TEST_P(FragmentIds, OfOthersCountForThemselves) {
    EXPECT_FALSE(send(frames::fragments(older(), 1600, 7)[0]));
    for (unsigned port = 1; port < 90; ++port) {
        const Flow f = frames::flow("192.0.2.3", port, "192.0.2.2", 53);
        ASSERT_TRUE(send_all(frames::fragments(frames::udp(f, text(3000)), 1600, port)));
    }
    EXPECT_FALSE(send(frames::fragments(datagram(), 1600, 7)[0]));
    EXPECT_EQ(world_.drops(DropReason::fragment_duplicate), 1u);
}

INSTANTIATE_TEST_SUITE_P(All, FragmentIds, ::testing::Values(std::pair{4, 1u}, std::pair{4, 4u}),
                         [](const auto& p) { return std::to_string(p.param.second) + "_workers"; });

TEST_P(Fragments, OldestGiveWay) {
    World world(kPolicy, 1, {}, "connections: 1024, fragments: 64");
    const Frame d = datagram();
    for (unsigned id = 100; id < 400; ++id)
        EXPECT_FALSE(world.from_inside(frames::fragment(d, 0, 1448, true, id)));
    EXPECT_EQ(world.sum(&WorkerCounters::fragments_held), 64u);
    EXPECT_EQ(world.drops(DropReason::fragment_full), 300u - 64u);
    const auto all = frames::fragments(d, 1448, 7);
    world.keep_out = true;
    EXPECT_FALSE(world.from_inside(all[0]));
    EXPECT_FALSE(world.from_inside(all[1]));
    EXPECT_TRUE(world.from_inside(all[2]));
    EXPECT_EQ(frames_of(world), all);
}

TEST_P(Fragments, WithoutTheStageTheyAreDropped) {
    World world(kPolicy, workers(),
                "pipeline: [parse, steer, conntrack, expect, policy, commit, helper, forward]\n");
    for (const Frame& f : frames::fragments(datagram(), 1448, 7))
        EXPECT_FALSE(world.from_inside(f));
    EXPECT_EQ(world.drops(DropReason::fragment), 3u);
}

INSTANTIATE_TEST_SUITE_P(All, Fragments,
                         ::testing::Values(std::pair{4, 1u}, std::pair{6, 1u}, std::pair{4, 4u},
                                           std::pair{6, 4u}),
                         [](const auto& p) {
                             return "IPv" + std::to_string(p.param.first) + "on" +
                                    std::to_string(p.param.second);
                         });

TEST(FragmentedNeighbourDiscovery, IsRefused) {
    World world(kPolicy, 1);
    const Flow f = frames::flow("fe80::1", 0, "fe80::2", 0);
    for (const Frame& part :
         frames::fragments(frames::icmp(f.src, f.dst, 135, 0, Frame(20)), 16, 7))
        EXPECT_FALSE(world.from_inside(part));
    EXPECT_EQ(world.drops(DropReason::fragment_bad), 2u);
}

TEST(FragmentHeaders, TwoOfThemAreRefused) {
    World world(kPolicy, 1);
    const Frame d = frames::udp(frames::flow("2001:db8::1", 1, "2001:db8::2", 53), text(100));
    // Offset 0 and more to come, then one that says "whole": no way round reassembly.
    const Frame two = frames::wrap_extensions(
        d, {{44, Frame{0, 0, 0, 1, 0, 0, 0, 7}}, {44, Frame{0, 0, 0, 0, 0, 0, 0, 7}}});
    EXPECT_FALSE(world.from_inside(two));
    EXPECT_EQ(world.drops(DropReason::bad_ext_header), 1u);
}

TEST(StageOrder, ReassembleAfterSteerIsRefused) {
    std::vector<const StageDesc*> stages;
    for (const char* name : {"parse", "steer", "reassemble", "conntrack", "expect", "policy",
                             "commit", "helper", "forward"})
        stages.push_back(find_stage(name));
    const auto wrong = order_problem(stages);
    ASSERT_TRUE(wrong);
    EXPECT_EQ(wrong->at, 2u);
    EXPECT_EQ(wrong->text, "stage \"reassemble\" comes too late: it has to be before \"steer\"");
}

}  // namespace
}  // namespace postern
