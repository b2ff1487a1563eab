// SPDX-License-Identifier: BSD-3-Clause
// Packets that wait for a helper in another process, from the workers' side: the test is the
// process, at the other end of the rings.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

std::string policy(const std::string& more = {}, const std::string& params = {}) {
    return "helpers:\n"
           "  - name: toy\n"
           "    ports: [7000]\n"
           "    userspace: {transports: [tcp, udp], wait_ms: 100, " +
           more + "classes: [{name: data, proto: tcp, max: 2, timeout: 30s}]}\n" + params +
           "policy:\n"
           "  rules:\n"
           "    - {name: control, from: inside, proto: [tcp, udp], dport: 7000, action: accept,"
           " helper: toy}\n"
           "    - {ct: [related], related: [toy], action: accept}\n";
}

/// The process, and a server for it.
class Process {
  public:
    explicit Process(World& world, bool connected = true) : world_(world) {
        link().serve();
        link().set_connected(1, connected);
    }
    UserspaceLink& link() { return *world_.fw().userspace(); }
    /// The next question of any worker, with its text; skips connections that ended.
    std::optional<Question> ask() {
        for (unsigned w = 0; w < link().workers(); ++w) {
            Question q;
            while (link().lane(w).questions.pop(q)) {
                if (q.kind == Question::Kind::ended) {
                    ++ended;
                    continue;
                }
                text.assign(reinterpret_cast<const char*>(q.bytes), q.length);
                return q;
            }
        }
        return std::nullopt;
    }
    Answer accept(const Question& q) {
        Answer a;
        a.helper = q.helper;
        a.conn = q.conn;
        a.number = q.number;
        return a;
    }
    Answer expects(const Question& q, std::uint16_t port, const char* dst = "192.0.2.2") {
        Answer a = accept(q);
        a.count = 1;
        a.requests[0].dst = *IpAddr::parse(dst);
        a.requests[0].src.address.family = a.requests[0].dst.family;
        a.requests[0].dport = Be16::from_host(port);
        a.requests[0].protocol = proto::tcp;
        return a;
    }
    void say(const Answer& a) {
        auto& ring = link().lane(a.conn.worker).answers;
        *ring.reserve() = a;
        ring.publish();
        world_.turn();
    }
    std::string text;
    unsigned ended = 0;

  private:
    World& world_;
};

std::uint64_t counted(World& world, UserspaceCounter c) {
    std::uint64_t n = 0;
    for (unsigned w = 0; w < world.fw().workers(); ++w)
        n += world.fw().worker(w).helpers().counters(1).own(static_cast<unsigned>(c)).get();
    return n;
}
std::uint64_t counted(World& world, HelperCounter c) {
    std::uint64_t n = 0;
    for (unsigned w = 0; w < world.fw().workers(); ++w)
        n += world.fw().worker(w).helpers().counters(1)[c].get();
    return n;
}

const frames::Flow kControl = flow("192.0.2.1", 40000, "192.0.2.2", 7000);
constexpr const char* kDrop = "bypass: false, ";

class Userspace : public ::testing::TestWithParam<unsigned> {
  protected:
    bool data(World& world, std::uint16_t port) {
        return Talk(world, flow("192.0.2.1", 41000, "192.0.2.2", port)).open();
    }
};
INSTANTIATE_TEST_SUITE_P(Workers, Userspace, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(Userspace, AnnouncementWaitsForTheAnswerAndOpensThen) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    EXPECT_TRUE(control.server("DATA 5")) << "half a line needs no answer";
    EXPECT_FALSE(control.server("000\r\nmore\r\nhalf"));
    EXPECT_EQ(world.sum(&WorkerCounters::helper_waits), 1u);
    const auto q = process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(process.text, "DATA 5000\r\nmore\r\n");
    EXPECT_EQ(q->direction, Direction::reply);
    EXPECT_EQ(q->original.dport.host(), 7000);
    EXPECT_FALSE(process.ask());
    EXPECT_FALSE(data(world, 5000)) << "not yet";
    world.keep_out = true;
    process.say(process.expects(*q, 5000));
    ASSERT_EQ(world.out.size(), 1u) << "the announcement";
    EXPECT_EQ(world.out[0].port, World::kInside);
    EXPECT_EQ(world.sum(&WorkerCounters::helper_waits), 0u);
    EXPECT_TRUE(data(world, 5000));
    EXPECT_EQ(counted(world, HelperCounter::expectations), 1u);
    EXPECT_EQ(world.buffers_in_use(), 0u);
    // The stream was read on: the rest of the line completes it.
    control.passed_later(Direction::reply, "000\r\nmore\r\nhalf");
    EXPECT_FALSE(control.server("\r\n"));
    ASSERT_TRUE(process.ask());
    EXPECT_EQ(process.text, "half\r\n");
}

TEST_P(Userspace, OthersPassMeanwhileAndOnesOfTheSameConnectionWaitInOrder) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl), other(world, flow("192.0.2.1", 40001, "192.0.2.2", 7000));
    ASSERT_TRUE(control.open() && other.open());
    EXPECT_FALSE(control.server("first\n"));
    control.passed_later(Direction::reply, "first\n");
    EXPECT_FALSE(control.server("second\n"));
    control.passed_later(Direction::reply, "second\n");
    EXPECT_TRUE(control.packet(Direction::original, 0x10)) << "what says nothing need not wait";
    EXPECT_TRUE(other.server("half a line"));
    auto q = process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(process.text, "first\n");
    EXPECT_FALSE(process.ask()) << "the second one may depend on the answer";
    Answer a = process.accept(*q);
    a.has_state = true;
    a.state[0] = 42;
    world.keep_out = true;
    process.say(a);
    EXPECT_EQ(world.out.size(), 1u);
    q = process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(process.text, "second\n");
    EXPECT_EQ(q->state[0], 42);
    process.say(process.accept(*q));
    EXPECT_EQ(world.out.size(), 2u);
    EXPECT_EQ(world.buffers_in_use(), 0u);
}

TEST_P(Userspace, AbsentProcessIsBypassed) {
    World world(policy(), GetParam());
    Process process(world, false);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    EXPECT_TRUE(control.server("DATA 5000\n"));
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_bypassed), 1u);
    EXPECT_FALSE(process.ask());
    EXPECT_FALSE(data(world, 5000));
}

TEST_P(Userspace, LateProcessIsBypassedAtOnceUntilItAnswers) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    EXPECT_FALSE(control.server("one\n"));
    control.passed_later(Direction::reply, "one\n");
    world.keep_out = true;
    world.pass(50);
    EXPECT_EQ(world.out.size(), 0u);
    world.pass(50);
    EXPECT_EQ(world.out.size(), 1u);
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_late), 1u);
    EXPECT_TRUE(control.server("two\n")) << "it is known to be late";
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_bypassed), 2u);
    const auto q = process.ask();
    ASSERT_TRUE(q);
    process.say(process.expects(*q, 5000));
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_stale), 1u);
    EXPECT_FALSE(data(world, 5000)) << "an answer to nobody opens nothing";
    EXPECT_FALSE(control.server("three\n")) << "it answers again: waits";
}

TEST_P(Userspace, NextProcessIsNotLate) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    EXPECT_FALSE(control.server("one\n"));
    control.passed_later(Direction::reply, "one\n");
    world.pass(100);
    EXPECT_TRUE(control.server("two\n"));
    process.link().set_connected(1, false);
    world.turn();
    process.link().set_connected(1, true);
    world.turn();
    EXPECT_FALSE(control.server("three\n")) << "it is waited for";
}

TEST_P(Userspace, GoneProcessLetsGoAtOnce) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    EXPECT_FALSE(control.server("one\n"));
    world.keep_out = true;
    process.link().set_connected(1, false);
    world.pass(10, 1);
    EXPECT_EQ(world.out.size(), 1u);
}

TEST_P(Userspace, WithoutBypassItIsDroppedAfterTheBoundAndAskedAgain) {
    World world(policy(kDrop), GetParam());
    Process process(world, false);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    world.keep_out = true;
    EXPECT_FALSE(control.server("DATA 5000\n"));
    world.pass(100);
    EXPECT_EQ(world.out.size(), 0u);
    EXPECT_EQ(world.drops(DropReason::helper_absent), 1u);
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_absent), 1u);
    EXPECT_EQ(world.buffers_in_use(), 0u);
    ASSERT_TRUE(process.ask()) << "it might have come in time";
    // The sender repeats it, and now there is a process.
    process.link().set_connected(1, true);
    EXPECT_FALSE(control.server("DATA 5000\n"));
    const auto q = process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(process.text, "DATA 5000\n");
    process.say(process.expects(*q, 5000));
    EXPECT_EQ(world.out.size(), 1u);
    EXPECT_TRUE(data(world, 5000));
}

TEST_P(Userspace, ProcessMayDrop) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    world.keep_out = true;
    for (int i = 0; i < 2; ++i) {
        EXPECT_FALSE(control.server("forbidden\n"));
        const auto q = process.ask();
        ASSERT_TRUE(q) << "its retransmission is asked about, too";
        Answer a = process.accept(*q);
        a.drop = true;
        process.say(a);
    }
    EXPECT_EQ(world.out.size(), 0u);
    EXPECT_EQ(world.drops(DropReason::helper_verdict), 2u);
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_refused), 2u);
}

TEST_P(Userspace, TheGuardsAskNobodyElse) {
    World world(policy("", "    params: {deny_ports: \"6000-6063\"}\n"), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    const auto tell = [&](std::uint16_t port, const char* dst) {
        EXPECT_FALSE(control.server("say\n"));
        control.passed_later(Direction::reply, "say\n");
        const auto q = process.ask();
        ASSERT_TRUE(q);
        process.say(process.expects(*q, port, dst));
    };
    tell(5000, "192.0.2.99");
    EXPECT_EQ(counted(world, HelperCounter::third_party_address), 1u);
    tell(22, "192.0.2.2");
    EXPECT_EQ(counted(world, HelperCounter::privileged_port), 1u);
    tell(6010, "192.0.2.2");
    EXPECT_EQ(counted(world, HelperCounter::denied_port), 1u);
    tell(5000, "2001:db8::2");
    EXPECT_EQ(counted(world, HelperCounter::wrong_family), 1u);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
    for (std::uint16_t port = 5000; port < 5003; ++port)
        tell(port, "192.0.2.2");
    EXPECT_EQ(world.fw().expectations().live(), 2u) << "the class has max: 2";
}

TEST_P(Userspace, NothingOpensBeforeTheProofThatIsAskedFor) {
    World world(policy("proof: true, "), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    for (const bool proven : {false, true}) {
        EXPECT_FALSE(control.server("say\n"));
        control.passed_later(Direction::reply, "say\n");
        const auto q = process.ask();
        ASSERT_TRUE(q);
        Answer a = process.expects(*q, 5000);
        a.proven = proven;
        process.say(a);
        EXPECT_EQ(world.fw().expectations().live(), proven ? 1u : 0u);
    }
    EXPECT_EQ(counted(world, HelperCounter::not_proven), 1u);
}

TEST_P(Userspace, AnswersToNobodyAreCountedAndDoNothing) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    EXPECT_FALSE(control.server("say\n"));
    control.passed_later(Direction::reply, "say\n");
    const auto q = process.ask();
    ASSERT_TRUE(q);
    Answer a = process.expects(*q, 5000);
    ++a.conn.generation;
    process.say(a);
    a = process.expects(*q, 5000);
    a.conn.index = 0xffffffff;
    process.say(a);
    a = process.expects(*q, 5000);
    ++a.number;
    process.say(a);
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_stale), 3u);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
    process.say(process.expects(*q, 5000));
    process.say(process.expects(*q, 5001));
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_stale), 4u) << "given twice";
    EXPECT_EQ(world.fw().expectations().live(), 1u);
}

TEST_P(Userspace, ConnectionThatEndsTakesItsPacketsAlong) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    EXPECT_FALSE(control.server("say\n"));
    EXPECT_EQ(world.buffers_in_use(), 1u);
    const auto q = process.ask();
    ASSERT_TRUE(q);
    const auto found = world.connection(7000);
    ASSERT_TRUE(found);
    world.fw().worker(found->worker).end_connection(found->id.index, ConnEnd::control);
    EXPECT_EQ(world.buffers_in_use(), 0u);
    EXPECT_EQ(world.drops(DropReason::helper_gone), 1u);
    EXPECT_FALSE(process.ask());
    EXPECT_EQ(process.ended, 1u);
    process.say(process.expects(*q, 5000));
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_stale), 1u);
}

TEST_P(Userspace, DatagramsWaitToo) {
    World world(policy(), GetParam());
    Process process(world);
    EXPECT_FALSE(world.from_inside(frames::udp(kControl, "ask")));
    const auto q = process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(process.text, "ask");
    world.keep_out = true;
    process.say(process.accept(*q));
    EXPECT_EQ(world.out.size(), 1u);
}

constexpr const char* kSmall =
    "connections: 1024, expectations: 256, helped_connections: 64, stream_buffer: 512";

TEST_P(Userspace, PacketOfSeveralMessagesWaitsForAllAnswers) {
    World world(policy(), GetParam(), {}, kSmall);
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    const std::string line = std::string(300, 'x') + "\n";
    EXPECT_FALSE(control.server(line + line + line));
    world.keep_out = true;
    for (unsigned i = 0; i < 3; ++i) {
        const auto q = process.ask();
        ASSERT_TRUE(q);
        EXPECT_EQ(process.text, line) << "two do not fit";
        EXPECT_EQ(q->continues, i != 0);
        EXPECT_EQ(world.out.size(), 0u);
        process.say(process.expects(*q, static_cast<std::uint16_t>(5000 + i)));
    }
    EXPECT_EQ(world.out.size(), 1u);
    EXPECT_EQ(world.fw().expectations().live(), 2u) << "the class has max: 2";
    EXPECT_TRUE(data(world, 5002));
}

TEST_P(Userspace, StreamComesAsItArrives) {
    World world(policy("framing: stream, "), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    for (const char* part : {"no", " line end"}) {
        EXPECT_FALSE(control.server(part));
        control.passed_later(Direction::reply, part);
        const auto q = process.ask();
        ASSERT_TRUE(q);
        EXPECT_EQ(process.text, part);
        process.say(process.accept(*q));
    }
}

TEST_P(Userspace, DatagramThatIsTooLongIsNotAskedAbout) {
    const std::string text(513, 'x');
    World world(policy(), GetParam(), {}, kSmall);
    Process process(world);
    EXPECT_TRUE(world.from_inside(frames::udp(kControl, text)));
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_too_long), 1u);
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_bypassed), 1u);
    World strict(policy(kDrop), GetParam(), {}, kSmall);
    Process other(strict);
    EXPECT_FALSE(strict.from_inside(frames::udp(kControl, text)));
    EXPECT_EQ(strict.drops(DropReason::helper_absent), 1u);
    EXPECT_EQ(strict.buffers_in_use(), 0u);
}

TEST_P(Userspace, WhatCannotBeFiledIsSaidAgain) {
    World world(policy(), GetParam(), {},
                "connections: 1024, expectations: 16, helped_connections: 64");
    Process process(world);
    std::vector<std::unique_ptr<Talk>> talks;
    unsigned refused = 0;
    for (unsigned i = 0; i < 12; ++i) {
        Talk& t = *talks.emplace_back(
            std::make_unique<Talk>(world, flow("192.0.2.1", 40000 + i, "192.0.2.2", 7000)));
        ASSERT_TRUE(t.open());
        const auto before = world.drops(DropReason::helper);
        EXPECT_FALSE(t.server("say\n"));
        auto q = process.ask();
        ASSERT_TRUE(q);
        Answer a = process.expects(*q, static_cast<std::uint16_t>(5000 + 2 * i));
        a.count = 2;
        a.requests[1] = a.requests[0];
        a.requests[1].dport = Be16::from_host(static_cast<std::uint16_t>(5001 + 2 * i));
        a.has_state = true;
        a.state[0] = 7;
        process.say(a);
        if (world.drops(DropReason::helper) == before) continue;
        ++refused;
        EXPECT_FALSE(t.server("say\n"));
        q = process.ask();
        ASSERT_TRUE(q) << "it was never read";
        EXPECT_EQ(q->state[0], 0) << "as if it had not been asked about";
        process.say(process.accept(*q));
    }
    EXPECT_GT(refused, 0u);
    EXPECT_EQ(world.buffers_in_use(), 0u);
}

TEST_P(Userspace, WhatIsGivenUpIsNotAskedAboutAgain) {
    World world(policy(), GetParam());
    Process process(world);
    Talk control(world, kControl);
    ASSERT_TRUE(control.open());
    EXPECT_FALSE(control.server("say\n"));
    control.passed_later(Direction::reply, "say\n");
    const auto q = process.ask();
    ASSERT_TRUE(q);
    Answer a = process.accept(*q);
    a.give_up = true;
    process.say(a);
    EXPECT_TRUE(control.server("more\n"));
    EXPECT_TRUE(control.client("more\n"));
    EXPECT_FALSE(process.ask());
    EXPECT_EQ(counted(world, HelperCounter::blind_not_protocol), 1u);
}

TEST_P(Userspace, QueueIsBounded) {
    World world(policy("queue: 2, "), GetParam());
    Process process(world);
    unsigned passed = 0;
    for (unsigned i = 0; i < 5; ++i)
        passed +=
            world.from_inside(frames::udp(flow("192.0.2.1", 30000 + i, "192.0.2.2", 7000), "ask"));
    EXPECT_LE(world.sum(&WorkerCounters::helper_waits), 2 * GetParam());
    EXPECT_EQ(passed + world.sum(&WorkerCounters::helper_waits), 5u);
    EXPECT_EQ(counted(world, UserspaceCounter::userspace_bypassed), passed);

    World strict(policy(std::string(kDrop) + "queue: 2, "), GetParam());
    Process busy(strict);
    for (unsigned i = 0; i < 5; ++i)
        EXPECT_FALSE(strict.from_inside(
            frames::udp(flow("192.0.2.1", 30000 + i, "192.0.2.2", 7000), "ask")));
    EXPECT_EQ(strict.drops(DropReason::helper_absent) + strict.sum(&WorkerCounters::helper_waits),
              5u);
    strict.pass(200);
    EXPECT_EQ(strict.drops(DropReason::helper_absent), 5u);
    EXPECT_EQ(strict.buffers_in_use(), 0u);
}

TEST(UserspaceReplay, WithoutServerNothingWaits) {
    for (const bool bypass : {true, false}) {
        World world(policy(bypass ? "" : kDrop), 1);
        Talk control(world, kControl);
        ASSERT_TRUE(control.open());
        EXPECT_EQ(control.server("DATA 5000\n"), bypass);
        EXPECT_EQ(world.drops(DropReason::helper_absent), bypass ? 0u : 1u);
    }
}

}  // namespace
}  // namespace postern
