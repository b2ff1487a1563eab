// SPDX-License-Identifier: BSD-3-Clause
// Helpers read what the receiver takes: segments that it throws away, or answers by no more than an
// acknowledgement, neither say anything to a helper, nor blind it, nor end it. Each attack stands
// beside traffic like it that is honest and has to be read.
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10;
constexpr auto kClient = Direction::original, kServer = Direction::reply;

std::string policy(const std::string& liberal) {
    return "helpers: [{name: ftp}]\n"
           "policy:\n"
           "  rules:\n"
           "    - {from: inside, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp" +
           liberal +
           "}\n"
           "    - {ct: [related], action: accept}\n";
}

/// An FTP session between 192.0.2.1 inside and 192.0.2.2 outside, segment by segment.
class Ftp {
  public:
    static constexpr std::uint32_t kIsn[2] = {1000, 5000};

    explicit Ftp(const std::string& liberal = {}) : world(policy(liberal), 1) {}

    World world;
    std::uint32_t next[2] = {kIsn[0], kIsn[1]};  ///< by Direction
    std::uint16_t window[2] = {65535, 65535};

    /// A segment with any numbers; true when it passed.
    bool raw(Direction d, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack,
             std::string_view text = {}) {
        frames::TcpFields t;
        t.flags = flags;
        t.seq = seq;
        t.ack = (flags & kAck) != 0 ? ack : 0;
        t.win = window[index(d)];
        t.payload = text;
        const frames::Flow f = frames::flow("192.0.2.1", 40000, "192.0.2.2", 21);
        return world.send(frames::tcp(d == kClient ? f : f.back(), t),
                          d == kClient ? World::kInside : World::kOutside);
    }
    /// The next one of its side.
    bool say(Direction d, std::string_view text, std::uint8_t flags = kPsh | kAck) {
        if (!raw(d, flags, next[index(d)], next[index(!d)], text)) return false;
        next[index(d)] +=
            static_cast<std::uint32_t>(text.size()) + ((flags & (kSyn | kFin)) != 0 ? 1u : 0u);
        return true;
    }
    void open() {
        ASSERT_TRUE(say(kClient, {}, kSyn));
        ASSERT_TRUE(say(kServer, {}, kSyn | kAck));
        ASSERT_TRUE(say(kClient, {}, kAck));
    }
    void log_in() {
        ASSERT_TRUE(say(kServer, "220 hi\r\n"));
        ASSERT_TRUE(say(kClient, {}, kAck));
        ASSERT_TRUE(say(kClient, "USER a\r\n"));
        ASSERT_TRUE(say(kServer, {}, kAck));
        ASSERT_TRUE(say(kServer, "331 x\r\n"));
        ASSERT_TRUE(say(kClient, {}, kAck));
    }
    void begin() {
        open();
        log_in();
    }
    /// The client says PORT and the server agrees; whether a data connection then comes in.
    bool port_opens(unsigned port = 51201) {
        const std::string text = "PORT 192,0,2,1," + std::to_string(port / 256) + "," +
                                 std::to_string(port % 256) + "\r\n";
        EXPECT_TRUE(say(kClient, text));
        EXPECT_TRUE(say(kServer, {}, kAck));
        return is_open(port);
    }
    /// Whether the server may connect to this port of the client.
    bool is_open(unsigned port = 51201) {
        frames::TcpFields t;
        t.flags = kSyn;
        t.seq = 777;
        return world.from_outside(frames::tcp(frames::flow("192.0.2.2", 20, "192.0.2.1", port), t));
    }
    std::uint64_t count(HelperCounter c) {
        return world.fw().worker(0).helpers().counters(1)[c].get();
    }
};

TEST(Heeded, AnHonestSessionIsRead) {
    Ftp ftp;
    ftp.begin();
    EXPECT_FALSE(ftp.is_open());
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, PayloadOfASynInsideAConnectionIsNotRead) {
    Ftp ftp;
    ftp.begin();
    // Linux lets a SYN pass, whatever its number; its receiver answers with a challenge ACK (RFC
    // 5961 section 4).
    EXPECT_TRUE(ftp.raw(kClient, kSyn, ftp.next[0] - 1, 0, "PORT 192,0,2,1,32,251\r\n"));
    EXPECT_TRUE(ftp.say(kClient, "PASS secret-secret-xx\r\n"));
    EXPECT_FALSE(ftp.is_open(8443));
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, ASynWithAnyNumberBlindsNobody) {
    for (const std::uint8_t flags : {kSyn, std::uint8_t{kSyn | kAck}})
        for (const Direction d : {kClient, kServer})
            for (const std::uint32_t ahead : {0u, 1u, 50u, 3000u, 100'000'000u, 0x80000000u}) {
                for (const std::string_view text : {"", "x", "226 z\r\n"}) {
                    Ftp ftp;
                    ftp.begin();
                    (void)ftp.raw(d, flags, ftp.next[index(d)] + ahead, ftp.next[index(!d)], text);
                    EXPECT_TRUE(ftp.port_opens())
                        << unsigned{flags} << ' ' << index(d) << ' ' << ahead << ' ' << text;
                }
            }
}

TEST(Heeded, AResetThatIsNotExactEndsNothing) {
    for (const Direction d : {kClient, kServer})
        for (const std::uint32_t ahead : {1u, 50u, 3000u, 65000u}) {
            Ftp ftp;
            ftp.begin();
            EXPECT_TRUE(
                ftp.raw(d, kRst | kAck, ftp.next[index(d)] + ahead, ftp.next[index(!d)], "x"));
            EXPECT_TRUE(ftp.port_opens()) << index(d) << ' ' << ahead;
        }
}

TEST(Heeded, NorOneWhileASideHasSaidGoodbye) {
    Ftp ftp;
    ftp.begin();
    ASSERT_TRUE(ftp.say(kServer, {}, kFin | kAck));
    (void)ftp.raw(kServer, kRst | kAck, ftp.next[1] + 3000, ftp.next[0]);
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, AnExactResetEndsBoth) {
    Ftp ftp;
    ftp.begin();
    EXPECT_TRUE(ftp.say(kServer, {}, kRst | kAck));
    EXPECT_FALSE(ftp.port_opens());
}

TEST(Heeded, WhatLiesBeyondTheWindowIsNotRead) {
    Ftp ftp;
    ftp.window[1] = 100;  // the server's
    ftp.begin();
    const std::string line = "NOOP " + std::string(93, 'x') + "\r\n",
                      port = "PORT 192,0,2,1,200,1\r\n";
    ASSERT_EQ(line.size(), 100u);
    // The window ends before the PORT; and a second one begins beyond it.
    EXPECT_TRUE(ftp.raw(kClient, kAck, ftp.next[0], ftp.next[1], line + port));
    EXPECT_FALSE(ftp.is_open());
    EXPECT_TRUE(ftp.raw(kClient, kAck, ftp.next[0] + 150, ftp.next[1], port));
    // The server has taken the first line only.
    ftp.next[0] += 100;
    ftp.window[1] = 65535;
    EXPECT_TRUE(ftp.say(kServer, {}, kAck));
    EXPECT_TRUE(ftp.say(kClient, line));
    EXPECT_FALSE(ftp.is_open());
    EXPECT_TRUE(ftp.port_opens());
    EXPECT_EQ(ftp.count(HelperCounter::blind_gap), 0u);
}

TEST(Heeded, AForgedSegmentBeyondTheWindowHidesNoHonestOnes) {
    for (const std::uint32_t ahead : {65536u, 100'000u, 131'000u}) {
        Ftp ftp;
        ftp.begin();
        // Conntrack lets it pass and takes its end for the sender's, as Linux does.
        (void)ftp.raw(kClient, kAck, ftp.next[0] + ahead, ftp.next[1], "x");
        EXPECT_TRUE(ftp.port_opens()) << ahead;
    }
}

TEST(Heeded, AFinBeyondTheWindowEndsNothing) {
    Ftp ftp;
    ftp.window[1] = 100;
    ftp.begin();
    const std::string line = "NOOP " + std::string(93, 'x') + "\r\n";
    (void)ftp.raw(kClient, kFin | kAck, ftp.next[0], ftp.next[1], line + "x");
    ftp.next[0] += 100;
    EXPECT_TRUE(ftp.say(kServer, {}, kAck));
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, PayloadOfTheFirstSynIsNotRead) {
    Ftp ftp;
    ASSERT_TRUE(ftp.raw(kClient, kSyn, Ftp::kIsn[0], 0, "GET / HTTP/1.1\r\n"));
    ftp.next[0] += 1;
    ASSERT_TRUE(ftp.say(kServer, {}, kSyn | kAck));  // and did not take it
    ASSERT_TRUE(ftp.say(kClient, {}, kAck));
    ftp.log_in();
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, ASynWithANewNumberBeginsTheStreamAnew) {
    for (const std::uint32_t isn : {900'000u, 0x90000000u}) {
        Ftp ftp;
        ASSERT_TRUE(ftp.say(kClient, {}, kSyn));
        ftp.next[0] = isn;
        if (!ftp.say(kClient, {}, kSyn)) continue;
        if (!ftp.say(kServer, {}, kSyn | kAck)) continue;
        if (!ftp.say(kClient, {}, kAck)) continue;  // too old a number: Linux drops this
        ftp.log_in();
        EXPECT_TRUE(ftp.port_opens()) << isn;
    }
}

TEST(Heeded, ARepeatedHandshakeIsReadAsOne) {
    Ftp ftp;
    ASSERT_TRUE(ftp.say(kClient, {}, kSyn));
    ASSERT_TRUE(ftp.raw(kClient, kSyn, Ftp::kIsn[0], 0));
    ASSERT_TRUE(ftp.say(kServer, {}, kSyn | kAck));
    ASSERT_TRUE(ftp.raw(kClient, kSyn, Ftp::kIsn[0], 0));
    ASSERT_TRUE(ftp.raw(kServer, kSyn | kAck, Ftp::kIsn[1], ftp.next[0]));
    ASSERT_TRUE(ftp.say(kClient, {}, kAck));
    ftp.log_in();
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, EndsThatOpenAnewInsideAConnectionAreReadFromThere) {
    Ftp ftp;
    ftp.begin();
    EXPECT_TRUE(ftp.port_opens(50001));
    // The client has lost the connection, and so has the server: it answers the SYN.
    ftp.next[0] = 77'000'000;
    ftp.next[1] = 88'000'000;
    ASSERT_TRUE(ftp.say(kClient, {}, kSyn));
    ASSERT_TRUE(ftp.say(kServer, {}, kSyn | kAck));
    ASSERT_TRUE(ftp.say(kClient, {}, kAck));
    ftp.log_in();
    EXPECT_TRUE(ftp.port_opens(50003));
}

TEST(Heeded, OldSegmentsAreNotReadTwice) {
    Ftp ftp;
    ftp.begin();
    EXPECT_TRUE(ftp.port_opens(50001));
    const std::string again = "PORT 192,0,2,1,200,1\r\n";
    EXPECT_TRUE(ftp.raw(kClient, kAck, ftp.next[0] - 22, ftp.next[1], again));
    EXPECT_FALSE(ftp.is_open());
    EXPECT_TRUE(ftp.port_opens());
}

// ICMP errors.

/// "Fragmentation needed" (RFC 1191) to the client, about a segment of its own; true when it
/// passed.
bool too_big(Ftp& ftp, std::uint32_t seq, std::size_t head = 2000) {
    const frames::Flow f = frames::flow("192.0.2.1", 40000, "192.0.2.2", 21);
    const frames::Frame segment = frames::tcp(f, {.flags = kAck, .seq = seq, .ack = ftp.next[1]});
    const IpAddr router = *IpAddr::parse("192.0.2.99");
    return ftp.world.from_outside(frames::unreachable(router, f.src, segment, head));
}

TEST(Heeded, AnErrorQuotesANumberThatIsInFlight) {
    Ftp ftp;
    ASSERT_TRUE(ftp.say(kClient, {}, kSyn));
    EXPECT_TRUE(too_big(ftp, Ftp::kIsn[0])) << "the SYN";
    ASSERT_TRUE(ftp.say(kServer, {}, kSyn | kAck));
    ASSERT_TRUE(ftp.say(kClient, {}, kAck));
    ftp.log_in();
    const std::uint32_t acknowledged = ftp.next[0];
    ASSERT_TRUE(ftp.say(kClient, "NOOP\r\n"));
    ASSERT_TRUE(ftp.say(kClient, "NOOP\r\n"));
    for (const std::uint32_t seq : {acknowledged, acknowledged + 6, ftp.next[0], acknowledged - 1})
        EXPECT_TRUE(too_big(ftp, seq)) << seq - acknowledged;
    EXPECT_TRUE(too_big(ftp, acknowledged, 28)) << "eight bytes of it are enough";
    for (const std::uint32_t seq :
         {acknowledged - 2, ftp.next[0] + 1, 0u, acknowledged + 0x80000000u})
        EXPECT_FALSE(too_big(ftp, seq)) << seq - acknowledged;
    EXPECT_FALSE(too_big(ftp, acknowledged, 24)) << "no number at all";
    ASSERT_TRUE(ftp.say(kServer, {}, kAck));
    EXPECT_FALSE(too_big(ftp, acknowledged)) << "it has arrived";
}

TEST(Heeded, LiberalConnectionsTakeErrorsAboutAnyNumber) {
    Ftp ftp(", liberal: true");
    ftp.begin();
    EXPECT_TRUE(too_big(ftp, 77));
}

// Checksums.

TEST(Heeded, WrongAndUnfinishedChecksumsAreNotRead) {
    for (const bool partial : {false, true}) {
        Ftp ftp;
        ftp.begin();
        const std::string text = "PORT 192,0,2,1,32,251\r\n";
        frames::TcpFields t;
        t.flags = kPsh | kAck;
        t.seq = ftp.next[0];
        t.ack = ftp.next[1];
        t.payload = text;
        const frames::Flow f = frames::flow("192.0.2.1", 40000, "192.0.2.2", 21);
        frames::Frame frame = frames::tcp(f, t);
        constexpr unsigned kL4 = 34, kSum = kL4 + 16;
        const frames::Frame zeros(frame.size() - kL4, 0);
        const auto pseudo = static_cast<std::uint16_t>(
            ~frames::l4_sum(f.src, f.dst, proto::tcp, zeros.data(), zeros.size()));
        frame[kSum] = static_cast<std::uint8_t>(partial ? pseudo >> 8 : frame[kSum] ^ 1);
        frame[kSum + 1] = static_cast<std::uint8_t>(partial ? pseudo : frame[kSum + 1]);
        EXPECT_TRUE(ftp.world.from_inside(frame));  // forwarded as it is
        EXPECT_FALSE(ftp.is_open(8443));
        EXPECT_EQ(ftp.count(HelperCounter::partial_checksum), partial ? 1u : 0u);
        EXPECT_EQ(ftp.count(HelperCounter::bad_checksum), partial ? 0u : 1u);
        // Its receiver has dropped it, so the sender says it once more, or something else.
        EXPECT_TRUE(ftp.port_opens());
    }
}

// With a rule that does not enforce windows.

TEST(Heeded, LiberalHonestSession) {
    Ftp ftp(", liberal: true");
    ftp.begin();
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, LiberalTooFarAheadIsNotRead) {
    Ftp ftp(", liberal: true");
    ftp.begin();
    for (const std::uint32_t ahead : {70'000u, 200'000u, 100'000'000u, 0x80000000u}) {
        EXPECT_TRUE(ftp.raw(kClient, kAck, ftp.next[0] + ahead, ftp.next[1], "x"));
        EXPECT_TRUE(ftp.raw(kClient, kSyn, ftp.next[0] + ahead, 0, "x"));
        // Nor does an acknowledgement of what was never sent make room.
        EXPECT_TRUE(ftp.raw(kServer, kAck, ftp.next[1], ftp.next[0] + 0x20000000u + ahead));
    }
    EXPECT_EQ(ftp.count(HelperCounter::blind_gap), 0u);
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, LiberalAcknowledgingWhatNobodySentSaysNothing) {
    Ftp ftp(", liberal: true");
    ftp.begin();
    EXPECT_TRUE(
        ftp.raw(kClient, kAck, ftp.next[0], ftp.next[1] + 0x10000000u, "PORT 192,0,2,1,200,1\r\n"));
    EXPECT_FALSE(ftp.is_open());
    EXPECT_TRUE(ftp.port_opens());
}

TEST(Heeded, LiberalConnectionsAreReadWhereConntrackHasLostTrack) {
    Ftp ftp(", liberal: true");
    // By the windows that conntrack knows, nothing fits: their scale was not seen.
    ftp.window[0] = ftp.window[1] = 10;
    ftp.begin();
    const std::string line = "NOOP " + std::string(93, 'x') + "\r\n";
    for (int i = 0; i < 5000; ++i) {
        ASSERT_TRUE(ftp.say(kClient, line));
        if (i % 4 == 0) {
            ASSERT_TRUE(ftp.say(kServer, {}, kAck));
        }
    }
    EXPECT_EQ(ftp.count(HelperCounter::blind_gap), 0u);
    EXPECT_TRUE(ftp.port_opens());
}

}  // namespace
}  // namespace postern
