// SPDX-License-Identifier: BSD-3-Clause
// The DCCP tracker as a table: conversations of packets, and what each one must do.
#include "conntrack/dccp.h"

#include <ostream>
#include <vector>

#include <gtest/gtest.h>

namespace postern {

void PrintTo(DccpState s, std::ostream* out) {
    *out << to_string(s);
}
void PrintTo(DccpAction a, std::ostream* out) {
    constexpr const char* kNames[] = {"accept", "pass", "invalid", "end"};
    *out << kNames[static_cast<unsigned>(a)];
}

namespace {

using enum DccpState;
constexpr auto kAccept = DccpAction::accept, kPass = DccpAction::pass,
               kInvalid = DccpAction::invalid, kEnd = DccpAction::end;
constexpr std::uint8_t kRequest = 0, kResponse = 1, kData = 2, kAck = 3, kDataAck = 4,
                       kCloseReq = 5, kClose = 6, kReset = 7, kSync = 8, kSyncAck = 9;

struct Packet {
    char from;  ///< '>' who opened, '<' who answered
    std::uint8_t type;
    DccpState state;  ///< after it
    DccpAction action = kAccept;
    std::uint64_t seq = 1;
    std::uint64_t ack = 0;
    bool assured = false;
};

struct Conversation {
    const char* name;
    std::vector<Packet> packets;
};

constexpr std::uint64_t kServerSeq = 0x123456789abc;

const std::vector<Packet> kHandshake{
    {'>', kRequest, request},
    {'<', kResponse, respond, kAccept, kServerSeq},
    {'>', kAck, partopen, kAccept, 2, kServerSeq, true},
    {'<', kData, open},
};
std::vector<Packet> after_handshake(std::vector<Packet> more) {
    std::vector<Packet> all = kHandshake;
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

const std::vector<Conversation> kConversations{
    {"data, then the client closes", after_handshake({{'>', kData, open},
                                                      {'>', kDataAck, open},
                                                      {'<', kAck, open},
                                                      {'>', kClose, closing},
                                                      {'>', kClose, closing},
                                                      {'<', kAck, closing},
                                                      {'<', kReset, timewait},
                                                      {'<', kReset, timewait, kPass},
                                                      {'>', kData, timewait, kInvalid}})},
    {"the server asks for the close", after_handshake({{'<', kCloseReq, closereq},
                                                       {'<', kCloseReq, closereq},
                                                       {'<', kData, closereq, kInvalid},
                                                       {'<', kClose, closereq, kInvalid},
                                                       {'>', kData, closereq},
                                                       {'>', kClose, closing},
                                                       {'<', kReset, timewait}})},
    {"the server closes", after_handshake({{'<', kClose, closing}, {'>', kReset, timewait}})},
    {"only servers ask for a close",
     after_handshake({{'>', kCloseReq, open, kInvalid}, {'>', kData, open}})},
    {"repetitions of the handshake",
     {{'>', kRequest, request},
      {'>', kRequest, request},
      {'<', kResponse, respond, kAccept, kServerSeq},
      {'<', kResponse, respond, kAccept, kServerSeq + 1},
      {'>', kRequest, respond},
      {'>', kAck, partopen, kAccept, 2, kServerSeq, true}}},
    {"an acknowledgement of something else does not assure",
     {{'>', kRequest, request},
      {'<', kResponse, respond, kAccept, kServerSeq},
      {'>', kAck, partopen, kAccept, 2, kServerSeq - 1, false}}},
    {"data of a client must acknowledge until the server speaks",
     {{'>', kRequest, request},
      {'<', kResponse, respond, kAccept, kServerSeq},
      {'>', kData, respond, kInvalid},
      {'>', kDataAck, partopen},
      {'>', kData, partopen, kInvalid}}},
    {"nothing before the response",
     {{'>', kRequest, request},
      {'>', kAck, request, kInvalid},
      {'<', kData, request, kInvalid},
      {'<', kAck, request, kInvalid}}},
    {"refused", {{'>', kRequest, request}, {'<', kReset, request, kEnd}}},
    {"given up by the client", {{'>', kRequest, request}, {'>', kReset, request, kEnd}}},
    {"sync says nothing",
     after_handshake({{'>', kSync, open, kPass}, {'<', kSyncAck, open, kPass}})},
    {"opened again from the same side",
     after_handshake({{'>', kReset, timewait},
                      {'>', kRequest, request},
                      {'<', kResponse, respond, kAccept, 77},
                      {'>', kAck, partopen, kAccept, 2, 77, true}})},
    {"opened again from the other side: the roles change",
     after_handshake({{'>', kReset, timewait},
                      {'<', kRequest, request},
                      {'<', kAck, request, kInvalid},
                      {'>', kResponse, respond, kAccept, 88},
                      {'<', kAck, partopen, kAccept, 2, 88, true},
                      {'>', kData, open},
                      {'<', kCloseReq, open, kInvalid},
                      {'>', kCloseReq, closereq}})},
    {"a client that has forgotten the connection is heard when the server answers",
     after_handshake({{'>', kRequest, open, kPass},
                      {'<', kResponse, respond, kAccept, 99},
                      {'>', kAck, partopen, kAccept, 2, 99, true}})},
    {"but not when the connection goes on",
     after_handshake(
         {{'>', kRequest, open, kPass}, {'<', kData, open}, {'<', kResponse, open, kPass}})},
    {"so is a server that has",
     after_handshake({{'<', kRequest, open, kPass}, {'>', kResponse, respond, kAccept, 99}})},
    {"only a request begins", {{'>', kResponse, none, kInvalid}}},
    {"not an ack", {{'>', kAck, none, kInvalid}}},
    {"not a reset", {{'>', kReset, none, kInvalid}}},
};

TEST(Dccp, Conversations) {
    for (const Conversation& c : kConversations) {
        DccpTrack track{};
        DccpState state = none;
        bool seen_reply = false;
        for (std::size_t i = 0; i < c.packets.size(); ++i) {
            const Packet& want = c.packets[i];
            SCOPED_TRACE(std::string(c.name) + ", packet " + std::to_string(i));
            const DccpHeader header{want.type, want.seq, want.ack};
            const auto dir = want.from == '>' ? Direction::original : Direction::reply;
            const DccpResult r = i == 0 ? dccp_start(track, header)
                                        : dccp_track(track, state, dir, seen_reply, header);
            ASSERT_EQ(r.action, want.action);
            ASSERT_EQ(r.assured, want.assured);
            if (r.action != kInvalid) state = r.state;
            if (r.action != kInvalid && dir == Direction::reply) seen_reply = true;
            ASSERT_EQ(state, want.state);
        }
    }
}

std::vector<std::uint8_t> bytes_of(std::uint8_t type, bool extended, std::size_t payload = 4) {
    const bool acknowledges = type != kRequest && type != kData;
    const std::size_t header = (extended ? 16u : 12u) + (acknowledges ? (extended ? 8u : 4u) : 0u);
    std::vector<std::uint8_t> p(header + payload);
    p[4] = static_cast<std::uint8_t>(header / 4);
    p[8] = static_cast<std::uint8_t>(type << 1 | (extended ? 1 : 0));
    for (std::size_t i = 9; i < header; ++i)
        p[i] = static_cast<std::uint8_t>(i);
    return p;
}

TEST(Dccp, ReadsNumbersOfEitherSize) {
    const auto wide = bytes_of(kAck, true);
    const auto h = read_dccp(wide, wide.size());
    ASSERT_TRUE(h);
    EXPECT_EQ(h->type, kAck);
    EXPECT_EQ(h->seq, 0x0a0b0c0d0e0fu);
    EXPECT_EQ(h->ack, 0x121314151617u);

    const auto narrow = bytes_of(kDataAck, false);
    const auto n = read_dccp(narrow, narrow.size());
    ASSERT_TRUE(n);
    EXPECT_EQ(n->seq, 0x090a0bu);
    EXPECT_EQ(n->ack, 0x0d0e0fu);

    const auto data = bytes_of(kData, false);
    ASSERT_TRUE(read_dccp(data, data.size()));
    EXPECT_FALSE(read_dccp(data, data.size())->ack);
}

TEST(Dccp, RefusesWhatCannotBe) {
    const auto good = bytes_of(kAck, true);
    for (std::size_t n = 0; n < 24; ++n)
        EXPECT_FALSE(read_dccp(Bytes(good).first(n), good.size())) << n;  // cut short
    auto bad = good;
    using Offsets = std::vector<std::uint8_t>;
    for (const std::uint8_t offset : Offsets{0, 3, 5, 8, 255}) {
        bad[4] = offset;
        EXPECT_FALSE(read_dccp(bad, bad.size())) << unsigned{offset};
    }
    bad = good;
    bad[5] = 2;  // one word behind the header: all of it
    EXPECT_TRUE(read_dccp(bad, bad.size()));
    bad[5] = 3;
    EXPECT_FALSE(read_dccp(bad, bad.size()));
    for (std::uint8_t type = 10; type < 16; ++type) {  // reserved
        bad = good;
        bad[8] = static_cast<std::uint8_t>(type << 1 | 1);
        EXPECT_FALSE(read_dccp(bad, bad.size())) << unsigned{type};
    }
}

}  // namespace
}  // namespace postern
