// SPDX-License-Identifier: BSD-3-Clause
// Control connections whose SYN was not seen, with and without `pick_up`, through the whole path.
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr const char *kClient = "192.0.2.1", *kServer = "198.51.100.2";
constexpr std::uint8_t kAck = tcp_flag::ack, kData = tcp_flag::ack | tcp_flag::psh;

std::string policy(const char* params) {
    return "helpers: [{name: ftp, params: {" + std::string(params) +
           "}}]\n"
           "policy:\n"
           "  default: drop\n"
           "  rules:\n"
           "    - {name: ftp, from: inside, proto: tcp, dport: 21, ct: [new], action: accept,"
           " helper: ftp}\n"
           "    - {name: data, ct: [related], related: [ftp], action: accept}\n";
}

class PickUp : public ::testing::Test {
  protected:
    World world{policy("pick_up: true"), 1};
    Talk talk{world, frames::flow(kClient, 40000, kServer, 21)};

    static bool data_passes(World& w, unsigned port) {
        return w.from_inside(frames::tcp(frames::flow(kClient, 40001, kServer, port),
                                         {.flags = tcp_flag::syn, .seq = 1}));
    }
    static void ask(Talk& t, std::string_view command, std::string_view reply) {
        ASSERT_TRUE(t.client(command));
        ASSERT_TRUE(t.server(reply));
        ASSERT_TRUE(t.packet(Direction::original, kAck));
    }
    static void pairs(Talk& t) {
        ask(t, "NOOP\r\n", "200 ok\r\n");
        ask(t, "PASV\r\n", "227 ok (198,51,100,2,195,80)\r\n");
    }
    std::uint64_t slots(Standing standing) {
        world.turn();
        return world.fw().worker(0).helpers().use(standing).slots.get();
    }
    std::uint64_t count(HelperCounter counter) {
        return world.fw().worker(0).helpers().counters(1)[counter].get();
    }
};

TEST_F(PickUp, ReadsWhatIsMetInMidStream) {
    pairs(talk);
    EXPECT_EQ(slots(Standing::proven), 1u);
    EXPECT_TRUE(data_passes(world, 50000));
    EXPECT_EQ(count(HelperCounter::blind_midstream), 0u);
}

TEST_F(PickUp, IsOffByDefault) {
    World other(policy(""), 1);
    Talk t(other, frames::flow(kClient, 40000, kServer, 21));
    pairs(t);
    EXPECT_FALSE(data_passes(other, 50000));
    EXPECT_EQ(other.fw().worker(0).helpers().counters(1)[HelperCounter::blind_midstream].get(), 1u);
}

TEST_F(PickUp, BeginsWithAnAcknowledgementToo) {
    ASSERT_TRUE(talk.packet(Direction::original, kAck));
    EXPECT_EQ(slots(Standing::unproven), 0u);
    pairs(talk);
    EXPECT_EQ(slots(Standing::proven), 1u);
    EXPECT_TRUE(data_passes(world, 50000));
}

TEST_F(PickUp, BeginsInAReplyToo) {
    ASSERT_TRUE(talk.packet(Direction::original, kAck));
    for (unsigned i = 0; i < 20; ++i)  // the client acknowledges late
        ASSERT_TRUE(talk.server("211-a line\r\n"));
    ASSERT_TRUE(talk.server("211 end\r\n"));
    pairs(talk);
    EXPECT_EQ(slots(Standing::proven), 1u);
    EXPECT_EQ(slots(Standing::unproven), 0u);
    EXPECT_TRUE(data_passes(world, 50000));
}

TEST_F(PickUp, ProvesNobodyWhoseAcknowledgementIsGuessed) {
    const auto f = frames::flow(kClient, 40000, kServer, 21);
    ASSERT_TRUE(world.from_inside(
        frames::tcp(f, {.flags = kData, .seq = 1000, .ack = 5000, .payload = "NOOP\r\n"})));
    EXPECT_EQ(slots(Standing::unproven), 1u);
    ASSERT_TRUE(world.from_outside(frames::tcp(
        f.back(), {.flags = kData, .seq = 5000, .ack = 1006, .payload = "200 ok\r\n"})));
    ASSERT_TRUE(world.from_inside(frames::tcp(f, {.flags = kAck, .seq = 1006, .ack = 5003})));
    EXPECT_EQ(slots(Standing::proven), 0u);
    ASSERT_TRUE(world.from_inside(frames::tcp(f, {.flags = kAck, .seq = 1006, .ack = 5008})));
    EXPECT_EQ(slots(Standing::proven), 1u);
}

TEST_F(PickUp, ForgedSegmentsTakeSlotsOfStrangersOnly) {
    pairs(talk);
    ASSERT_EQ(slots(Standing::proven), 1u);
    for (unsigned i = 0; i < 500; ++i) {
        const auto f = frames::flow("192.0.2.9", 1024 + i, kServer, 21);
        ASSERT_TRUE(world.from_inside(
            frames::tcp(f, {.flags = kData, .seq = 1000, .ack = 5000, .payload = "NOOP\r\n"})));
    }
    EXPECT_EQ(slots(Standing::proven), 1u);
    EXPECT_LE(slots(Standing::unproven), 16u);
    ask(talk, "PASV\r\n", "227 ok (198,51,100,2,195,81)\r\n");
    EXPECT_TRUE(data_passes(world, 50001));
}

// Whose SYN was seen has to prove all of it.
TEST_F(PickUp, LeavesConnectionsWithASynAlone) {
    ASSERT_TRUE(talk.open());
    ASSERT_TRUE(talk.client("USER /x HTTP/1.1\r\nHost: a\r\n\r\n"));
    ASSERT_TRUE(talk.server("220 hi\r\n"));
    EXPECT_EQ(count(HelperCounter::blind_not_protocol), 1u);
    pairs(talk);
    EXPECT_FALSE(data_passes(world, 50000));
    Talk second(world, frames::flow(kClient, 40002, kServer, 21));
    ASSERT_TRUE(second.open());
    pairs(second);  // no greeting
    EXPECT_FALSE(data_passes(world, 50000));
}

// A server whose reset only the firewall heeds makes it forget the connection, not that it was
// known.
class PickUpAfterReset : public PickUp {
  protected:
    void forget(std::uint32_t after_ms) {
        ASSERT_TRUE(talk.open());
        ASSERT_TRUE(talk.client("POST / HTTP/1.1\r\nHost: a\r\n\r\n"));
        ASSERT_TRUE(talk.packet(Direction::reply, tcp_flag::rst | tcp_flag::ack));
        world.now = world.now + after_ms;
        world.turn();
    }
};

TEST_F(PickUpAfterReset, ReadsNoConnectionThatWasKnown) {
    forget(60'000);
    pairs(talk);
    EXPECT_FALSE(data_passes(world, 50000));
    EXPECT_EQ(count(HelperCounter::blind_midstream), 1u);
    Talk other(world, frames::flow(kClient, 40009, kServer, 21));
    pairs(other);
    EXPECT_TRUE(data_passes(world, 50000));
}

TEST_F(PickUpAfterReset, RemembersForHours) {
    forget(60'000);
    world.now = world.now + 3 * 3'600'000;
    pairs(talk);
    EXPECT_FALSE(data_passes(world, 50000));
}

// The peer's answer to the SYN is enough: the client may say all the rest later.
TEST_F(PickUpAfterReset, AlsoIfItCameBeforeAnythingWasSaid) {
    ASSERT_TRUE(talk.packet(Direction::original, tcp_flag::syn));
    ASSERT_TRUE(talk.packet(Direction::reply, tcp_flag::syn | tcp_flag::ack));
    ASSERT_TRUE(talk.packet(Direction::reply, tcp_flag::rst | tcp_flag::ack));
    world.now = world.now + 60'000;
    world.turn();
    ASSERT_TRUE(talk.packet(Direction::original, kAck));
    pairs(talk);
    EXPECT_FALSE(data_passes(world, 50000));
}

}  // namespace
}  // namespace postern
