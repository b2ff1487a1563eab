// SPDX-License-Identifier: BSD-3-Clause
// The pools of the helper framework: what a stranger who forges packets can take from others, and
// what honest connections keep while he floods each pool ten times over.
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "helper/fair_pool.h"
#include "helper/stream.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

// ---- FairPool -----------------------------------------------------------------------------------

using Pool = FairPool<2>;
constexpr auto kNotUsed = [](std::uint32_t) { return Tick{}; };

TEST(FairPool, HasRoomForAnybodyUntilItIsFull) {
    Pool pool(8, 4, {{{4, 1}, {4, 1}}});
    for (std::uint32_t i = 1; i <= 4; ++i) {
        EXPECT_FALSE(pool.full());
        pool.insert(i, {0, 0}, {});
    }
    EXPECT_TRUE(pool.full());
    EXPECT_EQ(pool.held(0, 0), 4u);
    EXPECT_EQ(pool.victim({0, 0}, kNotUsed).item, 1u);
}

TEST(FairPool, AnAccountWithItsShareDisplacesItsOwn) {
    Pool pool(8, 4, {{{4, 2}, {4, 3}}});
    pool.insert(1, {3, 1}, {});  // somebody else's, and the oldest
    for (std::uint32_t i = 2; i <= 4; ++i)
        pool.insert(i, {0, 0}, {});
    const auto own = pool.victim({0, 2}, kNotUsed);
    EXPECT_EQ(own.item, 2u);
    EXPECT_EQ(own.cause, 0u);
    const auto same_destination = pool.victim({2, 0}, kNotUsed);
    EXPECT_EQ(same_destination.item, 2u);
    EXPECT_EQ(same_destination.cause, 1u);
    const auto anybody = pool.victim({2, 2}, kNotUsed);
    EXPECT_EQ(anybody.item, 1u);
    EXPECT_EQ(anybody.cause, 2u);
}

TEST(FairPool, TheLeastRecentlyUsedGivesWay) {
    Pool pool(8, 3, {{{4, 9}, {4, 9}}});
    for (std::uint32_t i = 1; i <= 3; ++i)
        pool.insert(i, {0, 0}, Tick{i});
    pool.touch(1, Tick{10});
    EXPECT_EQ(pool.victim({1, 1}, kNotUsed).item, 2u);
    // Its user knows of a later use than the pool does.
    const auto used = [](std::uint32_t i) { return i == 2 ? Tick{20} : Tick{}; };
    EXPECT_EQ(pool.victim({1, 1}, used).item, 3u);
    pool.remove(3);
    pool.remove(3);  // does no harm
    EXPECT_EQ(pool.victim({1, 1}, kNotUsed).item, 1u);
    EXPECT_EQ(pool.size(), 2u);
}

// ---- stream buffers -----------------------------------------------------------------------------

struct Buffers {
    static constexpr unsigned kStreams = 64;
    std::array<Stream, kStreams> streams{};
    std::array<Assembler::Party, kStreams> parties{};
    std::vector<unsigned> lost;
    Assembler assembler;

    explicit Buffers(const Assembler::Sizes& sizes)
        : assembler(sizes, {.context = this,
                            .party_of =
                                [](void* self, const Stream& s) noexcept {
                                    auto& b = *static_cast<Buffers*>(self);
                                    return b.parties[static_cast<unsigned>(&s - b.streams.data())];
                                },
                            .displaced =
                                [](void* self, Stream& s) noexcept {
                                    auto& b = *static_cast<Buffers*>(self);
                                    b.lost.push_back(static_cast<unsigned>(&s - b.streams.data()));
                                }}) {
        for (Stream& s : streams)
            assembler.start(s, 99);
    }
    /// Bytes that end no message wait.
    bool wait(unsigned i, unsigned bytes = 10) {
        const std::vector<std::uint8_t> text(bytes, 'x');
        assembler.recycle(streams[i]);
        const auto cause = assembler.push(
            streams[i], streams[i].next_seq, 0, text,
            [](Bytes, std::size_t) noexcept { return std::size_t{0}; }, 2000);
        return cause == BlindCause::none;
    }
    /// They are the end of a message.
    void end_message(unsigned i) {
        const std::vector<std::uint8_t> text(1, '\n');
        assembler.recycle(streams[i]);
        assembler.push(
            streams[i], streams[i].next_seq, 0, text,
            [](Bytes run, std::size_t) noexcept { return run.size(); }, 2000);
        assembler.recycle(streams[i]);
    }
};

TEST(StreamBuffers, StrangersTakeNoneOfTheOthers) {
    Buffers b({.buffers = 8, .buffer_bytes = 64, .unproven_buffers = 2});
    for (unsigned i = 10; i < 60; ++i) {
        b.parties[i] = {Standing::unproven, i, 0};
        EXPECT_TRUE(b.wait(i));
    }
    EXPECT_EQ(b.assembler.buffers_held(Standing::unproven), 2u);
    EXPECT_EQ(b.lost.size(), 48u);
    for (unsigned i = 0; i < 8; ++i)
        EXPECT_TRUE(b.wait(i));
    EXPECT_EQ(b.lost.size(), 48u);
    EXPECT_EQ(b.assembler.buffers_held(Standing::proven), 8u);
}

TEST(StreamBuffers, OneHostDoesNotHoldAllLongOnesForDays) {
    Buffers b({.buffers = 64, .buffer_bytes = 64, .long_buffers = 8, .long_bytes = 2000});
    b.parties[0] = {Standing::proven, 7, 7};
    EXPECT_TRUE(b.wait(0, 500));
    for (unsigned i = 1; i < 40; ++i) {
        b.parties[i] = {Standing::proven, 1, i % 2};
        EXPECT_TRUE(b.wait(i, 500));
    }
    // Each took one of that host's own.
    EXPECT_EQ(b.streams[0].state, StreamState::open);
    EXPECT_EQ(b.lost.size(), 32u);
    b.parties[50] = {Standing::proven, 2, 2};
    b.assembler.recycle();
    EXPECT_TRUE(b.wait(50, 500));
    EXPECT_EQ(b.lost.back(), 0u) << "of all, the least recently used";
}

TEST(StreamBuffers, GoBackWhenTheyAreEmptyAndFollowTheirConnection) {
    Buffers b({.buffers = 2, .buffer_bytes = 64, .unproven_buffers = 1});
    b.parties[0].standing = Standing::unproven;
    EXPECT_TRUE(b.wait(0));
    b.parties[0].standing = Standing::proven;
    b.assembler.recharge(b.streams[0]);
    EXPECT_EQ(b.assembler.buffers_held(Standing::unproven), 0u);
    EXPECT_EQ(b.assembler.buffers_held(Standing::proven), 1u);
    b.end_message(0);
    EXPECT_EQ(b.assembler.buffers_held(Standing::proven), 0u);
    EXPECT_EQ(b.assembler.buffers_free(), 3u);
}

// ---- whole firewalls ----------------------------------------------------------------------------

const std::string kPolicy =
    "helpers: [{name: ftp, helper: ftp}, {name: sip, helper: sip}, {name: tftp, helper: tftp},\n"
    "  {name: netbios, helper: netbios}]\n"
    "policy:\n"
    "  default: drop\n"
    "  rules:\n"
    "    - {name: ftp, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {name: sip, proto: [tcp, udp], dport: 5060, ct: [new], action: accept, helper: sip}\n"
    "    - {name: via, proto: udp, dport: 5070, ct: [new], action: accept, helper: sip}\n"
    "    - {name: tftp, proto: udp, dport: 69, ct: [new], action: accept, helper: tftp}\n"
    "    - {name: netbios, proto: udp, dport: 137, ct: [new], action: accept, helper: netbios}\n"
    "    - {name: children, ct: [related], action: accept}\n";

constexpr const char *kCaller = "192.0.2.1", *kCallee = "198.51.100.2";

std::string sdp(const char* host, unsigned port) {
    return "v=0\r\no=a 1 1 IN IP4 " + std::string(host) + "\r\ns=-\r\nc=IN IP4 " + host +
           "\r\nt=0 0\r\nm=audio " + std::to_string(port) + " RTP/AVP 0\r\n";
}
std::string sip(const std::string& start, const std::string& call, const std::string& body,
                const std::string& cseq = "1 INVITE", const char* via = kCaller,
                unsigned via_port = 5060) {
    std::string m =
        start + "\r\nVia: SIP/2.0/UDP " + via + ":" + std::to_string(via_port) +
        ";branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: " + call +
        "\r\nCSeq: " + cseq + "\r\n";
    if (!body.empty()) m += "Content-Type: application/sdp\r\n";
    return m + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}
std::string invite(const std::string& call, const char* host, unsigned port) {
    return sip("INVITE sip:b@b SIP/2.0", call, sdp(host, port));
}
std::string accepted(const std::string& call, const char* host, unsigned port) {
    return sip("SIP/2.0 200 OK", call, sdp(host, port));
}

class Flooded : public ::testing::TestWithParam<unsigned> {
  protected:
    // 64 proven slots in all, 16 unproven ones a worker.
    static constexpr unsigned kHelped = 64;
    World world{kPolicy,
                GetParam(),
                {},
                "connections: 4096, expectations: 64, "
                "helped_connections: 64"};
    unsigned forged = 0;

    unsigned unproven_slots() const { return 16 * GetParam(); }
    /// The address of nobody, another one each time.
    static IpAddr nobody(unsigned n) {
        return IpAddr::v4(203, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n), 7);
    }
    /// Forged datagrams from outside to `to`, each of which announces much.
    void flood(unsigned n, const char* to = "192.0.2.200", std::uint16_t port = 5060) {
        for (unsigned i = 0; i < n; ++i, ++forged) {
            const IpAddr from = nobody(forged);
            const std::string host = from.to_string();
            const frames::Flow f{from, *IpAddr::parse(to),
                                 static_cast<std::uint16_t>(1024 + forged), port};
            world.from_outside(
                frames::udp(f, port == 69 ? std::string("\0\1file\0octet\0", 13)
                                          : invite("x" + std::to_string(forged), host.c_str(),
                                                   10000 + 2 * (forged % 20000))));
        }
    }
    void syn_flood(unsigned n, std::string_view payload = {}) {
        for (unsigned i = 0; i < n; ++i, ++forged) {
            const frames::Flow f{nobody(forged), *IpAddr::parse("192.0.2.200"),
                                 static_cast<std::uint16_t>(1024 + forged), 21};
            world.from_outside(
                frames::tcp(f, {.flags = tcp_flag::syn, .seq = 1000, .payload = payload}));
        }
    }
    bool rtp(const char* from, unsigned sport, const char* to, unsigned port, bool inside) {
        const auto frame = frames::udp(frames::flow(from, sport, to, port), "rtp");
        return inside ? world.from_inside(frame) : world.from_outside(frame);
    }
    /// A call of an inside client, during which `between()` is called at each step.
    template <class F>
    void call(const std::string& id, unsigned port, F&& between) {
        const auto f = frames::flow(kCaller, port, kCallee, 5060);
        const auto message = [&](const char* start, const char* host, unsigned media) {
            return sip(start, id, sdp(host, media), "1 INVITE", kCaller, port);
        };
        ASSERT_TRUE(world.from_inside(
            frames::udp(f, message("INVITE sip:b@b SIP/2.0", kCaller, port + 1000))));
        between();
        ASSERT_TRUE(world.from_outside(
            frames::udp(f.back(), message("SIP/2.0 200 OK", kCallee, port + 2000))));
        between();
        EXPECT_TRUE(rtp(kCallee, 9, kCaller, port + 1000, false)) << "media to the caller";
        EXPECT_TRUE(rtp(kCaller, 9, kCallee, port + 2000, true)) << "media to the callee";
    }
    void session(unsigned port) {
        Talk ftp(world, frames::flow(kCaller, port, kCallee, 21));
        ASSERT_TRUE(ftp.open());
        ASSERT_TRUE(ftp.server("220 ready\r\n"));
        ASSERT_TRUE(ftp.client("USER a\r\n"));
        ASSERT_TRUE(ftp.server("331 more\r\n"));
        ASSERT_TRUE(ftp.client("PASV\r\n"));
        ASSERT_TRUE(ftp.server("227 Entering Passive Mode (198,51,100,2," +
                               std::to_string(port / 256) + "," + std::to_string(port % 256) +
                               ")\r\n"));
        EXPECT_TRUE(world.from_inside(frames::tcp(frames::flow(kCaller, port + 1, kCallee, port),
                                                  {.flags = tcp_flag::syn, .seq = 1})));
    }
    std::uint64_t slots(Standing standing) {
        std::uint64_t n = 0;
        world.turn();
        for (unsigned w = 0; w < GetParam(); ++w)
            n += world.fw().worker(w).helpers().use(standing).slots.get();
        return n;
    }
    std::uint64_t count(const char* helper, std::string_view name) {
        std::uint64_t n = 0;
        for (unsigned h = 0; h < world.fw().plan().helpers.size(); ++h) {
            if (world.fw().plan().helpers[h].name != helper) continue;
            for (unsigned w = 0; w < GetParam(); ++w)
                world.fw().worker(w).helpers().for_each_counter(
                    world.fw().helpers(), static_cast<HelperId>(h + 1), [&](const CounterValue& c) {
                        if (c.name == name) n += c.value;
                    });
        }
        return n;
    }
};
INSTANTIATE_TEST_SUITE_P(Workers, Flooded, ::testing::Values(1u, 4u));

TEST_P(Flooded, BySynsTakesNoSlots) {
    syn_flood(10 * (kHelped + unproven_slots()));
    EXPECT_EQ(slots(Standing::unproven) + slots(Standing::proven), 0u);
    session(40000);
    EXPECT_EQ(slots(Standing::proven), 1u);
}

TEST_P(Flooded, BySynsWithPayloadLeavesFtpWorking) {
    Talk old(world, frames::flow(kCaller, 39000, kCallee, 21));
    ASSERT_TRUE(old.open());
    syn_flood(10 * (kHelped + unproven_slots()), "x");
    EXPECT_LE(slots(Standing::unproven), unproven_slots());
    session(40000);
    ASSERT_TRUE(old.server("220 ready\r\n"));
    ASSERT_TRUE(old.client("PASV\r\n"));
    ASSERT_TRUE(old.server("227 Entering Passive Mode (198,51,100,2,200,0)\r\n"));
    EXPECT_TRUE(world.from_inside(frames::tcp(frames::flow(kCaller, 39001, kCallee, 51200),
                                              {.flags = tcp_flag::syn, .seq = 1})));
    EXPECT_EQ(count("ftp", "blind_displaced") + count("ftp", "displaced_destination") +
                      count("ftp", "displaced_helper") + count("ftp", "displaced_source") +
                      count("ftp", "displaced_zone") + count("ftp", "displaced_oldest") >
                  0,
              true);
}

TEST_P(Flooded, ByDatagramsLeavesCallsWorking) {
    call("before", 20000, [] {});
    // One that is being answered when the flood begins; and a new one in the middle of it.
    const auto f = frames::flow(kCaller, 21000, kCallee, 5060);
    ASSERT_TRUE(world.from_inside(frames::udp(f, invite("ringing", kCaller, 31000))));
    ASSERT_TRUE(
        world.from_outside(frames::udp(f.back(), sip("SIP/2.0 180 Ringing", "ringing", {}))));
    unsigned n = 0;
    while (forged < 10 * (kHelped + unproven_slots())) {
        flood(10);
        if (n++ % 8 == 0) call("during" + std::to_string(n), 22000 + n, [this] { flood(5); });
        if (HasFatalFailure()) return;
    }
    EXPECT_LE(slots(Standing::unproven), unproven_slots());
    ASSERT_TRUE(world.from_outside(frames::udp(f.back(), accepted("ringing", kCallee, 32000))));
    EXPECT_TRUE(rtp(kCallee, 9, kCaller, 31000, false));
    EXPECT_TRUE(rtp(kCaller, 9, kCallee, 32000, true));
    session(40000);
    EXPECT_GT(count("sip", "displaced_destination"), 0u);
    EXPECT_EQ(count("sip", "attach_failed"), 0u);
}

TEST_P(Flooded, WhoIsNeverAnsweredOnItsOwnPortsStillWorks) {
    flood(10 * unproven_slots());
    // TFTP: the answer comes from another port.
    const auto rrq = frames::flow(kCaller, 30000, kCallee, 69);
    ASSERT_TRUE(world.from_inside(frames::udp(rrq, std::string("\0\1file\0octet\0", 13))));
    flood(8);
    EXPECT_TRUE(world.from_outside(
        frames::udp(frames::flow(kCallee, 31000, kCaller, 30000), std::string("\0\3\0\1x", 5))));
    // SIP: answered to the port that Via names.
    const auto out = frames::flow(kCaller, 33000, kCallee, 5060);
    ASSERT_TRUE(
        world.from_inside(frames::udp(out, sip("INVITE sip:b@b SIP/2.0", "via", sdp(kCaller, 34000),
                                               "1 INVITE", kCaller, 5070))));
    flood(8);
    ASSERT_TRUE(world.from_outside(
        frames::udp(frames::flow(kCallee, 5060, kCaller, 5070), accepted("via", kCallee, 35000))));
    flood(8);
    EXPECT_TRUE(rtp(kCallee, 9, kCaller, 34000, false));
    EXPECT_TRUE(rtp(kCaller, 9, kCallee, 35000, true));
}

TEST_P(Flooded, AClaimedChildProvesItsMaster) {
    const auto rrq = frames::flow(kCaller, 30000, kCallee, 69);
    ASSERT_TRUE(world.from_inside(frames::udp(rrq, std::string("\0\1file\0octet\0", 13))));
    EXPECT_EQ(slots(Standing::unproven), 1u);
    ASSERT_TRUE(world.from_outside(
        frames::udp(frames::flow(kCallee, 31000, kCaller, 30000), std::string("\0\3\0\1x", 5))));
    world.pass(200);
    EXPECT_EQ(slots(Standing::unproven), 0u);
    EXPECT_EQ(slots(Standing::proven), 1u);
}

TEST_P(Flooded, AnUnansweredDatagramHoldsASlotForSecondsOnly) {
    flood(5);
    EXPECT_EQ(slots(Standing::unproven), 5u);
    world.pass(33'000);
    EXPECT_EQ(slots(Standing::unproven), 0u);
    EXPECT_EQ(world.fw().expectations().live(), 0u);
    EXPECT_FALSE(world.connection(5060)) << "not for as long as a SIP session may be silent";
}

TEST_P(Flooded, ADisplacedCallHasItsHelperAgainWhenItIsAnswered) {
    const auto f = frames::flow(kCaller, 20000, kCallee, 5060);
    ASSERT_TRUE(world.from_inside(frames::udp(f, invite("late", kCaller, 21000))));
    flood(2 * unproven_slots() + 8, kCallee);  // to the same destination
    ASSERT_TRUE(world.from_outside(frames::udp(f.back(), accepted("late", kCallee, 22000))));
    EXPECT_TRUE(rtp(kCaller, 9, kCallee, 22000, true));
    EXPECT_EQ(slots(Standing::proven), 1u);
}

TEST_P(Flooded, ByOneProvenHostDisplacesItsOwn) {
    session(40000);
    for (unsigned i = 0; i < 10 * kHelped; ++i) {
        Talk t(world, frames::flow("192.0.2.66", 1024 + i, kCallee, 21));
        ASSERT_TRUE(t.open());
        world.now = world.now + 1;
    }
    EXPECT_LE(slots(Standing::proven), kHelped + 3);
    session(41000);
    EXPECT_GT(count("ftp", "displaced_source"), 0u);
}

TEST_P(Flooded, AnAnnouncementThatCannotBeFiledIsDroppedOnceOnly) {
    // Proven sessions fill the table of 64.
    for (unsigned i = 0; i < 36; ++i) {  // two expectations each
        const std::string host = "192.0.2." + std::to_string(10 + i);
        const auto f = frames::flow(host, 20000, kCallee, 5060);
        ASSERT_TRUE(world.from_inside(frames::udp(f, invite("n", host.c_str(), 21000))));
        ASSERT_TRUE(world.from_outside(frames::udp(f.back(), sip("SIP/2.0 180 Ringing", "n", {}))));
    }
    ASSERT_GE(world.fw().expectations().live(), 64u);
    Talk ftp(world, frames::flow(kCaller, 40000, kCallee, 21));
    ASSERT_TRUE(ftp.open());
    ASSERT_TRUE(ftp.server("220 ready\r\n"));
    ASSERT_TRUE(ftp.client("PASV\r\n"));
    const std::string passive = "227 Entering Passive Mode (198,51,100,2,200,0)\r\n";
    EXPECT_FALSE(ftp.server(passive));
    EXPECT_TRUE(ftp.server(passive));
    EXPECT_EQ(count("ftp", "announced_unexpected"), 1u);
    EXPECT_FALSE(world.from_inside(frames::tcp(frames::flow(kCaller, 40001, kCallee, 51200),
                                               {.flags = tcp_flag::syn, .seq = 1})));
    // The next one is dropped once again; a datagram never is.
    ASSERT_TRUE(ftp.client("PASV\r\n"));
    EXPECT_FALSE(ftp.server(passive));
    EXPECT_TRUE(ftp.server(passive));
    const auto f = frames::flow("192.0.2.200", 20000, kCallee, 5060);
    ASSERT_TRUE(world.from_inside(frames::udp(f, invite("m", "192.0.2.200", 21000))));
    EXPECT_TRUE(world.from_outside(frames::udp(f.back(), accepted("m", kCallee, 22000))));
    EXPECT_GT(count("sip", "announced_unexpected"), 0u);
}

TEST_P(Flooded, AStreamIsReadFromItsFirstByteWhicheverSegmentComesFirst) {
    Talk ftp(world, frames::flow(kCaller, 40000, kCallee, 21));
    ASSERT_TRUE(ftp.packet(Direction::original, tcp_flag::syn));
    ASSERT_TRUE(ftp.packet(Direction::reply, tcp_flag::syn | tcp_flag::ack));
    EXPECT_EQ(slots(Standing::unproven) + slots(Standing::proven), 0u);
    // The third segment is lost, and the first with payload comes after the second.
    const auto f = frames::flow(kCaller, 40000, kCallee, 21);
    ASSERT_TRUE(world.from_inside(frames::tcp(f, {.flags = tcp_flag::ack | tcp_flag::psh,
                                                  .seq = 1009,
                                                  .ack = 5001,
                                                  .payload = "PASV\r\n"})));
    EXPECT_EQ(slots(Standing::proven), 1u);
    ASSERT_TRUE(world.from_inside(frames::tcp(f, {.flags = tcp_flag::ack | tcp_flag::psh,
                                                  .seq = 1001,
                                                  .ack = 5001,
                                                  .payload = "USER a\r\n"})));
    ASSERT_TRUE(world.from_outside(
        frames::tcp(f.back(), {.flags = tcp_flag::ack | tcp_flag::psh,
                               .seq = 5001,
                               .ack = 1015,
                               .payload = "220 ready\r\n331 more\r\n"
                                          "227 Entering Passive Mode (198,51,100,2,200,0)\r\n"})));
    EXPECT_TRUE(world.from_inside(frames::tcp(frames::flow(kCaller, 40001, kCallee, 51200),
                                              {.flags = tcp_flag::syn, .seq = 1})));
}

TEST_P(Flooded, AGuessedAcknowledgementProvesNothing) {
    const auto f = frames::flow(kCaller, 40000, kCallee, 21);
    ASSERT_TRUE(world.from_inside(frames::tcp(f, {.flags = tcp_flag::syn, .seq = 1000})));
    ASSERT_TRUE(world.from_outside(
        frames::tcp(f.back(), {.flags = tcp_flag::syn | tcp_flag::ack, .seq = 5000, .ack = 1001})));
    // In the window of acknowledgements that the tracker takes.
    ASSERT_TRUE(
        world.from_inside(frames::tcp(f, {.flags = tcp_flag::ack, .seq = 1001, .ack = 4000})));
    EXPECT_EQ(slots(Standing::proven), 0u);
    ASSERT_TRUE(world.from_inside(frames::tcp(f, {.flags = tcp_flag::ack | tcp_flag::psh,
                                                  .seq = 1001,
                                                  .ack = 5001,
                                                  .payload = "USER a\r\n"})));
    EXPECT_EQ(slots(Standing::proven), 1u);
}

}  // namespace
}  // namespace postern
