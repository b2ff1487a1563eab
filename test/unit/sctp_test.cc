// SPDX-License-Identifier: BSD-3-Clause
// The SCTP tracker as a table: conversations of packets, and what each one must do.
#include "conntrack/sctp.h"

#include <algorithm>
#include <ostream>
#include <vector>

#include <gtest/gtest.h>

namespace postern {

void PrintTo(SctpState s, std::ostream* out) {
    *out << to_string(s);
}
void PrintTo(SctpAction a, std::ostream* out) {
    constexpr const char* kNames[] = {"accept", "pass", "invalid"};
    *out << kNames[static_cast<unsigned>(a)];
}

namespace {

using enum SctpState;
constexpr auto kAccept = SctpAction::accept, kPass = SctpAction::pass,
               kInvalid = SctpAction::invalid;
constexpr std::uint8_t kData = 0, kInit = 1, kInitAck = 2, kSack = 3, kHeartbeat = 4,
                       kHeartbeatAck = 5, kAbort = 6, kShutdown = 7, kShutdownAck = 8, kError = 9,
                       kCookieEcho = 10, kCookieAck = 11, kShutdownComplete = 14, kUnknown = 0x80;

struct TestChunk {
    std::uint8_t kind;
    std::uint8_t flags = 0;
    std::uint32_t init_tag = 0;  ///< INIT and INIT ACK: the tag its sender wants
};

std::vector<std::uint8_t> packet(std::uint32_t tag, const std::vector<TestChunk>& chunks) {
    std::vector<std::uint8_t> p(12);
    const auto put32 = [&p](std::size_t at, std::uint32_t v) {
        for (unsigned i = 0; i < 4; ++i)
            p[at + i] = static_cast<std::uint8_t>(v >> (24 - 8 * i));
    };
    put32(4, tag);
    for (const TestChunk& c : chunks) {
        const std::size_t at = p.size();
        // An odd length, so that padding matters.
        const bool opens = c.kind == kInit || c.kind == kInitAck;
        const std::size_t length = opens ? 20 : 7;
        p.resize(at + (length + 3) / 4 * 4);
        p[at] = c.kind;
        p[at + 1] = c.flags;
        p[at + 3] = static_cast<std::uint8_t>(length);
        if (opens) put32(at + 4, c.init_tag);
    }
    return p;
}

struct Packet {
    char from;  ///< '>' who opened, '<' who answered
    std::uint32_t tag;
    std::vector<TestChunk> chunks;
    SctpState state = none;  ///< after it
    SctpAction action = kAccept;
};

struct Conversation {
    const char* name;
    std::vector<Packet> packets;
};

// Packets of the opener bear 0xb, those of the answerer 0xa.
const std::vector<Packet> kHandshake{
    {'>', 0, {{kInit, 0, 0xa}}, closed},
    {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait},
    {'>', 0xb, {{kCookieEcho}}, cookie_echoed},
    {'<', 0xa, {{kCookieAck}}, established},
};

std::vector<Packet> after_handshake(std::vector<Packet> more) {
    std::vector<Packet> all = kHandshake;
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

const std::vector<Conversation> kConversations{
    {"data both ways", after_handshake({{'>', 0xb, {{kData}}, established},
                                        {'<', 0xa, {{kSack}, {kData}}, established},
                                        {'>', 0xb, {{kSack}, {kUnknown}}, established}})},
    {"data bundled with the cookie",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait},
      {'>', 0xb, {{kCookieEcho}, {kData}}, cookie_echoed},
      {'<', 0xa, {{kCookieAck}, {kSack}, {kData}}, established}}},
    {"shutdown by the opener", after_handshake({{'>', 0xb, {{kShutdown}}, shutdown_sent},
                                                {'<', 0xa, {{kShutdownAck}}, shutdown_ack_sent},
                                                {'>', 0xb, {{kShutdownComplete}}, closed}})},
    {"shutdown by the answerer", after_handshake({{'<', 0xa, {{kShutdown}}, shutdown_recd},
                                                  {'>', 0xb, {{kShutdownAck}}, shutdown_ack_sent},
                                                  {'<', 0xa, {{kShutdownComplete}}, closed}})},
    {"shutdown complete with the reflected tag",
     after_handshake({{'>', 0xb, {{kShutdown}}, shutdown_sent},
                      {'<', 0xa, {{kShutdownAck}}, shutdown_ack_sent},
                      {'>', 0xa, {{kShutdownComplete}}, shutdown_ack_sent, kInvalid},
                      {'>', 0xa, {{kShutdownComplete, 1}}, closed}})},
    {"abort needs its tag", after_handshake({{'<', 0xb, {{kAbort}}, established, kInvalid},
                                             {'<', 0xa, {{kAbort, 1}}, established, kInvalid},
                                             {'<', 0xa, {{kAbort}}, closed}})},
    {"abort with the reflected tag", after_handshake({{'<', 0xb, {{kAbort, 1}}, closed}})},
    {"data needs the tag", after_handshake({{'>', 0xa, {{kData}}, established, kInvalid},
                                            {'>', 0, {{kData}}, established, kInvalid},
                                            {'<', 0xb, {{kSack}}, established, kInvalid},
                                            {'>', 0xb, {{kData}}, established}})},
    {"an INIT bears no tag", {{'>', 5, {{kInit, 0, 0xa}}, none, kInvalid}}},
    {"the cookie needs the tag",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait},
      {'>', 0xc, {{kCookieEcho}}, cookie_wait, kInvalid},
      {'>', 0xb, {{kCookieEcho}}, cookie_echoed}}},
    {"an INIT ACK to somebody else",
     {{'>', 0, {{kInit, 0, 0xa}}, closed}, {'<', 0xc, {{kInitAck, 0, 0xb}}, closed, kInvalid}}},
    {"an INIT that is repeated passes",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'>', 0, {{kInit, 0, 0xa}}, closed, kPass},
      {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait}}},
    {"a stale cookie",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait},
      {'>', 0xb, {{kCookieEcho}}, cookie_echoed},
      {'<', 0xa, {{kError}}, closed}}},
    {"an association begun anew while it ends",
     after_handshake({{'>', 0xb, {{kShutdown}}, shutdown_sent},
                      {'>', 0, {{kInit, 0, 0x1a}}, shutdown_sent, kPass},
                      {'<', 0x1a, {{kInitAck, 0, 0x1b}}, shutdown_sent, kPass},
                      {'>', 0x1b, {{kCookieEcho}}, cookie_echoed},
                      {'<', 0x1a, {{kCookieAck}}, established}})},
    {"an association begun anew by the one who lost it",
     after_handshake({{'>', 0, {{kInit, 0, 0x1a}}, established, kPass},
                      {'<', 0xa, {{kData}}, established},  // it was on its way
                      {'<', 0x1a, {{kInitAck, 0, 0x1b}}, established, kPass},
                      {'>', 0x1b, {{kCookieEcho}, {kData}}, established},
                      {'<', 0x1a, {{kCookieAck}, {kSack}}, established},
                      {'>', 0xb, {{kData}}, established, kInvalid},
                      {'>', 0x1b, {{kData}}, established},
                      {'<', 0x1a, {{kData}}, established}})},
    {"and by the other one",
     after_handshake({{'<', 0, {{kInit, 0, 0x1b}}, established, kPass},
                      {'>', 0x1b, {{kInitAck, 0, 0x1a}}, established, kPass},
                      {'<', 0x1a, {{kCookieEcho}}, established},
                      {'>', 0x1b, {{kCookieAck}}, established},
                      {'<', 0x1a, {{kData}}, established}})},
    {"a forged INIT changes nothing, answered or not",
     after_handshake({{'<', 0, {{kInit, 0, 0x66}}, established, kPass},
                      {'>', 0xb, {{kData}}, established},
                      {'<', 0xa, {{kData}}, established},
                      {'>', 0x66, {{kInitAck, 0, 0x1a}}, established, kPass},
                      {'<', 0x77, {{kCookieEcho}}, established, kInvalid},
                      {'>', 0x66, {{kData}}, established, kInvalid},
                      {'>', 0xb, {{kHeartbeat}}, established},
                      {'<', 0xa, {{kHeartbeatAck}}, established}})},
    {"a forged INIT while it ends",
     after_handshake({{'>', 0xb, {{kShutdown}}, shutdown_sent},
                      {'>', 0, {{kInit, 0, 0x66}}, shutdown_sent, kPass},
                      {'<', 0xa, {{kShutdownAck}}, shutdown_ack_sent},
                      {'>', 0, {{kInit, 0, 0x66}}, shutdown_ack_sent, kPass},
                      {'>', 0xb, {{kShutdownComplete}}, closed}})},
    {"a forged INIT while it begins",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait},
      {'>', 0, {{kInit, 0, 0x66}}, cookie_wait},
      {'>', 0xb, {{kCookieEcho}}, cookie_echoed},
      {'>', 0, {{kInit, 0, 0x66}}, cookie_echoed},
      {'<', 0xa, {{kCookieAck}}, established}}},
    {"an INIT that is repeated because its answer was lost, and the first answer counts",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait},
      {'>', 0, {{kInit, 0, 0xa}}, cookie_wait},
      {'<', 0xa, {{kInitAck, 0, 0x1b}}, cookie_wait},
      {'>', 0xb, {{kCookieEcho}}, cookie_echoed},
      {'<', 0xa, {{kCookieAck}}, established},
      {'>', 0xb, {{kData}}, established}}},
    {"the same, and the second one counts",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait},
      {'>', 0, {{kInit, 0, 0xa}}, cookie_wait},
      {'<', 0xa, {{kInitAck, 0, 0x1b}}, cookie_wait},
      {'>', 0x1b, {{kCookieEcho}}, cookie_echoed},
      {'<', 0xa, {{kCookieAck}}, established},
      {'>', 0x1b, {{kData}}, established}}},
    {"who does not want to begin anew says so, and goes on",
     after_handshake({{'>', 0, {{kInit, 0, 0x1a}}, established, kPass},
                      {'<', 0x1a, {{kAbort}}, established, kPass},
                      {'<', 0xa, {{kData}}, established},
                      {'<', 0x1a, {{kAbort}}, established, kInvalid}})},
    {"an INIT ACK that nobody asked for",
     after_handshake({{'<', 0x1a, {{kInitAck, 0, 0x1b}}, established, kInvalid},
                      {'<', 0, {{kInitAck, 0, 0x1b}}, established, kInvalid},
                      {'>', 0x1b, {{kCookieEcho}}, established, kInvalid}})},
    {"a strange tag ends nothing",
     after_handshake({{'>', 0x66, {{kShutdownAck}}, established, kPass},
                      {'>', 0x66, {{kShutdownAck}, {kShutdown}}, established, kPass},
                      {'>', 0x66, {{kHeartbeat}, {kShutdown}}, established, kPass},
                      {'<', 0xa, {{kData}}, established},
                      {'<', 0xa, {{kShutdown}}, shutdown_recd},
                      {'>', 0x66, {{kShutdownAck}}, shutdown_recd, kPass},
                      {'>', 0xb, {{kShutdownAck}}, shutdown_ack_sent}})},
    {"both open at once",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'<', 0, {{kInit, 0, 0xb}}, closed, kPass},
      {'>', 0xb, {{kInitAck, 0, 0xa}}, closed},
      {'<', 0xa, {{kInitAck, 0, 0xb}}, cookie_wait},
      {'>', 0xb, {{kCookieEcho}}, cookie_echoed},
      {'<', 0xa, {{kCookieAck}}, established}}},
    {"both open at once, and one answers for another",
     {{'>', 0, {{kInit, 0, 0xa}}, closed},
      {'<', 0, {{kInit, 0, 0xb}}, closed, kPass},
      {'<', 0xa, {{kInitAck, 0, 0xc}}, closed, kInvalid}}},
    {"a path that begins with a heartbeat",
     {{'>', 0xb, {{kHeartbeat}}, heartbeat_sent},
      {'>', 0xb, {{kHeartbeat}}, heartbeat_sent},
      {'<', 0xa, {{kHeartbeatAck}}, established},
      {'<', 0xa, {{kData}}, established},
      {'>', 0xb, {{kSack}}, established}}},
    {"heartbeats from either side",
     {{'>', 0xb, {{kHeartbeat}}, heartbeat_sent},
      {'<', 0xa, {{kHeartbeat}}, heartbeat_sent},
      {'>', 0xb, {{kHeartbeatAck}}, heartbeat_sent},
      {'<', 0xa, {{kHeartbeatAck}}, established}}},
    {"no data on a path of which only heartbeats were sent",
     {{'>', 0xb, {{kHeartbeat}}, heartbeat_sent},
      {'<', 0xa, {{kShutdown}}, heartbeat_sent, kInvalid},
      {'<', 0xa, {{kData}}, heartbeat_sent, kInvalid}}},
    {"a path that moves: strange heartbeat, strange answer",
     after_handshake({{'>', 0x1b, {{kHeartbeat}}, established, kPass},
                      {'>', 0x1b, {{kHeartbeatAck}}, established, kInvalid},
                      {'<', 0x1a, {{kHeartbeatAck}}, established},
                      {'>', 0x1b, {{kHeartbeat}}, established},
                      {'<', 0x1a, {{kData}}, established}})},
    {"a strange answer to nothing",
     after_handshake({{'<', 0x1a, {{kHeartbeatAck}}, established, kInvalid}})},
    {"a strange heartbeat brings no data",
     after_handshake({{'>', 0x1b, {{kHeartbeat}, {kData}}, established, kInvalid}})},
    {"what travels alone", {{'>', 0, {{kInit, 0, 0xa}, {kData}}, none, kInvalid}}},
    {"what comes first",
     after_handshake({{'<', 0xa, {{kSack}, {kCookieAck}}, established, kInvalid},
                      {'<', 0xa, {{kData}, {kInitAck, 0, 0xb}}, established, kInvalid},
                      {'<', 0xa, {{kData}, {kShutdownComplete}}, established, kInvalid}})},
    {"what is invalid changes nothing",
     after_handshake({{'>', 0xb, {{kShutdown}, {kAbort, 1}}, established, kInvalid},
                      {'>', 0xb, {{kData}}, established}})},
    {"no chunk at all", after_handshake({{'>', 0xb, {}, established, kInvalid}})},
    {"data cannot be first", {{'>', 0xb, {{kData}}, none, kInvalid}}},
    {"nor an abort", {{'>', 0xb, {{kAbort}}, none, kInvalid}}},
    {"nor a cookie ack", {{'>', 0xb, {{kCookieAck}}, none, kInvalid}}},
    {"nor a shutdown complete", {{'>', 0xb, {{kShutdownComplete}}, none, kInvalid}}},
    {"an out of the blue shutdown ack is answered with its own tag",
     {{'>', 0xb, {{kShutdownAck}}, shutdown_ack_sent}, {'<', 0xb, {{kShutdownComplete}}, closed}}},
};

TEST(Sctp, Conversations) {
    for (const Conversation& c : kConversations) {
        SctpTrack track{};
        SctpState state = none;
        for (std::size_t i = 0; i < c.packets.size(); ++i) {
            const Packet& want = c.packets[i];
            SCOPED_TRACE(std::string(c.name) + ", packet " + std::to_string(i));
            const auto bytes = packet(want.tag, want.chunks);
            const auto dir = want.from == '>' ? Direction::original : Direction::reply;
            const SctpResult r =
                i == 0 ? sctp_start(track, bytes) : sctp_track(track, state, dir, bytes);
            ASSERT_EQ(r.action, want.action);
            if (i == 0) {
                ASSERT_EQ(sctp_may_start(bytes), want.action == kAccept);
            }
            if (r.action != kInvalid) state = r.state;
            ASSERT_EQ(state, want.state);
        }
    }
}

TEST(Sctp, ErrorsQuoteThePacketsOfTheAssociation) {
    SctpTrack t{};
    t.tag = {0xb, 0xa};
    const auto said = [&](std::uint32_t tag, SctpState state, std::size_t bytes = 100,
                          std::uint32_t its_tag = 0) {
        // As on the wire: what the tracker keeps are the bytes.
        auto p = packet(tag, {{its_tag != 0 ? kInit : kData, 0, its_tag}});
        p.resize(std::min(p.size(), bytes));
        return sctp_has_sent(t, state, Direction::original, p);
    };
    t.tag = {__builtin_bswap32(0xb), __builtin_bswap32(0xa)};
    EXPECT_TRUE(said(0xb, established));
    EXPECT_TRUE(said(0xb, established, 8));
    EXPECT_FALSE(said(0xa, established));
    EXPECT_FALSE(said(0x66, established, 8));
    EXPECT_FALSE(said(0, established, 8)) << "an INIT, perhaps";
    EXPECT_TRUE(said(0, established, 100, 0xa)) << "the one that asked for it";
    EXPECT_FALSE(said(0, established, 100, 0x66));
    EXPECT_TRUE(said(0, closed, 8)) << "it was never answered";
}

TEST(Sctp, ChunksMustHaveASoundLength) {
    auto bytes = packet(0xb, {{kHeartbeat}});
    for (std::uint8_t length = 0; length < 4; ++length) {
        bytes[15] = length;
        EXPECT_FALSE(sctp_may_start(bytes)) << unsigned{length};
    }
    bytes.resize(16);
    bytes[15] = 4;
    EXPECT_TRUE(sctp_may_start(bytes));
}

TEST(Sctp, CutShortAnywhere) {
    const auto init = packet(0, {{kInit, 0, 0xa}});
    for (std::size_t n = 0; n < init.size(); ++n) {
        const std::vector<std::uint8_t> part(init.begin(), init.begin() + static_cast<int>(n));
        EXPECT_FALSE(sctp_may_start(part)) << n;  // the tag must be there
    }
    EXPECT_TRUE(sctp_may_start(init));
}

}  // namespace
}  // namespace postern
