// SPDX-License-Identifier: BSD-3-Clause
// What helpers may ask for beyond a pin-hole, through the whole path and between workers: helpers
// of expected connections, tags, the control connection's time, the end of running connections.
//
// This program has a registry of its own, with two toy helpers in it. Their protocol, in lines
// (over UDP: a line a datagram), by whom the pin-hole is for:
//   o PORT TAG FLAGS CHILD   open PORT of the speaker; FLAGS of PinHole; CHILD 0, 1 or 255: none
//   a TAG SECONDS            activate        r TAG   remove
//   m SECONDS                min_timeout
//   e PROTO SPORT DPORT      end the connection of the client from SPORT to the server's DPORT
//   d PROTO SPORT DPORT      the same, when this connection ends
#include <array>

#include <gtest/gtest.h>

#include "helper/registry.h"
#include "helper/text.h"
#include "support/eal.h"
#include "toy_helpers.h"
#include "world.h"

namespace postern {
namespace {

struct Ending {
    std::uint8_t protocol = 0;
    std::uint16_t sport = 0, dport = 0;
};

Tuple tuple_of(const Tuple& control, const Ending& e) noexcept {
    return {control.src, control.dst, Be16::from_host(e.sport), Be16::from_host(e.dport),
            e.protocol};
}

void on_message(View& view, Emit& emit) noexcept {
    Cursor c{without_line_end(view.message)};
    while (const auto word = c.u8()) {  // several commands in a line are one message
        std::array<std::uint32_t, 4> n{};
        for (std::uint32_t& v : n)
            if (take(c, ' ')) v = take_number(c, 9, 999'999'999).value_or(0);
        const Ending ending{static_cast<std::uint8_t>(n[0]), static_cast<std::uint16_t>(n[1]),
                            static_cast<std::uint16_t>(n[2])};
        PinHole hole;
        switch (*word) {
            case 'o':
                hole.src = Prefix::exact(view.listener());
                hole.dst = view.speaker();
                hole.dport = Be16::from_host(static_cast<std::uint16_t>(n[0]));
                hole.protocol = proto::tcp;
                hole.tag = n[1];
                hole.flags = static_cast<std::uint8_t>(n[2]);
                hole.child = static_cast<std::uint8_t>(n[3]);
                emit.expect(hole);
                break;
            case 'a': emit.activate(0, n[0], n[1]); break;
            case 'r': emit.remove(0, n[0]); break;
            case 'm': emit.min_timeout(n[0]); break;
            case 'e': emit.end_child(tuple_of(view.original, ending)); break;
            case 'p': emit.adopt_child(tuple_of(view.original, ending)); break;
            case 'd': view.save(ending); break;
            default: emit.parse_error(); return;
        }
        if (!c.at_end() && !take(c, ';')) return emit.parse_error();
    }
}

void on_destroy(const Tuple& original, std::span<std::uint8_t, kPrivateBytes> state,
                Emit& emit) noexcept {
    Ending e;
    std::memcpy(&e, state.data(), sizeof e);
    if (e.protocol != 0) emit.end_child(tuple_of(original, e));
}

constexpr std::uint16_t kPorts[] = {700};
constexpr ExpectClass kClasses[] = {{"data", "", 8, 60}};
constexpr std::string_view kChildren[] = {"child", "parent"};
constexpr HelperDesc kChild = line_helper("child", on_message, [](HelperDesc& desc) {
    desc.classes = kClasses;
    desc.on_destroy = on_destroy;
});
constexpr HelperDesc kParent = line_helper("parent", on_message, [](HelperDesc& desc) {
    desc.transports = transport::tcp | transport::udp;
    desc.default_ports = kPorts;
    desc.classes = kClasses;
    desc.children = kChildren;
    desc.on_destroy = on_destroy;
});
constexpr const HelperDesc* kAll[] = {&kParent, &kChild};

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

}  // namespace

std::span<const HelperDesc* const> all_helpers() noexcept {
    return kAll;
}
const HelperDesc* find_helper(std::string_view name) noexcept {
    for (const HelperDesc* desc : kAll)
        if (desc->name == name) return desc;
    return nullptr;
}

namespace {

const std::string kConfig =
    "helpers: [{name: talk, helper: parent}]\n"
    "timeouts: {tcp: {established: 20, unacknowledged: 20, retransmitted: 20}, udp: {unreplied: 5,"
    " stream: 10}}\n"
    "policy:\n"
    "  default: drop\n"
    "  rules:\n"
    "    - {name: control, from: inside, proto: [tcp, udp], dport: 700, ct: [new], action: accept,"
    " helper: talk}\n"
    "    - {name: data, ct: [related], related: [talk], action: accept}\n";

constexpr const char *kClient = "192.0.2.1", *kServer = "198.51.100.2";

Talk to(World& world, std::uint16_t port, std::uint16_t from = 41000) {
    return Talk(world, frames::flow(kClient, from, kServer, port));
}

// A SYN, its refusal, and another client's SYN, which takes over connection and helper of the
// first. They carry payload, since a SYN without any has no helper yet.
TEST(Burst, HelperSeesNothingOfAConnectionThatAlreadyEnded) {
    World world(kConfig, 1);
    const frames::Flow first = frames::flow(kClient, 41000, kServer, 700),
                       second = frames::flow(kClient, 41001, kServer, 700);
    const frames::Frame refusal =
        frames::tcp(first.back(), {.flags = tcp_flag::rst | tcp_flag::ack, .ack = 1003});
    const auto syn = [](frames::Flow flow) {
        return frames::tcp(flow, {.flags = tcp_flag::syn, .seq = 1000, .payload = "x\n"});
    };
    EXPECT_EQ(world.send_burst({{syn(first), World::kInside}, {refusal, World::kOutside}}), "aa");
    EXPECT_EQ(world.fw().worker(0).batch()[MaskId::helped], 0u);
    EXPECT_EQ(world.send_burst({{syn(first), World::kInside},
                                {refusal, World::kOutside},
                                {syn(second), World::kInside}}),
              "aaa");
    EXPECT_EQ(world.fw().worker(0).batch()[MaskId::helped], bit(2));
}

class Between : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, Between, ::testing::Values(1u, 3u, 8u));

TEST_P(Between, AnExpectedConnectionHasAHelperThatExpects) {
    World world(kConfig, GetParam());
    ASSERT_EQ(world.fw().plan().helpers.size(), 2u);
    EXPECT_EQ(world.fw().plan().helpers[1].name, "child");  // nobody configured it
    Talk control = to(world, 700);
    ASSERT_TRUE(control.open());
    unsigned elsewhere = 0;
    for (std::uint16_t i = 0; i < 12; ++i) {
        const auto port = static_cast<std::uint16_t>(5000 + i),
                   next = static_cast<std::uint16_t>(6000 + i);
        ASSERT_TRUE(control.server("o " + std::to_string(port) + " 0 0 0\n"));
        EXPECT_FALSE(to(world, next).open());
        Talk child = to(world, port);
        ASSERT_TRUE(child.open());
        const auto c = *world.connection(port);
        EXPECT_EQ(c.conn.helper, 2);
        EXPECT_EQ(c.conn.expected_by, 1);
        ASSERT_TRUE(child.server("o " + std::to_string(next) + " 0 0 255\n"));
        Talk grandchild = to(world, next);
        ASSERT_TRUE(grandchild.open());
        const auto g = *world.connection(next);
        EXPECT_EQ(g.conn.helper, kNoHelper);
        EXPECT_EQ(g.conn.expected_by, 2);
        EXPECT_EQ(g.conn.master, c.id);
        elsewhere += c.worker != world.connection(700)->worker || g.worker != c.worker;
    }
    EXPECT_TRUE(GetParam() == 1 || elsewhere != 0);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
}

TEST_P(Between, AHelperMayNameItself) {
    World world(kConfig, GetParam());
    Talk control = to(world, 700);
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.client("o 5000 0 0 1\n"));
    Talk child(world, frames::flow(kServer, 41000, kClient, 5000), false);
    ASSERT_TRUE(child.open());
    EXPECT_EQ(world.connection(5000)->conn.helper, 1);
    ASSERT_TRUE(child.server("o 5001 0 0 1\n"));
    EXPECT_TRUE(Talk(world, frames::flow(kServer, 41000, kClient, 5001), false).open());
}

TEST_P(Between, OneConversationOverTcpOneOverUdp) {
    World world(kConfig, GetParam());
    const frames::Flow f = frames::flow(kClient, 41000, kServer, 700);
    ASSERT_TRUE(to(world, 700).open());
    ASSERT_TRUE(world.from_inside(frames::udp(f, "o 5000 0 0 0")));
    EXPECT_TRUE(Talk(world, frames::flow(kServer, 41000, kClient, 5000), false).open());
    // The child helper speaks TCP only, and that is what it got.
    EXPECT_EQ(world.connection(5000)->conn.helper, 2);
}

TEST_P(Between, ATagIsActivatedAndTakenBack) {
    World world(kConfig, GetParam());
    Talk control = to(world, 700);
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("o 5000 7 2 255;o 5001 7 2 255;o 5002 8 2 255\n"));
    EXPECT_EQ(world.fw().expectations().live(), 3u);
    EXPECT_FALSE(to(world, 5000).open());
    ASSERT_TRUE(control.server("a 7 30\n"));
    EXPECT_TRUE(to(world, 5000).open());
    EXPECT_FALSE(to(world, 5002).open());
    // In the order in which they are said: what goes first is what was there.
    ASSERT_TRUE(control.server("r 7;o 5003 7 0 255\n"));
    EXPECT_FALSE(to(world, 5001).open());
    EXPECT_TRUE(to(world, 5003).open());
    ASSERT_TRUE(control.server("o 5004 7 0 255;r 7\n"));
    EXPECT_FALSE(to(world, 5004).open());
    // Also around a request that the guards refuse (a privileged port).
    ASSERT_TRUE(control.server("o 5005 7 0 255\n"));
    ASSERT_TRUE(control.server("o 80 7 0 255;r 7;o 5006 7 0 255\n"));
    EXPECT_FALSE(to(world, 5005).open());
    EXPECT_TRUE(to(world, 5006).open());
    // And around those that make room for later ones of the same packet.
    std::string many = "o 5007 7 0 255\no 5008 7 0 255\nr 7\n";
    for (unsigned port = 5100; port < 5116; ++port)
        many += "o " + std::to_string(port) + " 8 0 255\n";
    ASSERT_TRUE(control.server(many));
    EXPECT_FALSE(to(world, 5007).open());
    EXPECT_FALSE(to(world, 5008).open());
    EXPECT_FALSE(to(world, 5107).open());  // the class has room for eight
    EXPECT_TRUE(to(world, 5108).open());
    EXPECT_TRUE(to(world, 5115).open());
    ASSERT_TRUE(control.server("o 5009 9 2 255;a 9 0;r 0\n"));
    EXPECT_EQ(world.fw().expectations().live(), 0u);
}

TEST_P(Between, SkipMasterSharesWithAnotherConnection) {
    World world(kConfig, GetParam());
    Talk one = to(world, 700), two = to(world, 700, 41001);
    ASSERT_TRUE(one.open());
    ASSERT_TRUE(two.open());
    ASSERT_TRUE(one.server("o 5000 0 0 255\n"));
    EXPECT_FALSE(two.server("o 5000 0 0 255\n"));  // refused: its packet is dropped
    EXPECT_TRUE(two.server("o 5000 0 4 255\n"));
    EXPECT_EQ(world.fw().expectations().live(), 1u);
}

TEST_P(Between, AConversationMayBeSilentForAsLongAsItsHelperSays) {
    World world(kConfig, GetParam());
    const frames::Flow f = frames::flow(kClient, 41000, kServer, 700);
    Talk tcp = to(world, 700, 42000);
    ASSERT_TRUE(tcp.open());
    ASSERT_TRUE(tcp.client("m 100\n"));
    ASSERT_TRUE(tcp.packet(Direction::reply, 0x10));
    ASSERT_TRUE(world.from_inside(frames::udp(f, "m 100")));
    ASSERT_TRUE(world.from_outside(frames::udp(f.back(), "m 100")));
    // One that nobody answers ends as any other.
    ASSERT_TRUE(
        world.from_inside(frames::udp(frames::flow(kClient, 43000, kServer, 700), "m 100")));
    const auto alive = [&] {
        unsigned n = 0;
        for (unsigned w = 0; w < world.fw().workers(); ++w)
            n += world.fw().worker(w).conns().size();
        return n;
    };
    EXPECT_EQ(alive(), 3u);
    world.pass(90'000);
    EXPECT_EQ(alive(), 2u);
    ASSERT_TRUE(
        world.from_outside(frames::udp(f.back(), "m 100")));  // and again from its last word
    ASSERT_TRUE(tcp.client("m 30\n"));
    ASSERT_TRUE(tcp.packet(Direction::reply, 0x10));
    world.pass(35'000);
    EXPECT_EQ(alive(), 1u);
    ASSERT_TRUE(world.from_outside(frames::udp(f.back(), "m 0")));
    ASSERT_TRUE(world.from_outside(frames::udp(f.back(), "m 0")));  // counts from the next one on
    world.pass(12'000);
    EXPECT_EQ(alive(), 0u);
}

TEST_P(Between, AClosingConversationIsNotHeldUp) {
    World world(kConfig, GetParam());
    Talk control = to(world, 700);
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.client("m 10000\n"));
    ASSERT_TRUE(control.packet(Direction::original, 0x04));
    world.pass(15'000);
    EXPECT_FALSE(world.connection(700));
}

TEST_P(Between, ARunningConnectionEndsOnWhicheverWorkerItLives) {
    World world(kConfig, GetParam());
    Talk control = to(world, 700);
    ASSERT_TRUE(control.open());
    std::string all;
    for (std::uint16_t i = 0; i < 8; ++i) {
        const auto port = std::to_string(5000 + i);
        ASSERT_TRUE(control.server("o " + port + " 0 0 255\n"));
        ASSERT_TRUE(to(world, static_cast<std::uint16_t>(5000 + i)).open());
        all += std::string(i == 0 ? "" : ";") + "e 6 41000 " + port;
    }
    ASSERT_TRUE(control.server("e 6 41000 5000\n"));
    world.turn();
    EXPECT_FALSE(world.connection(5000));
    EXPECT_TRUE(world.connection(5001));
    ASSERT_TRUE(control.server(all + ";e 17 41000 5001;e 6 1 1\n"));  // some are not there
    world.turn();
    for (std::uint16_t i = 0; i < 8; ++i)
        EXPECT_FALSE(world.connection(static_cast<std::uint16_t>(5000 + i)));
    EXPECT_TRUE(world.connection(700));
    EXPECT_EQ(world.sum(&WorkerCounters::children_ended), 8u);
}

TEST_P(Between, OnlyItsMasterEndsARunningConnection) {
    World world(kConfig, GetParam());
    // Masters on several workers, however many there are.
    Talk one = to(world, 700, 42000), two = to(world, 700, 42001), three = to(world, 700, 42002);
    for (Talk* each : {&one, &two, &three})
        ASSERT_TRUE(each->open());
    ASSERT_TRUE(one.server("o 5000 0 0 255\n"));
    ASSERT_TRUE(to(world, 5000).open());
    const ConnId first = world.connection(5000)->conn.master;
    ASSERT_TRUE(two.server("e 6 41000 5000\n"));
    EXPECT_EQ(world.connection(5000)->conn.master, first);
    // Of a connection that nobody has expected none is the master.
    ASSERT_TRUE(two.server("p 6 42000 700\n"));
    EXPECT_FALSE(world.connection(700)->conn.master);

    ASSERT_TRUE(two.server("p 6 41000 5000\n"));
    const ConnId second = world.connection(5000)->conn.master;
    EXPECT_NE(second, first);
    ASSERT_TRUE(one.server("e 6 41000 5000\n"));
    ASSERT_TRUE(world.connection(5000));
    ASSERT_TRUE(three.server("p 6 41000 5000;p 6 41000 5000\n"));
    EXPECT_NE(world.connection(5000)->conn.master, second);
    ASSERT_TRUE(two.server("d 6 41000 5000\n"));
    ASSERT_TRUE(two.packet(Direction::original, 0x14));
    world.pass(12'000);
    ASSERT_TRUE(world.connection(5000));
    EXPECT_EQ(world.sum(&WorkerCounters::children_adopted), 2u);
    EXPECT_EQ(world.sum(&WorkerCounters::children_ended), 0u);
    ASSERT_TRUE(three.server("e 6 41000 5000\n"));
    EXPECT_FALSE(world.connection(5000));
}

TEST_P(Between, ConnectionsEndWithTheirMasterIfItsHelperSaysSo) {
    World world(kConfig, GetParam());
    Talk control = to(world, 700);
    ASSERT_TRUE(control.open());
    // A chain: the end of the first ends the second, whose end ends the third.
    ASSERT_TRUE(control.server("o 5000 0 0 0;o 5002 0 0 255\n"));
    Talk child = to(world, 5000);
    ASSERT_TRUE(child.open());
    ASSERT_TRUE(child.server("o 5001 0 0 255\n"));
    ASSERT_TRUE(to(world, 5001).open());
    ASSERT_TRUE(to(world, 5002).open());
    ASSERT_TRUE(child.server("d 6 41000 5001\n"));
    ASSERT_TRUE(control.server("d 6 41000 5000\n"));
    world.turn();
    ASSERT_TRUE(world.connection(5001));
    world.fw()
        .worker(world.connection(700)->worker)
        .tracking()
        .end(world.connection(700)->id.index, ConnEnd::control);
    for (int i = 0; i < 4; ++i)
        world.turn();
    EXPECT_FALSE(world.connection(5000));
    EXPECT_FALSE(world.connection(5001));
    EXPECT_TRUE(world.connection(5002));
}

TEST(ChildHelpers, MoreActionsThanAPacketMayHaveAreCounted) {
    World world(kConfig, 1);
    Talk control = to(world, 700);
    ASSERT_TRUE(control.open());
    std::string all = "r 1";
    for (unsigned i = 0; i < Emit::kActions + 2; ++i)
        all += ";r 1";
    ASSERT_TRUE(control.client(all + "\n"));
    const HelperCounters& counters = world.fw().worker(0).helpers().counters(1);
    EXPECT_EQ(counters[HelperCounter::action_limit].get(), 3u);
}

TEST(ChildHelpers, ATakenNameIsNotTakenTwice) {
    World world(
        "helpers: [{name: child, helper: parent}]\n"
        "policy: {rules: [{from: inside, proto: tcp, dport: 700, ct: [new], action: accept,"
        " helper: child}, {ct: [related], action: accept}]}\n",
        1);
    ASSERT_EQ(world.fw().plan().helpers.size(), 2u);
    EXPECT_EQ(world.fw().plan().helpers[1].name, "child_");
}

TEST(ChildHelpers, AConfiguredOneIsUsed) {
    World world(
        "helpers: [{name: p, helper: parent}, {name: c, helper: child}]\n"
        "policy: {rules: [{from: inside, proto: tcp, dport: 700, ct: [new], action: accept,"
        " helper: p}, {ct: [related], related: [p], action: accept}]}\n",
        1);
    ASSERT_EQ(world.fw().plan().helpers.size(), 2u);
    Talk control = to(world, 700);
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("o 5000 0 0 0\n"));
    Talk child = to(world, 5000);
    ASSERT_TRUE(child.open());
    EXPECT_EQ(world.connection(5000)->conn.helper, 2);
    // Its children are let in by a rule that names it, and this one has none.
    ASSERT_TRUE(child.server("o 5001 0 0 255\n"));
    EXPECT_FALSE(to(world, 5001).open());
}

}  // namespace
}  // namespace postern
