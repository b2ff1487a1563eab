// SPDX-License-Identifier: BSD-3-Clause
// SIP through whole firewalls: many calls of one connection, their limits, and telephones that are
// answered at another port than they send from.
#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

std::string policy(const std::string& params = {}) {
    return "helpers: [{name: sip, helper: sip" + params +
           "}]\n"
           "policy:\n"
           "  default: drop\n"
           "  rules:\n"
           "    - {name: sip, from: inside, proto: udp, dport: 5060, ct: [new], action: accept, "
           "helper: sip}\n"
           "    - {name: children, ct: [related], action: accept}\n";
}

constexpr const char *kInside = "192.0.2.1", *kOutside = "198.51.100.2";

class Sip : public ::testing::TestWithParam<unsigned> {
  protected:
    void make(const std::string& params = {}, unsigned expectations = 2048) {
        world.emplace(policy(params), GetParam(), "",
                      "connections: 4096, helped_connections: 64, expectations: " +
                          std::to_string(expectations));
    }
    void SetUp() override { make(); }

    static std::string message(const std::string& start, const std::string& call,
                               const std::string& cseq, const std::string& via,
                               const std::string& more, const char* media = nullptr,
                               unsigned port = 0) {
        std::string body;
        if (media != nullptr)
            body = "v=0\r\nc=IN IP4 " + std::string(media) + "\r\nm=audio " + std::to_string(port) +
                   " RTP/AVP 0\r\n";
        return start + "\r\nVia: SIP/2.0/UDP " + via + ";branch=z9hG4bK" + call + cseq +
               "\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>" + (start[0] == 'S' ? ";tag=2" : "") +
               "\r\nCall-ID: " + call + "\r\nCSeq: " + cseq + "\r\n" + more +
               (body.empty() ? "" : "Content-Type: application/sdp\r\n") +
               "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
    }
    /// A packet of the trunk, or of any other pair of ports.
    bool say(bool inside, const std::string& text, unsigned here = 5060, unsigned there = 5060) {
        const auto f = inside ? frames::flow(kInside, here, kOutside, there)
                              : frames::flow(kOutside, there, kInside, here);
        const auto frame = frames::udp(f, text);
        return inside ? world->from_inside(frame) : world->from_outside(frame);
    }
    bool rtp(bool inside, unsigned here, unsigned there) { return say(inside, "rtp", here, there); }
    static std::string granted_for(unsigned seconds) {
        return "Contact: <sip:a@192.0.2.1:5070>;expires=" + std::to_string(seconds) + "\r\n";
    }
    /// A REGISTER from a port of the telephone, and its 2xx. Without `via`: with rport.
    bool registers(unsigned from, const std::string& call, unsigned seconds,
                   const std::string& via = "192.0.2.1;rport", unsigned answer_to = 0) {
        const std::string contact = granted_for(seconds);
        return say(true, message("REGISTER sip:r SIP/2.0", call, "1 REGISTER", via, contact),
                   from) &&
               say(false, message("SIP/2.0 200 OK", call, "1 REGISTER", via, contact),
                   answer_to != 0 ? answer_to : from);
    }
    bool called(unsigned from) {
        return say(false,
                   message("INVITE sip:a SIP/2.0", "in", "1 INVITE", "198.51.100.2:5060", ""), 5070,
                   from);
    }
    void wait(unsigned seconds) {
        for (unsigned s = 0; s < seconds; s += 5) {
            world->now = world->now + 5'000;
            world->turn();
        }
    }
    /// The ports to which something is pending.
    std::set<unsigned> pending() {
        std::set<unsigned> ports;
        std::uint32_t cursor = 0;
        while (world->fw().expectations().walk(
            cursor, 1024, [&](const ExpectInfo& e) { ports.insert(e.dport.host()); })) {
        }
        return ports;
    }
    static std::string id(unsigned n) { return "call" + std::to_string(n); }
    bool invite(unsigned n) {
        return say(true, message("INVITE sip:b@b SIP/2.0", id(n), "1 INVITE", "192.0.2.1", "",
                                 kInside, 20000 + 2 * n));
    }
    bool answer(unsigned n, const char* start, bool media) {
        return say(false, message(start, id(n), "1 INVITE", "192.0.2.1", "",
                                  media ? kOutside : nullptr, 30000 + 2 * n));
    }

    std::optional<World> world;
};
INSTANTIATE_TEST_SUITE_P(Workers, Sip, ::testing::Values(1u, 4u));

TEST_P(Sip, ManyCallsOfATrunkRingAtOnce) {
    constexpr unsigned kCalls = 100;
    for (unsigned n = 0; n < kCalls; ++n) {
        ASSERT_TRUE(invite(n) && answer(n, "SIP/2.0 180 Ringing", false));
        if (n % 2 == 0) continue;
        ASSERT_TRUE(answer(n, "SIP/2.0 183 Progress", true));
        EXPECT_TRUE(rtp(false, 20000 + 2 * n, 9000 + n)) << "early media of call " << n;
    }
    for (unsigned n = 0; n < kCalls; ++n)
        ASSERT_TRUE(answer(n, "SIP/2.0 200 OK", true));
    for (unsigned n = 0; n < kCalls; ++n) {
        EXPECT_TRUE(rtp(true, 20000 + 2 * n, 30000 + 2 * n)) << "call " << n;
        EXPECT_TRUE(rtp(false, 20000 + 2 * n, 30000 + 2 * n)) << "call " << n;
        EXPECT_TRUE(rtp(false, 20001 + 2 * n, 30001 + 2 * n)) << "RTCP of call " << n;
    }
    EXPECT_FALSE(rtp(false, 19000, 9));
}

TEST_P(Sip, EachBranchOfACallHasEarlyMedia) {
    ASSERT_TRUE(invite(0));
    ASSERT_TRUE(answer(0, "SIP/2.0 100 Trying", false));
    for (unsigned from = 9000; from < 9004; ++from)
        EXPECT_TRUE(rtp(false, 20000, from)) << from;
    EXPECT_FALSE(rtp(false, 20000, 9004)) << "no more than a few";
}

TEST_P(Sip, OneConnectionDoesNotFillTheTable) {
    make(", params: {max_pending: 60000}", 256);
    ASSERT_TRUE(invite(0) && answer(0, "SIP/2.0 180 Ringing", false));
    for (unsigned n = 1; n < 2000; ++n) {
        ASSERT_TRUE(invite(n));
        ASSERT_LE(world->fw().expectations().live(), 64u);
    }
    EXPECT_TRUE(rtp(false, 20000 + 2 * 1999, 9)) << "the latest";
    EXPECT_FALSE(rtp(false, 20000, 9)) << "the oldest gave way";
}

TEST_P(Sip, TheLimitOfAConnectionIsAParameter) {
    make(", params: {max_pending: 20}");
    ASSERT_TRUE(invite(0) && answer(0, "SIP/2.0 180 Ringing", false));
    for (unsigned n = 1; n < 50; ++n)
        ASSERT_TRUE(invite(n));
    EXPECT_EQ(world->fw().expectations().live(), 20u);
}

// One source has no more than a quarter of the table, however many connections it opens.
// What gives way goes by when it was announced, whether or not its call was answered since: media
// that nobody has sent in all that time are not coming. Announced again it is new. A registration
// stays.
TEST_P(Sip, OfAFullConnectionWhatWasAnnouncedFirstGivesWay) {
    const auto rings = [&](unsigned n) { return answer(n, "SIP/2.0 180 Ringing", false); };
    const auto pair = [](unsigned port) { return std::set<unsigned>{port, port + 1}; };
    make(", params: {max_pending: 21}");
    ASSERT_TRUE(registers(5060, "r", 600));
    const std::set<unsigned> before = pending();
    ASSERT_EQ(before, std::set<unsigned>{5070});
    for (unsigned n = 0; n < 10; ++n)
        ASSERT_TRUE(invite(n) && rings(n));
    ASSERT_EQ(pending().size(), 21u);
    std::set<unsigned> now = pending();
    /// What goes when `announce` adds the two ports from `added` on.
    const auto goes = [&](const auto& announce, unsigned added) {
        const std::set<unsigned> was = std::exchange(now, {});
        EXPECT_TRUE(announce());
        now = pending();
        EXPECT_TRUE(now.contains(added) && now.contains(added + 1)) << added;
        EXPECT_EQ(now.size(), 21u);
        std::set<unsigned> gone;
        std::ranges::set_difference(was, now, std::inserter(gone, gone.end()));
        return gone;
    };
    EXPECT_EQ(goes([&] { return answer(1, "SIP/2.0 200 OK", true); }, 30002), pair(20000));
    EXPECT_EQ(goes([&] { return invite(2); }, 20004), std::set<unsigned>{}) << "a retransmission";
    EXPECT_EQ(goes([&] { return invite(10); }, 20020), pair(20002)) << "answered, but the oldest";
    for (unsigned n = 11; n < 18; ++n)
        EXPECT_EQ(goes([&] { return invite(n); }, 20000 + 2 * n), pair(20006 + 2 * (n - 11)));
    EXPECT_EQ(goes([&] { return invite(18); }, 20036), pair(30002)) << "the answer to call 1";
    EXPECT_EQ(goes([&] { return invite(19); }, 20038), pair(20004)) << "call 2, announced again";
    EXPECT_TRUE(now.contains(5070));
    EXPECT_TRUE(called(9000));
    EXPECT_FALSE(rtp(false, 20004, 9)) << "gave way";
    EXPECT_TRUE(rtp(false, 20020, 9)) << "call 10";
}

TEST_P(Sip, OneSourceDoesNotFillTheTable) {
    make({}, 256);
    for (unsigned n = 0; n < 40; ++n)
        for (unsigned call = 0; call < 20; ++call) {
            const std::string name = id(n) + "x" + std::to_string(call);
            say(true,
                message("INVITE sip:b@b SIP/2.0", name, "1 INVITE", "192.0.2.1;rport", "", kInside,
                        20000 + 40 * n + 2 * call),
                40000 + n);
            say(false, message("SIP/2.0 180 x", name, "1 INVITE", "192.0.2.1", ""), 40000 + n);
        }
    EXPECT_LE(world->fw().expectations().live(), 64u);
    EXPECT_GT(world->fw().expectations().live(), 50u);
}

// A server that answers any number of sources has half of the table, and the zone that they come
// from three quarters.
TEST_P(Sip, OneServerDoesNotFillTheTable) {
    make({}, 256);
    const auto calls = [&](const std::string& from, const char* to, unsigned call) {
        const auto f = frames::flow(from.c_str(), 5060, to, 5060);
        const std::string name = from + id(call);
        const std::string media = "v=0\r\nc=IN IP4 " + from + "\r\nm=audio " +
                                  std::to_string(20000 + 2 * call) + " RTP/AVP 0\r\n";
        const std::string head =
            "\r\nVia: SIP/2.0/UDP x;rport\r\nFrom: a\r\nTo: b\r\nCall-ID: " + name +
            "\r\nCSeq: 1 INVITE\r\n";
        world->from_inside(frames::udp(
            f, "INVITE sip:b@b SIP/2.0" + head + "Content-Type: application/sdp\r\n\r\n" + media));
        world->from_outside(frames::udp(frames::flow(to, 5060, from.c_str(), 5060),
                                        "SIP/2.0 180 x" + head + "\r\n"));
        return world->from_outside(
            frames::udp(frames::flow(to, 9000 + call, from.c_str(), 20000 + 2 * call), "rtp"));
    };
    for (unsigned host = 1; host < 20; ++host)
        for (unsigned call = 0; call < 16; ++call)
            calls("192.0.2." + std::to_string(host), kOutside, call);
    EXPECT_LE(world->fw().expectations().live(), 128u);
    EXPECT_GT(world->fw().expectations().live(), 100u);
    EXPECT_TRUE(calls("192.0.2.99", "198.51.100.3", 0)) << "to another server";
    for (unsigned host = 1; host < 20; ++host)
        for (unsigned call = 20; call < 36; ++call)
            calls("192.0.2." + std::to_string(host), "198.51.100.3", call);
    EXPECT_LE(world->fw().expectations().live(), 192u);
    EXPECT_GT(world->fw().expectations().live(), 160u);
}

TEST_P(Sip, AnswersComeToTheViasPort) {
    constexpr unsigned kHigh = 50933;
    const auto registers = [&](const char* cseq) {
        return say(true,
                   message("REGISTER sip:r SIP/2.0", "r", cseq, "192.0.2.1:5060",
                           "Contact: <sip:a@192.0.2.1:5070>\r\nExpires: 600\r\n"),
                   kHigh);
    };
    const auto granted = [&](const char* cseq, const char* contact, const char* start) {
        return say(false, message(start, "r", cseq, "192.0.2.1:5060", contact), 5060);
    };
    const auto called = [&](unsigned from) {
        return say(false,
                   message("INVITE sip:a SIP/2.0", "in", "1 INVITE", "198.51.100.2:5060", ""), 5070,
                   from);
    };
    EXPECT_FALSE(granted("1 REGISTER", "", "SIP/2.0 100 Trying")) << "nobody asked";
    ASSERT_TRUE(registers("1 REGISTER"));
    EXPECT_TRUE(granted("1 REGISTER", "", "SIP/2.0 401 Unauthorized"));
    EXPECT_FALSE(called(9000)) << "it is not registered yet";
    ASSERT_TRUE(registers("2 REGISTER"));
    EXPECT_TRUE(
        granted("2 REGISTER", "Contact: <sip:a@192.0.2.1:5070>;expires=600\r\n", "SIP/2.0 200 OK"));
    EXPECT_TRUE(called(9001));
    ASSERT_TRUE(registers("3 REGISTER"));
    EXPECT_TRUE(granted("3 REGISTER", "", "SIP/2.0 503 Unavailable"));
    EXPECT_TRUE(called(9002)) << "the registration stands";
    ASSERT_TRUE(registers("4 REGISTER"));
    EXPECT_TRUE(granted("4 REGISTER", "", "SIP/2.0 200 OK"));
    EXPECT_FALSE(called(9003)) << "it is registered no more";
    EXPECT_TRUE(called(9001)) << "what runs goes on";
    ASSERT_TRUE(registers("5 REGISTER"));
    EXPECT_TRUE(
        granted("5 REGISTER", "Contact: <sip:a@192.0.2.1:5070>;expires=600\r\n", "SIP/2.0 200 OK"));
    for (int s = 0; s < 250; s += 10) {
        world->now = world->now + 10'000;
        world->turn();
    }
    EXPECT_TRUE(called(9004)) << "later, though nothing was said meanwhile";
}

// A datagram from another port of the server, forged or not, takes the place of no answer.
TEST_P(Sip, AForgedDatagramTakesNoAnswersPlace) {
    constexpr const char* kVia = "192.0.2.1:5060";
    constexpr unsigned kHigh = 50933;
    ASSERT_TRUE(say(
        true, message("INVITE sip:b@b SIP/2.0", "c", "1 INVITE", kVia, "", kInside, 20000), kHigh));
    say(false, "forged", 5060, 7777);
    say(false, "forged", 5060, 7778);
    EXPECT_TRUE(say(false, message("SIP/2.0 100 x", "c", "1 INVITE", kVia, "")));
    EXPECT_TRUE(say(false, message("SIP/2.0 200 OK", "c", "1 INVITE", kVia, "", kOutside, 30000)));
    EXPECT_TRUE(rtp(true, 20000, 30000));
}

// The connection of the answers is forgotten while it rings.
TEST_P(Sip, AnswersToTheViasPortMayComeLate) {
    constexpr const char* kVia = "192.0.2.1:5060";
    constexpr unsigned kHigh = 50933;
    unsigned n = 0;
    for (const unsigned rings : {35u, 60u, 120u}) {
        SCOPED_TRACE(rings);
        const auto answers = [&](const char* start, const char* media = nullptr) {
            return say(false, message(start, id(n), "1 INVITE", kVia, "", media, 30000 + 2 * n));
        };
        ASSERT_TRUE(say(
            true,
            message("INVITE sip:b@b SIP/2.0", id(n), "1 INVITE", kVia, "", kInside, 20000 + 2 * n),
            kHigh));
        EXPECT_TRUE(answers("SIP/2.0 100 x"));
        wait(5);
        EXPECT_TRUE(answers("SIP/2.0 180 x"));
        wait(rings);
        EXPECT_TRUE(answers("SIP/2.0 200 OK", kOutside));
        EXPECT_TRUE(rtp(true, 20000 + 2 * n, 30000 + 2 * n));
        EXPECT_TRUE(rtp(false, 20000 + 2 * n, 30000 + 2 * n));
        ++n;
    }
}

// A datagram in the registrar's name ends or prolongs no registration, without the Call-ID.
TEST_P(Sip, AStrangersAnswerGrantsNothing) {
    constexpr const char* kVia = "192.0.2.1:5060";
    for (const char* params : {"", ", params: {direct_signalling: false}"}) {
        SCOPED_TRACE(params);
        make(params);
        ASSERT_TRUE(registers(5060, "secret", 3600));
        ASSERT_TRUE(called(9000));
        say(false, message("SIP/2.0 200 OK", "guess", "1 REGISTER", kVia, granted_for(1)), 5070,
            7777);
        wait(5);
        EXPECT_TRUE(called(9001));
        say(false, message("SIP/2.0 200 OK", "guess", "1 REGISTER", kVia, granted_for(9000)), 5070,
            7778);
        wait(3700);
        EXPECT_FALSE(called(9002));
    }
}

// A telephone that registers anew from another port, and one that is granted more than an hour by
// a connection of the answer's own.
TEST_P(Sip, EachConnectionsRegistrationLastsItsTime) {
    constexpr const char* kVia = "192.0.2.1:5060";
    ASSERT_TRUE(registers(40001, "a", 3600));
    wait(3000);
    ASSERT_TRUE(registers(40002, "b", 3600));
    wait(700);
    EXPECT_TRUE(called(9000)) << "the first one is over, the second is not";
    make();
    ASSERT_TRUE(registers(40001, "a", 3600, kVia, 5060));
    wait(1800);
    ASSERT_TRUE(registers(40002, "b", 3600, kVia, 5060));
    wait(1900);
    EXPECT_TRUE(called(9000)) << "answered at the Via's port";
    make();
    ASSERT_TRUE(registers(40001, "a", 7200, kVia, 5060));
    wait(3700);
    EXPECT_TRUE(called(9000)) << "longer than its timeout";
    wait(3600);
    EXPECT_FALSE(called(9001));
    make();
    for (unsigned n = 0; n < 200; ++n)
        ASSERT_TRUE(registers(40001 + n, id(n), 3600, kVia, 5060));
    EXPECT_TRUE(called(9000)) << "from ever other ports";
}

TEST_P(Sip, ARegistrationThatIsRenewedStands) {
    const auto registers = [&](unsigned n) {
        return say(
            true, message("REGISTER sip:r SIP/2.0", "r", std::to_string(n) + " REGISTER",
                          "192.0.2.1:5060", "Contact: <sip:a@192.0.2.1:5070>\r\nExpires: 600\r\n"));
    };
    const auto answers = [&](unsigned n, const char* start, const char* contact = "") {
        return say(false,
                   message(start, "r", std::to_string(n) + " REGISTER", "192.0.2.1:5060", contact));
    };
    const auto called = [&](unsigned from) { return say(false, "x", 5070, from); };
    constexpr const char* kContact = "Contact: <sip:a@192.0.2.1:5070>;expires=600\r\n";
    ASSERT_TRUE(registers(1) && answers(1, "SIP/2.0 200 OK", kContact));
    unsigned n = 2;
    for (const char* refusal :
         {"SIP/2.0 401 x", "SIP/2.0 407 x", "SIP/2.0 423 x", "SIP/2.0 500 x", "SIP/2.0 503 x"}) {
        ASSERT_TRUE(registers(n));
        EXPECT_TRUE(called(9000 + n)) << "while it is renewed";
        ASSERT_TRUE(answers(n, refusal));
        EXPECT_TRUE(called(9100 + n)) << refusal;
        ++n;
    }
    ASSERT_TRUE(registers(n) && answers(n, "SIP/2.0 200 OK"));
    EXPECT_FALSE(called(9200));
}

}  // namespace
}  // namespace postern
