// SPDX-License-Identifier: BSD-3-Clause
// Worker: what becomes of the packets of one burst, of packets that came to the wrong worker, and
// of those that are refused. Workers run on the test's thread, stage by stage where that matters.
#include <random>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::Flow;
using frames::flow;
using frames::Frame;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr PortId kIn = World::kInside, kOut = World::kOutside;
constexpr std::uint8_t kSyn = tcp_flag::syn, kAck = tcp_flag::ack, kFin = tcp_flag::fin,
                       kRst = tcp_flag::rst;

const std::string kInsideOut =
    "policy: {rules: [{name: out, from: inside, ct: [new], action: accept}]}\n";

Frame tcp(const Flow& f, unsigned flags, std::uint32_t seq, std::uint32_t ack = 0) {
    return frames::tcp(f, {.flags = static_cast<std::uint8_t>(flags), .seq = seq, .ack = ack});
}
const Flow kFlow = flow("192.0.2.1", 40000, "198.51.100.2", 80);
const Flow kFlow6 = flow("2001:db8::1", 40000, "2001:db8:1::2", 80);

TEST(Burst, AHandshakeInOneBurstPasses) {
    for (const Flow& f : {kFlow, kFlow6}) {
        World world(kInsideOut, 1);
        EXPECT_EQ(world.send_burst({{tcp(f, kSyn, 100), kIn},
                                    {tcp(f.back(), kSyn | kAck, 500, 101), kOut},
                                    {tcp(f, kAck, 101, 501), kIn}}),
                  "aaa");
        const auto conn = world.connection(80);
        ASSERT_TRUE(conn);
        EXPECT_EQ(conn->conn.tcp_state(), TcpState::established);
        EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
    }
}

TEST(Burst, AnAnswerWithoutItsQuestionDoesNotPass) {
    World world(kInsideOut, 1);
    EXPECT_EQ(world.send_burst({{tcp(kFlow.back(), kSyn | kAck, 500, 101), kOut},
                                {tcp(kFlow, kSyn, 100), kIn},
                                {tcp(kFlow.back(), kSyn | kAck, 500, 101), kOut}}),
              "daa");
    EXPECT_EQ(world.drops(DropReason::ct_not_first), 1u);
}

TEST(Burst, PacketsOfOneNewUdpFlowAreOneConnection) {
    World world(kInsideOut, 1);
    const Frame out = frames::udp(kFlow, "a"), back = frames::udp(kFlow.back(), "b");
    EXPECT_EQ(world.send_burst({{back, kOut}, {out, kIn}, {out, kIn}, {back, kOut}}), "daaa");
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
    EXPECT_EQ(world.drops(DropReason::policy), 1u);
}

TEST(Burst, RefusedSegmentsAreCountedByTheBoundThatRefuses) {
    World world(kInsideOut, 1);
    EXPECT_EQ(world.send_burst({{tcp(kFlow, kSyn, 100), kIn},
                                {tcp(kFlow.back(), kSyn | kAck, 500, 101), kOut},
                                {tcp(kFlow, kAck, 101, 501), kIn},
                                {tcp(kFlow.back(), kSyn, 501), kOut},
                                {tcp(kFlow, kAck, 1'000'000, 501), kIn},
                                {tcp(kFlow, kAck, 101, 502), kIn},
                                {tcp(kFlow.back(), kRst, 499), kOut},
                                {tcp(kFlow, kAck, 101, 501), kIn}}),
              "aaadddda");
    for (const DropReason why : {DropReason::tcp_state, DropReason::tcp_seq_beyond,
                                 DropReason::tcp_ack_unsent, DropReason::tcp_rst_old})
        EXPECT_EQ(world.drops(why), 1u) << to_string(why);
    EXPECT_EQ(world.drops(DropReason::ct_invalid), 0u);
}

TEST(Burst, AFreshSynAfterAResetInOneBurst) {
    World world(kInsideOut, 1);
    ASSERT_EQ(world.send_burst({{tcp(kFlow, kSyn, 100), kIn}}), "a");
    // Nobody had answered, so the reset ends the connection at once.
    EXPECT_EQ(world.send_burst({{tcp(kFlow.back(), kRst | kAck, 0, 101), kOut},
                                {tcp(kFlow, kSyn, 9000), kIn},
                                {tcp(kFlow.back(), kSyn | kAck, 700, 9001), kOut}}),
              "aaa");
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 2u);
    EXPECT_EQ(world.connection(80)->conn.tcp_state(), TcpState::syn_recv);
}

TEST(Burst, AClosedConnectionIsReopenedInTheBurstThatClosesIt) {
    World world(kInsideOut, 1);
    ASSERT_EQ(world.send_burst({{tcp(kFlow, kSyn, 100), kIn},
                                {tcp(kFlow.back(), kSyn | kAck, 500, 101), kOut},
                                {tcp(kFlow, kAck, 101, 501), kIn}}),
              "aaa");
    EXPECT_EQ(world.send_burst({{tcp(kFlow, kFin | kAck, 101, 501), kIn},
                                {tcp(kFlow.back(), kFin | kAck, 501, 102), kOut},
                                {tcp(kFlow, kAck, 102, 502), kIn},
                                {tcp(kFlow, kSyn, 70000), kIn},
                                {tcp(kFlow.back(), kSyn | kAck, 90000, 70001), kOut}}),
              "aaaaa");
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 2u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_ended), 1u);
}

/// What a packet makes of an established connection's time, two days into its five.
TEST(Timer, ATimeoutThatBecomesShorterEndsTheConnectionInTime) {
    using enum Direction;
    struct Row {
        const char* what;
        void (*say)(Talk&);
        std::uint32_t ends_after_ms;
    };
    constexpr Row kRows[] = {
        {"data that nobody acknowledges", [](Talk& t) { t.client("x"); }, 300'000},
        {"a FIN, and data has come before",
         [](Talk& t) { t.client("x"), t.packet(reply, kAck), t.packet(original, kFin | kAck); },
         120'000},
        {"both FINs",
         [](Talk& t) {
             t.packet(original, kFin | kAck), t.packet(reply, kAck);
             t.packet(reply, kFin | kAck);
         },
         30'000},
        {"a reset", [](Talk& t) { t.packet(reply, kRst | kAck); }, 10'000},
    };
    constexpr std::uint32_t kStep = 50, kUnit = 64, kDay = 24 * 3600 * 1000;
    for (const Row& row : kRows) {
        World world(kInsideOut, 1);
        Talk talk(world, kFlow);
        ASSERT_TRUE(talk.open());
        ASSERT_TRUE(talk.client("x") && talk.packet(reply, kAck)) << "minutes, and days again";
        world.pass(2 * kDay, 10'000);
        row.say(talk);
        world.pass(row.ends_after_ms - kStep, kStep);
        EXPECT_TRUE(world.connection(80)) << row.what;
        world.pass(kUnit + 2 * kStep, kStep);
        EXPECT_FALSE(world.connection(80)) << row.what;
    }
}

TEST(Burst, EveryPacketHasOneFateAndNoBufferIsLost) {
    std::mt19937 engine(11);
    const auto random = [&] { return static_cast<unsigned>(engine()); };
    for (unsigned workers : {1u, 3u}) {
        World world(
            "policy: {rules: [{name: r, from: inside, proto: udp, dport: 7, action: reject},"
            " {name: out, from: inside, ct: [new], action: accept}]}\n",
            workers);
        std::uint64_t came = 0;
        for (unsigned round = 0; round < 400; ++round) {
            std::vector<World::Packet> burst;
            for (unsigned i = 0; i < 1 + random() % 40; ++i) {
                Flow f = flow("192.0.2.1", 1000 + random() % 8, "198.51.100.2",
                              random() % 4 == 0 ? 7 : 80 + random() % 3);
                if (random() % 2) f = f.back();
                Frame frame;
                switch (random() % 4) {
                    case 0: frame = frames::udp(f, "x"); break;
                    case 1: frame = frames::echo(f, random() % 2, 7); break;
                    default:
                        frame = tcp(f, (random() % 2 ? kAck : 0u) | (1u << random() % 5),
                                    random() % 4000, random() % 4000);
                }
                if (random() % 8 == 0) frame[random() % frame.size()] ^= 0x55;
                if (random() % 8 == 0) frame.resize(1 + random() % frame.size());
                burst.push_back({frame, PortId::from(random() % 2)});
            }
            const std::string fate = world.send_burst(burst, random() % workers);
            EXPECT_EQ(fate.find('?'), std::string::npos) << fate;
            world.turn();
            came += burst.size();
            ASSERT_EQ(world.sum(&WorkerCounters::rx_packets), came) << "round " << round;
            ASSERT_EQ(world.unbalanced(), "") << "round " << round;
            ASSERT_EQ(world.buffers_in_use(), world.sum(&WorkerCounters::fragments_held))
                << "round " << round;
        }
        EXPECT_GT(world.sum(&WorkerCounters::rejected), 0u);
    }
}

TEST(Burst, WhatNoStageDecidesAboutIsBookedAsUndecided) {
    World world(kInsideOut, 1, "pipeline: [parse, forward]\n");
    EXPECT_FALSE(world.from_inside(frames::udp(flow("192.0.2.1", 1000, "192.0.2.2", 53), "x")));
    EXPECT_EQ(world.drops(DropReason::undecided), 1u);
    EXPECT_EQ(world.drops(DropReason::policy), 0u);
}

TEST(Burst, FramesThatAPortDoesNotTakeAreDroppedOnce) {
    World world(kInsideOut, 1);
    world.from_inside(frames::udp(flow("192.0.2.1", 1000, "192.0.2.2", 53), "x"));
    world.fw().worker(0).count_unsent(World::kOutside, 1, DropReason::tx_full);
    EXPECT_EQ(world.sum(&WorkerCounters::unsent), 1u);
    EXPECT_EQ(world.drops_at(World::kOutside, DropReason::tx_full), 1u);
    EXPECT_EQ(world.unbalanced(), "");
}

TEST(Burst, OptionsThatCannotBeAreDroppedAndWideScalesCountedOnce) {
    const auto syn = [](const Flow& f, frames::Frame options) {
        return frames::tcp(f, {.flags = kSyn, .seq = 100, .options = std::move(options)});
    };
    for (const unsigned workers : {1u, 3u}) {
        World world(kInsideOut, workers);
        for (unsigned port = 0; port < 8; ++port) {
            const Flow f = flow("192.0.2.1", 40000 + port, "198.51.100.2", 80);
            world.send_burst({{syn(f, {3, 0, 7, 0}), kIn}, {syn(f, {1, 3, 3, 15}), kIn}});
            world.turn();
        }
        EXPECT_EQ(world.drops(DropReason::tcp_option_length), 8u);
        EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 8u);
        // Also of those that came to the wrong worker first.
        EXPECT_EQ(world.sum(&WorkerCounters::window_scales_limited), 8u);
        ASSERT_TRUE(
            world.from_inside(syn(flow("192.0.2.9", 1, "198.51.100.2", 8080), {1, 3, 3, 14})));
        EXPECT_EQ(world.sum(&WorkerCounters::window_scales_limited), 8u);
        // Fragments are put together first.
        const Frame whole = frames::tcp(
            flow("192.0.2.7", 1, "198.51.100.2", 80),
            {.flags = kSyn, .options = {3, 3, 15, 1}, .payload = "what may come with a SYN"});
        for (const Frame& part : frames::fragments(whole, 24, 9))
            world.from_inside(part);
        EXPECT_EQ(world.sum(&WorkerCounters::window_scales_limited), 9u);
    }
}

TEST(Steer, APacketGoesToItsHomeWorkerFromAnywhere) {
    World world(kInsideOut, 3);
    unsigned here = 0, away = 0;
    for (unsigned port = 0; port < 60; ++port) {
        const Flow f = flow("192.0.2.1", 40000 + port, "198.51.100.2", 80);
        for (unsigned on = 0; on < 3; ++on) {
            const std::string fate = world.send_burst({{frames::udp(f, "x"), kIn}}, on);
            fate == "w" ? ++away : ++here;
            world.turn();
        }
        // The answer finds the connection from every worker, too.
        EXPECT_TRUE(world.send(frames::udp(f.back(), "y"), kOut, port % 3));
    }
    EXPECT_EQ(here, 60u);
    EXPECT_EQ(away, 120u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 60u);
}

TEST(Steer, AFullRingIsCounted) {
    World world(kInsideOut, 2);
    // Nobody empties the ring of the other worker.
    unsigned home = 0, lost = 0, sent = 0;
    while (lost == 0 && ++sent < 400) {
        const Flow f = flow("192.0.2.1", 10000 + sent, "198.51.100.2", 80);
        const std::string fate = world.send_burst({{frames::udp(f, "x"), kIn}}, 0);
        home += fate == "a";
        lost += fate == "d";
    }
    EXPECT_EQ(lost, 1u);
    EXPECT_EQ(world.drops(DropReason::handoff_full), 1u);
    EXPECT_EQ(world.sum(&WorkerCounters::handed_off), sent - home - 1);
    world.turn();
}

struct Refusal {
    const char* name;
    Flow flow;
    bool tcp;
};
class Reject : public ::testing::TestWithParam<Refusal> {};

TEST_P(Reject, TellsTheSender) {
    const Refusal& r = GetParam();
    World world("policy: {default: reject}\n", 1);
    world.keep_out = true;
    const Frame in = r.tcp ? tcp(r.flow, kSyn, 100) : frames::udp(r.flow, "hello");
    world.send(in, kIn);
    ASSERT_EQ(world.out.size(), 1u);
    EXPECT_EQ(world.out[0].port, kIn);
    const Frame& answer = world.out[0].frame;
    EXPECT_TRUE(frames::checksums_right(answer));
    EXPECT_TRUE(std::equal(answer.begin(), answer.begin() + 6, in.begin() + 6));
    EXPECT_TRUE(std::equal(answer.begin() + 6, answer.begin() + 12, in.begin()));
    PacketInfo info{};
    const HashSecret secret = HashSecret::from_seed(1);
    parse_packet(answer.data(), static_cast<std::uint32_t>(answer.size()),
                 static_cast<std::uint32_t>(answer.size()), {&secret, CtZone{}}, info);
    EXPECT_EQ(info.why, DropReason::none);
    const Tuple t = *tuple_of(answer.data(), info);
    // A reset comes from whom the SYN went to; an ICMP message speaks of the packet it carries, and
    // tuple_of() reads that one in the direction the message goes.
    EXPECT_EQ(t.src, r.flow.dst);
    EXPECT_EQ(t.dst, r.flow.src);
    EXPECT_EQ(t.sport.host(), r.flow.dport);
    EXPECT_EQ(t.dport.host(), r.flow.sport);
    if (r.tcp) {
        EXPECT_EQ(info.tcp_flags, kRst | kAck);
        const TcpSegment s = read_segment(answer.data(), info);
        EXPECT_EQ(s.ack, 101u);
    } else {
        EXPECT_EQ(info.kind, L4Kind::icmp_error);
    }
    EXPECT_EQ(world.drops(DropReason::reject), 1u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 0u);
    // Neither a reset nor an ICMP error is answered.
    world.out.clear();
    world.send(tcp(r.flow, kRst, 100), kIn);
    world.send(frames::unreachable(r.flow.dst, r.flow.src, in), kIn);
    EXPECT_TRUE(world.out.empty());
}
INSTANTIATE_TEST_SUITE_P(All, Reject,
                         ::testing::Values(Refusal{"tcp4", kFlow, true},
                                           Refusal{"tcp6", kFlow6, true},
                                           Refusal{"udp4", kFlow, false},
                                           Refusal{"udp6", kFlow6, false}),
                         [](const auto& param) { return std::string(param.param.name); });

/// A world that rejects all, and how many answers a frame gets.
class RejectAll {
  public:
    explicit RejectAll(const std::string& limits = {})
        : world("policy: {default: reject}\n", 1, {}, World::kLimits + limits) {
        world.keep_out = true;
    }
    unsigned answers(const Frame& frame) {
        world.out.clear();
        world.send(frame, kIn);
        return static_cast<unsigned>(world.out.size());
    }
    unsigned answers(const Frame& frame, unsigned times) {
        unsigned n = 0;
        while (times-- != 0)
            n += answers(frame);
        return n;
    }
    World world;
};

TEST(RejectNobody, OfAddressesThatAreNotOneHosts) {
    RejectAll all;
    const char* const kNobodies[] = {"0.0.0.0",     "0.1.2.3",          "127.0.0.1", "224.0.0.1",
                                     "240.0.0.1",   "255.255.255.255",  "::",        "::1",
                                     "::192.0.2.1", "::ffff:192.0.2.1", "ff02::1"};
    for (const char* nobody : kNobodies) {
        const bool v4 = std::string_view(nobody).find(':') == std::string_view::npos;
        const char* host = v4 ? "192.0.2.1" : "2001:db8::1";
        for (const Flow& f : {flow(nobody, 1000, host, 80), flow(host, 1000, nobody, 80)}) {
            EXPECT_EQ(all.answers(frames::udp(f, "x")), 0u) << nobody;
            EXPECT_EQ(all.answers(tcp(f, kSyn, 100)), 0u) << nobody;
        }
        EXPECT_EQ(all.answers(frames::udp(flow(host, 1000, host, 80), "x")), 0u) << "itself";
        // The nearest addresses that are hosts'.
        EXPECT_EQ(all.answers(frames::udp(flow(v4 ? "1.0.0.0" : "::1:0:0:0:0:1", 1000, host, 80))),
                  1u);
        EXPECT_EQ(all.answers(frames::udp(flow(v4 ? "223.255.255.255" : "fe80::1", 1, host, 80))),
                  1u);
    }
    EXPECT_EQ(all.world.drops(DropReason::reject),
              all.world.sum(&WorkerCounters::rejected) +
                  all.world.sum(&WorkerCounters::rejects_unanswerable));
}

TEST(RejectNobody, OfHardwareAddressesOfGroups) {
    RejectAll all;
    for (const std::size_t first_byte : {0, 6}) {
        Frame frame = frames::udp(kFlow, "x");
        frame[first_byte] |= 1;
        EXPECT_EQ(all.answers(frame), 0u) << first_byte;
    }
    EXPECT_EQ(all.world.sum(&WorkerCounters::rejects_unanswerable), 2u);
    EXPECT_EQ(all.answers(frames::udp(kFlow, "x")), 1u);
}

TEST(RejectNobody, OfIcmpThatMayBeAnError) {
    RejectAll all;
    const auto icmp = [&](const Flow& f, unsigned type) {
        Frame rest(60, 0);  // an identifier, or what an error quotes
        const Frame quoted = frames::udp(f.back(), "quoted");
        std::copy(quoted.begin() + 14, quoted.begin() + 14 + 46, rest.begin() + 4);
        return all.answers(frames::icmp(f.src, f.dst, static_cast<std::uint8_t>(type), 0, rest));
    };
    // Unreachable, source quench, redirect, time exceeded, parameter problem; unknown ones.
    for (const unsigned type : {3u, 4u, 5u, 11u, 12u, 1u, 6u, 41u})
        EXPECT_EQ(icmp(kFlow, type), 0u) << type;
    // Errors, also of types to come; unknown information.
    for (const unsigned type : {1u, 2u, 3u, 4u, 99u, 127u, 200u})
        EXPECT_EQ(icmp(kFlow6, type), 0u) << type;
    for (const unsigned type : {8u, 13u, 42u})  // questions, as RFC 8335's
        EXPECT_EQ(icmp(kFlow, type), 1u) << type;
    EXPECT_EQ(icmp(kFlow6, 128), 1u);
}

TEST(RejectLimits, HoldInAllAndBySource) {
    RejectAll all(", answers: {per_second: 8, per_source: 3}");
    const auto from = [&](const char* source, unsigned times) {
        const bool v4 = std::string_view(source).find(':') == std::string_view::npos;
        return all.answers(
            frames::udp(flow(source, 1000, v4 ? "198.51.100.2" : "2001:db8:1::2", 80)), times);
    };
    EXPECT_EQ(from("192.0.2.1", 10), 3u);
    EXPECT_EQ(from("192.0.2.2", 2), 2u) << "another source is not held back";
    EXPECT_EQ(from("2001:db8::1", 2), 2u);
    EXPECT_EQ(from("2001:db8::2", 2), 1u) << "the same /64";
    EXPECT_EQ(from("2001:db8:0:1::1", 2), 0u) << "eight in all";
    EXPECT_EQ(all.world.sum(&WorkerCounters::rejected), 8u);
    EXPECT_EQ(all.world.sum(&WorkerCounters::rejects_limited), 10u);
    EXPECT_EQ(all.world.drops(DropReason::reject), 18u);
    // Half a second later half of each is there again, and no more after an hour.
    all.world.now = all.world.now + 500;
    EXPECT_EQ(from("192.0.2.1", 10), 1u);
    all.world.now = all.world.now + 3'600'000;
    EXPECT_EQ(from("192.0.2.1", 10), 3u);
}

TEST(RejectLimits, AreThereWithoutBeingAskedForAndCanBeTakenAway) {
    const auto answers = [](const std::string& limits) {
        return RejectAll(limits).answers(frames::udp(kFlow, "x"), 2000);
    };
    EXPECT_EQ(answers(""), 50u);
    EXPECT_EQ(answers(", answers: {per_source: 0}"), 1000u);
    EXPECT_EQ(answers(", answers: {per_second: 0}"), 50u);
    EXPECT_EQ(answers(", answers: {per_second: 0, per_source: 0}"), 2000u);
}

TEST(Pass, NonIpAndNeighbourDiscoveryAsConfigured) {
    World world(kInsideOut, 1);  // passes arp and nd
    Frame arp(60, 0), lldp(60, 0);
    arp[12] = 0x08, arp[13] = 0x06;
    lldp[12] = 0x88, lldp[13] = 0xcc;
    Frame solicit = frames::icmp(*IpAddr::parse("fe80::1"), *IpAddr::parse("ff02::1:ff00:2"), 135,
                                 0, Frame(20, 0));
    solicit[frames::kEth + 7] = 255;  // the hop limit of a neighbour
    EXPECT_EQ(world.send_burst(
                  {{arp, kIn}, {lldp, kIn}, {solicit, kOut}, {frames::wrap_vlan(arp, 5), kOut}}),
              "adaa");
    EXPECT_EQ(world.drops(DropReason::non_ip), 1u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 0u);
}

TEST(Pass, TaggedFramesKeepTheirTags) {
    World world(kInsideOut, 1);
    world.keep_out = true;
    const Frame tagged = frames::wrap_vlan(tcp(kFlow, kSyn, 100), 42);
    ASSERT_TRUE(world.send(tagged, kIn));
    EXPECT_EQ(world.out[0].frame, tagged);
    EXPECT_EQ(world.out[0].port, kOut);
}

const std::string kFtp =
    "helpers: [{name: ftp}]\n"
    "policy:\n"
    "  rules:\n"
    "    - {name: control, from: inside, proto: tcp, dport: 21, ct: [new], action: accept,"
    " helper: ftp}\n"
    "    - {name: data, ct: [related], related: [ftp], action: accept}\n";

/// A port of the server whose data connection from `sport` has its home on worker `on`.
std::uint16_t data_port(World& world, std::uint16_t sport, unsigned on) {
    for (std::uint16_t port = 50000;; ++port) {
        PacketInfo info{};
        const Frame f = tcp(flow("192.0.2.1", sport, "192.0.2.2", port), kSyn, 1);
        parse_packet(f.data(), static_cast<std::uint32_t>(f.size()),
                     static_cast<std::uint32_t>(f.size()),
                     {&world.fw().steering().secret, CtZone{}}, info);
        if (world.fw().steering().home(info.rss).number() == on) return port;
    }
}

void announce(World& world, Talk& control, std::uint16_t port) {
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("220 ready\r\n"));
    ASSERT_TRUE(control.client("USER a\r\n"));
    ASSERT_TRUE(control.server("230 in\r\n"));
    ASSERT_TRUE(control.client("EPSV\r\n"));
    ASSERT_TRUE(control.server("229 ok (|||" + std::to_string(port) + "|)\r\n"));
    ASSERT_EQ(world.fw().expectations().live(), 1u);
}

TEST(Claim, OnEveryWorkerWhoeverAnnouncedIt) {
    for (unsigned on = 0; on < 4; ++on) {
        World world(kFtp, 4);
        const std::uint16_t port = data_port(world, 41000, on);
        Talk control(world, flow("192.0.2.1", 40000, "192.0.2.2", 21));
        announce(world, control, port);
        Talk data(world, flow("192.0.2.1", 41000, "192.0.2.2", port));
        EXPECT_TRUE(data.open());
        const auto child = world.connection(port), master = world.connection(21);
        ASSERT_TRUE(child && master);
        EXPECT_EQ(child->worker, on);
        EXPECT_EQ(child->conn.master, master->id);
        EXPECT_EQ(world.fw().expectations().live(), 0u);
    }
}

TEST(Claim, OfTwoAtOnceOneWinsAndPolicyJudgesTheOther) {
    World world(kFtp, 2);
    // Two connections to one announced port, at home on different workers.
    const std::uint16_t port = data_port(world, 41000, 0);
    std::uint16_t other = 41001;
    while (data_port(world, other, 1) != port && other < 60000) {
        PacketInfo info{};
        const Frame f = tcp(flow("192.0.2.1", other, "192.0.2.2", port), kSyn, 1);
        parse_packet(f.data(), static_cast<std::uint32_t>(f.size()),
                     static_cast<std::uint32_t>(f.size()),
                     {&world.fw().steering().secret, CtZone{}}, info);
        if (world.fw().steering().home(info.rss) == WorkerId{1}) break;
        ++other;
    }
    Talk control(world, flow("192.0.2.1", 40000, "192.0.2.2", 21));
    announce(world, control, port);

    world.take({{tcp(flow("192.0.2.1", 41000, "192.0.2.2", port), kSyn, 1), kIn}}, 0);
    world.take({{tcp(flow("192.0.2.1", other, "192.0.2.2", port), kSyn, 1), kIn}}, 1);
    // Both workers see the expectation before either commits.
    for (const StageDesc* stage : world.fw().plan().stages)
        for (unsigned w : {0u, 1u}) {
            Worker& worker = world.fw().worker(w);
            if (worker.batch()[stage->on] != 0) stage->run(worker, worker.batch());
            if (stage->name == "expect") {
                EXPECT_TRUE(worker.batch().is_expected(0)) << "worker " << w;
            }
        }
    EXPECT_EQ(world.fates(0), "a");
    EXPECT_EQ(world.fates(1), "d");
    EXPECT_EQ(world.sum(&WorkerCounters::claims_lost), 1u);
    world.put_out(world.fw().worker(0));
    world.put_out(world.fw().worker(1));
    EXPECT_EQ(world.drops(DropReason::policy), 1u);
    EXPECT_EQ(world.buffers_in_use(), 0u);
}

/// Nobody can find two such connections: say that somebody did. What is TCP's next segment in order
/// by its numbers is not compared with the whole tuple; everything else is.
/// The lines of its connection that would be fetched for this frame: 0 is the least.
std::string foreseen(World& world, const Frame& frame) {
    PacketInfo info{};
    const auto n = static_cast<std::uint32_t>(frame.size());
    parse_packet(frame.data(), n, n, {&world.fw().steering().secret, CtZone{}}, info);
    const unsigned lines = world.fw().worker(0).conns().lines_foreseen(info);
    std::string text;
    for (unsigned line = 0; line < 3; ++line)
        if ((lines >> line & 1) != 0) text += std::to_string(line);
    return text;
}

// What is fetched is what the packet will need: no line too few, and none in vain.
TEST(Foresight, OfTcp) {
    for (const Flow& f : {kFlow, kFlow6}) {
        World world(kInsideOut, 1);
        const bool v6 = f.src.family == Family::ipv6;
        const std::string with_state = v6 ? "012" : "02";  // and the ends that a digest stands for
        const Frame next = tcp(f, kAck, 101, 501);
        EXPECT_EQ(foreseen(world, next), "");
        ASSERT_TRUE(world.from_inside(tcp(f, kSyn, 100)));
        EXPECT_EQ(foreseen(world, next), with_state);
        ASSERT_TRUE(world.from_outside(tcp(f.back(), kSyn | kAck, 500, 101)));
        ASSERT_TRUE(world.from_inside(next));
        EXPECT_EQ(foreseen(world, next), "0");
        EXPECT_EQ(foreseen(world, tcp(f.back(), kAck, 501, 101)), "0");
        EXPECT_EQ(foreseen(world, tcp(f, kFin | kAck, 101, 501)), with_state);
        ASSERT_TRUE(world.from_inside(tcp(f, kFin | kAck, 101, 501)));
        EXPECT_EQ(foreseen(world, tcp(f.back(), kAck, 501, 102)), with_state);
    }
}

TEST(Foresight, OfUdp) {
    for (const Flow& f : {kFlow, kFlow6}) {
        World world(kInsideOut, 1);
        const bool v6 = f.src.family == Family::ipv6;
        const Frame there = frames::udp(f), back = frames::udp(f.back());
        ASSERT_TRUE(world.from_inside(there));
        EXPECT_EQ(foreseen(world, back), v6 ? "012" : "02");
        world.pass(3000);
        ASSERT_TRUE(world.from_outside(back));
        ASSERT_TRUE(world.from_inside(there));  // a stream now
        EXPECT_EQ(foreseen(world, back), v6 ? "01" : "0");
    }
}

TEST(Foresight, OfAHelpedConnection) {
    World world(kFtp, 1);
    const Flow f = flow("192.0.2.1", 40000, "198.51.100.2", 21);
    const Frame next = tcp(f, kAck, 101, 501);
    ASSERT_TRUE(world.from_inside(tcp(f, kSyn, 100)));
    ASSERT_TRUE(world.from_outside(tcp(f.back(), kSyn | kAck, 500, 101)));
    ASSERT_TRUE(world.from_inside(next));
    EXPECT_EQ(foreseen(world, next), "01");
}

TEST(Collision, ASegmentWithAnothersDigestIsDroppedUnlessItIsTheOthersNext) {
    World world(kInsideOut, 1);
    const Flow flow = kFlow6, back = kFlow6.back();
    world.send(tcp(flow, kSyn, 100), kIn);
    world.send(frames::tcp(back, {.flags = kSyn | kAck, .seq = 500, .ack = 101}), kOut);
    world.send(frames::tcp(flow, {.flags = kAck, .seq = 101, .ack = 501}), kIn);
    world.send(frames::tcp(flow, {.flags = kAck, .seq = 101, .ack = 501, .payload = "x"}), kIn);
    Flow other = kFlow6;
    other.sport = static_cast<std::uint16_t>(other.sport + 1);
    const auto parsed = [&](const Frame& f) {
        PacketInfo info{};
        const auto size = static_cast<std::uint32_t>(f.size());
        parse_packet(f.data(), size, size, {&world.fw().steering().secret, CtZone{}}, info);
        return info;
    };
    const PacketInfo known = parsed(tcp(flow, kSyn, 100));
    const auto fate = [&](std::uint8_t flags, std::uint32_t seq, const char* payload = "") {
        world.take(
            {{frames::tcp(other, {.flags = flags, .seq = seq, .ack = 501, .payload = payload}),
              kIn}},
            0);
        Worker& worker = world.fw().worker(0);
        for (const StageDesc* stage : world.fw().plan().stages) {
            if (worker.batch()[stage->on] != 0) stage->run(worker, worker.batch());
            if (stage->name != "parse") continue;
            worker.batch().info[0].key = known.key;
            worker.batch().info[0].hash = known.hash;
            worker.batch().info[0].swapped = known.swapped;
        }
        std::string fates = world.fates(0);
        world.put_out(worker);
        return fates;
    };
    EXPECT_EQ(fate(kSyn, 7000), "d");
    EXPECT_EQ(fate(kAck, 7000), "d");
    EXPECT_EQ(fate(kRst, 102), "d");
    EXPECT_EQ(fate(kRst | kAck, 102), "d");
    EXPECT_EQ(fate(kAck, 102), "d");  // nothing new: it may repeat the one before
    EXPECT_EQ(world.drops(DropReason::ct_collision), 5u);
    EXPECT_EQ(world.sum(&WorkerCounters::connections_created), 1u);
    EXPECT_EQ(fate(kAck, 102, "y"), "a");
}

}  // namespace
}  // namespace postern
