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

std::string policy(const std::string& more = {}, const std::string& params = {},
                   bool proof = false) {
    return "helpers:\n"
           "  - name: toy\n"
           "    ports: [7000]\n"
           "    userspace: {transports: [tcp, udp], wait_ms: 100, " +
           std::string(proof ? "" : "proof: false, ") + more +
           "classes: [{name: data, proto: tcp, max: 2, timeout: 30s}]}\n" + params +
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
            while (link().rings(WorkerId::from(w)).questions.pop(q)) {
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
        auto& ring = link().rings(a.conn.worker).answers;
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
    /// A firewall, the process of its helper, and an open control connection.
    struct Scene {
        World world;
        Process process;
        Talk control;

        Scene(const std::string& text, unsigned workers, bool connected, const char* limits)
            : world(text, workers, {}, limits),
              process(world, connected),
              control(world, kControl) {
            EXPECT_TRUE(control.open());
        }
        /// What is asked about it when the server says this, which waits and is to go on later.
        std::optional<Question> asked(std::string_view text) {
            EXPECT_FALSE(control.server(text));
            control.passed_later(Direction::reply, text);
            return process.ask();
        }
        /// Whether the server's data connection opens.
        bool data(std::uint16_t port) {
            return Talk(world, flow("192.0.2.1", 41000, "192.0.2.2", port)).open();
        }
    };
    Scene scene(const std::string& text = policy(), bool connected = true,
                const char* limits = World::kLimits) const {
        return {text, GetParam(), connected, limits};
    }
};
INSTANTIATE_TEST_SUITE_P(Workers, Userspace, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(Userspace, AnnouncementWaitsForTheAnswerAndOpensThen) {
    Scene s = scene();
    EXPECT_TRUE(s.control.server("DATA 5")) << "half a line needs no answer";
    EXPECT_FALSE(s.control.server("000\r\nmore\r\nhalf"));
    EXPECT_EQ(s.world.sum(&WorkerCounters::helper_waits), 1u);
    const auto q = s.process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(s.process.text, "DATA 5000\r\nmore\r\n");
    EXPECT_EQ(q->direction, Direction::reply);
    EXPECT_EQ(q->original.dport.host(), 7000);
    EXPECT_FALSE(s.process.ask());
    EXPECT_FALSE(s.data(5000)) << "not yet";
    s.world.keep_out = true;
    s.process.say(s.process.expects(*q, 5000));
    ASSERT_EQ(s.world.out.size(), 1u) << "the announcement";
    EXPECT_EQ(s.world.out[0].port, World::kInside);
    EXPECT_EQ(s.world.sum(&WorkerCounters::helper_waits), 0u);
    EXPECT_TRUE(s.data(5000));
    EXPECT_EQ(counted(s.world, HelperCounter::expectations), 1u);
    EXPECT_EQ(s.world.buffers_in_use(), 0u);
    // The stream was read on: the rest of the line completes it.
    s.control.passed_later(Direction::reply, "000\r\nmore\r\nhalf");
    EXPECT_FALSE(s.control.server("\r\n"));
    ASSERT_TRUE(s.process.ask());
    EXPECT_EQ(s.process.text, "half\r\n");
}

TEST_P(Userspace, OthersPassMeanwhileAndOnesOfTheSameConnectionWaitInOrder) {
    Scene s = scene();
    Talk other(s.world, flow("192.0.2.1", 40001, "192.0.2.2", 7000));
    ASSERT_TRUE(other.open());
    EXPECT_FALSE(s.control.server("first\n"));
    s.control.passed_later(Direction::reply, "first\n");
    EXPECT_FALSE(s.control.server("second\n"));
    s.control.passed_later(Direction::reply, "second\n");
    EXPECT_TRUE(s.control.packet(Direction::original, 0x10)) << "what says nothing need not wait";
    EXPECT_TRUE(other.server("half a line"));
    auto q = s.process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(s.process.text, "first\n");
    EXPECT_FALSE(s.process.ask()) << "the second one may depend on the answer";
    Answer a = s.process.accept(*q);
    a.has_state = true;
    a.state[0] = 42;
    s.world.keep_out = true;
    s.process.say(a);
    EXPECT_EQ(s.world.out.size(), 1u);
    q = s.process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(s.process.text, "second\n");
    EXPECT_EQ(q->state[0], 42);
    s.process.say(s.process.accept(*q));
    EXPECT_EQ(s.world.out.size(), 2u);
    EXPECT_EQ(s.world.buffers_in_use(), 0u);
}

TEST_P(Userspace, AbsentProcessIsBypassed) {
    Scene s = scene(policy(), false);
    EXPECT_TRUE(s.control.server("DATA 5000\n"));
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_bypassed), 1u);
    EXPECT_FALSE(s.process.ask());
    EXPECT_FALSE(s.data(5000));
}

TEST_P(Userspace, LateProcessIsBypassedAtOnceUntilItAnswers) {
    Scene s = scene();
    EXPECT_FALSE(s.control.server("one\n"));
    s.control.passed_later(Direction::reply, "one\n");
    s.world.keep_out = true;
    s.world.pass(50);
    EXPECT_EQ(s.world.out.size(), 0u);
    s.world.pass(50);
    EXPECT_EQ(s.world.out.size(), 1u);
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_late), 1u);
    EXPECT_TRUE(s.control.server("two\n")) << "it is known to be late";
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_bypassed), 2u);
    const auto q = s.process.ask();
    ASSERT_TRUE(q);
    s.process.say(s.process.expects(*q, 5000));
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_stale), 1u);
    EXPECT_FALSE(s.data(5000)) << "an answer to nobody opens nothing";
    EXPECT_FALSE(s.control.server("three\n")) << "it answers again: waits";
}

TEST_P(Userspace, NextProcessIsNotLate) {
    Scene s = scene();
    EXPECT_FALSE(s.control.server("one\n"));
    s.control.passed_later(Direction::reply, "one\n");
    s.world.pass(100);
    EXPECT_TRUE(s.control.server("two\n"));
    s.process.link().set_connected(1, false);
    s.world.turn();
    s.process.link().set_connected(1, true);
    s.world.turn();
    EXPECT_FALSE(s.control.server("three\n")) << "it is waited for";
}

TEST_P(Userspace, GoneProcessLetsGoAtOnce) {
    Scene s = scene();
    EXPECT_FALSE(s.control.server("one\n"));
    s.world.keep_out = true;
    s.process.link().set_connected(1, false);
    s.world.pass(10, 1);
    EXPECT_EQ(s.world.out.size(), 1u);
}

TEST_P(Userspace, WithoutBypassItIsDroppedAfterTheBoundAndAskedAgain) {
    Scene s = scene(policy(kDrop), false);
    s.world.keep_out = true;
    EXPECT_FALSE(s.control.server("DATA 5000\n"));
    s.world.pass(100);
    EXPECT_EQ(s.world.out.size(), 0u);
    EXPECT_EQ(s.world.drops(DropReason::helper_absent), 1u);
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_absent), 1u);
    EXPECT_EQ(s.world.buffers_in_use(), 0u);
    ASSERT_TRUE(s.process.ask()) << "it might have come in time";
    // The sender repeats it, and now there is a s.process.
    s.process.link().set_connected(1, true);
    EXPECT_FALSE(s.control.server("DATA 5000\n"));
    const auto q = s.process.ask();
    ASSERT_TRUE(q);
    EXPECT_EQ(s.process.text, "DATA 5000\n");
    s.process.say(s.process.expects(*q, 5000));
    EXPECT_EQ(s.world.out.size(), 1u);
    EXPECT_TRUE(s.data(5000));
}

TEST_P(Userspace, ProcessMayDrop) {
    Scene s = scene();
    s.world.keep_out = true;
    for (int i = 0; i < 2; ++i) {
        EXPECT_FALSE(s.control.server("forbidden\n"));
        const auto q = s.process.ask();
        ASSERT_TRUE(q) << "its retransmission is asked about, too";
        Answer a = s.process.accept(*q);
        a.drop = true;
        s.process.say(a);
    }
    EXPECT_EQ(s.world.out.size(), 0u);
    EXPECT_EQ(s.world.drops(DropReason::helper_verdict), 2u);
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_refused), 2u);
}

TEST_P(Userspace, TheGuardsAskNobodyElse) {
    Scene s = scene(policy("", "    params: {deny_ports: \"6000-6063\"}\n"));
    const auto tell = [&](std::uint16_t port, const char* dst) {
        const auto q = s.asked("say\n");
        ASSERT_TRUE(q);
        s.process.say(s.process.expects(*q, port, dst));
    };
    tell(5000, "192.0.2.99");
    EXPECT_EQ(counted(s.world, HelperCounter::third_party_address), 1u);
    tell(22, "192.0.2.2");
    EXPECT_EQ(counted(s.world, HelperCounter::privileged_port), 1u);
    tell(6010, "192.0.2.2");
    EXPECT_EQ(counted(s.world, HelperCounter::denied_port), 1u);
    tell(5000, "2001:db8::2");
    EXPECT_EQ(counted(s.world, HelperCounter::wrong_family), 1u);
    EXPECT_EQ(s.world.fw().expectations().live(), 0u);
    for (std::uint16_t port = 5000; port < 5003; ++port)
        tell(port, "192.0.2.2");
    EXPECT_EQ(s.world.fw().expectations().live(), 2u) << "the class has max: 2";
}

TEST_P(Userspace, NothingOpensBeforeTheProof) {
    Scene s = scene(policy("", "", true));
    for (const bool proven : {false, true}) {
        const auto q = s.asked("say\n");
        ASSERT_TRUE(q);
        Answer a = s.process.expects(*q, 5000);
        a.proven = proven;
        s.process.say(a);
        EXPECT_EQ(s.world.fw().expectations().live(), proven ? 1u : 0u);
    }
    EXPECT_EQ(counted(s.world, HelperCounter::not_proven), 1u);
}

TEST_P(Userspace, AnswersToNobodyAreCountedAndDoNothing) {
    Scene s = scene();
    const auto q = s.asked("say\n");
    ASSERT_TRUE(q);
    Answer a = s.process.expects(*q, 5000);
    ++a.conn.generation;
    s.process.say(a);
    a = s.process.expects(*q, 5000);
    a.conn.index = 0xffffffff;
    s.process.say(a);
    a = s.process.expects(*q, 5000);
    ++a.number;
    s.process.say(a);
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_stale), 3u);
    EXPECT_EQ(s.world.fw().expectations().live(), 0u);
    s.process.say(s.process.expects(*q, 5000));
    s.process.say(s.process.expects(*q, 5001));
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_stale), 4u) << "given twice";
    EXPECT_EQ(s.world.fw().expectations().live(), 1u);
}

TEST_P(Userspace, ConnectionThatEndsTakesItsPacketsAlong) {
    Scene s = scene();
    EXPECT_FALSE(s.control.server("say\n"));
    EXPECT_EQ(s.world.buffers_in_use(), 1u);
    const auto q = s.process.ask();
    ASSERT_TRUE(q);
    const auto found = s.world.connection(7000);
    ASSERT_TRUE(found);
    s.world.fw().worker(found->worker).tracking().end(found->id.index, ConnEnd::control);
    EXPECT_EQ(s.world.buffers_in_use(), 0u);
    EXPECT_EQ(s.world.drops(DropReason::helper_gone), 1u);
    EXPECT_FALSE(s.process.ask());
    EXPECT_EQ(s.process.ended, 1u);
    s.process.say(s.process.expects(*q, 5000));
    EXPECT_EQ(counted(s.world, UserspaceCounter::userspace_stale), 1u);
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
    Scene s = scene(policy(), true, kSmall);
    const std::string line = std::string(300, 'x') + "\n";
    EXPECT_FALSE(s.control.server(line + line + line));
    s.world.keep_out = true;
    for (unsigned i = 0; i < 3; ++i) {
        const auto q = s.process.ask();
        ASSERT_TRUE(q);
        EXPECT_EQ(s.process.text, line) << "two do not fit";
        EXPECT_EQ(q->continues, i != 0);
        EXPECT_EQ(s.world.out.size(), 0u);
        s.process.say(s.process.expects(*q, static_cast<std::uint16_t>(5000 + i)));
    }
    EXPECT_EQ(s.world.out.size(), 1u);
    EXPECT_EQ(s.world.fw().expectations().live(), 2u) << "the class has max: 2";
    EXPECT_TRUE(s.data(5002));
}

TEST_P(Userspace, StreamComesAsItArrives) {
    Scene s = scene(policy("framing: stream, "));
    for (const char* part : {"no", " line end"}) {
        const auto q = s.asked(part);
        ASSERT_TRUE(q);
        EXPECT_EQ(s.process.text, part);
        s.process.say(s.process.accept(*q));
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
    Scene s = scene();
    const auto q = s.asked("say\n");
    ASSERT_TRUE(q);
    Answer a = s.process.accept(*q);
    a.give_up = true;
    s.process.say(a);
    EXPECT_TRUE(s.control.server("more\n"));
    EXPECT_TRUE(s.control.client("more\n"));
    EXPECT_FALSE(s.process.ask());
    EXPECT_EQ(counted(s.world, HelperCounter::blind_not_protocol), 1u);
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
