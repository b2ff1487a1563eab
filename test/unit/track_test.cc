// SPDX-License-Identifier: BSD-3-Clause
// What packets do to a connection, by protocol: state, timeout, ct state, assured.
#include "conntrack/track.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/frames.h"

namespace postern {
namespace {

using namespace frames;

const HashSecret kSecret = HashSecret::from_seed(7);
const IpAddr kClient4 = *IpAddr::parse("10.0.0.1"), kServer4 = *IpAddr::parse("10.0.0.2");
const IpAddr kClient6 = *IpAddr::parse("2001:db8::1"), kServer6 = *IpAddr::parse("2001:db8::2");

Frame with_ports(bool from_client, const Frame& rest) {
    Frame l4(4 + rest.size());
    l4[from_client ? 0 : 2] = 0x10;
    l4[from_client ? 2 : 0] = 0x20;
    std::copy(rest.begin(), rest.end(), l4.begin() + 4);
    return l4;
}

struct Want {
    bool from_client;
    Frame rest;  ///< of the transport header, from behind the ports on
    TrackResult result;
    CtState ct;
    const char* state;
    std::uint32_t timeout_s;
    bool assured = false;
};

void converse(std::uint8_t protocol, L4Kind kind, const std::vector<Want>& packets) {
    const TrackConfig config;
    for (const bool v6 : {false, true}) {
        const IpAddr &client = v6 ? kClient6 : kClient4, &server = v6 ? kServer6 : kServer4;
        Conn conn;
        for (std::size_t i = 0; i < packets.size(); ++i) {
            const Want& want = packets[i];
            SCOPED_TRACE((v6 ? "IPv6, packet " : "IPv4, packet ") + std::to_string(i));
            const Frame frame = want.from_client
                                    ? ip(client, server, protocol, with_ports(true, want.rest))
                                    : ip(server, client, protocol, with_ports(false, want.rest));
            PacketInfo info{};
            const auto n = static_cast<std::uint32_t>(frame.size());
            parse_packet(frame.data(), n, n, {&kSecret, CtZone{}}, info);
            ASSERT_EQ(info.why, DropReason::none);
            ASSERT_EQ(info.kind, kind);
            const Tick now{static_cast<std::uint32_t>(i) * 1000};
            if (i == 0) {
                conn.key = info.key;
                const bool starts = may_start(info, frame.data(), config);
                ASSERT_EQ(starts, want.result == TrackResult::accept);
                if (!starts) break;
                ASSERT_TRUE(start_tracking(conn, info, frame.data(), now, config));
            } else {
                const auto dir = want.from_client ? Direction::original : Direction::reply;
                ASSERT_EQ(track(conn, info, frame.data(), dir, now, config), want.result);
                ASSERT_EQ(info.ct, want.ct);
            }
            EXPECT_STREQ(conn.state_name(), want.state);
            EXPECT_EQ(conn.timeout_ms, want.timeout_s * 1000);
            EXPECT_EQ(timeout_of(conn, config), conn.timeout_ms);
            EXPECT_EQ(conn.has(conn_flag::assured), want.assured);
        }
    }
}

constexpr auto kAccept = TrackResult::accept, kInvalid = TrackResult::invalid;

/// Tag, checksum, and one chunk with 16 bytes in it, of which the first four are an INIT's tag.
Frame sctp(std::uint8_t tag, std::uint8_t kind, std::uint8_t init_tag = 0) {
    Frame f{0, 0, 0, tag, 0, 0, 0, 0, kind, 0, 0, 20, 0, 0, 0, init_tag};
    f.resize(8 + 20);
    return f;
}

TEST(Track, AnSctpAssociation) {
    converse(proto::sctp, L4Kind::sctp,
             {{true, sctp(0, 1, 0xa), kAccept, CtState::fresh, "closed", 10},
              {false, sctp(0xa, 2, 0xb), kAccept, CtState::established, "cookie_wait", 3},
              {true, sctp(0xb, 10), kAccept, CtState::established, "cookie_echoed", 3},
              {false, sctp(0xa, 11), kAccept, CtState::established, "established", 210, true},
              {true, sctp(0xa, 0), kInvalid, CtState::invalid, "established", 210, true},
              {true, sctp(0xb, 7), kAccept, CtState::established, "shutdown_sent", 3, true},
              {false, sctp(0xa, 8), kAccept, CtState::established, "shutdown_ack_sent", 3, true},
              {true, sctp(0xb, 14), kAccept, CtState::established, "closed", 10, true}});
    converse(proto::sctp, L4Kind::sctp, {{true, sctp(0xb, 0), kInvalid, {}, "none", 0}});
}

/// A DCCP header with long numbers; `number` is its own, or what it acknowledges.
Frame dccp(std::uint8_t type, std::uint8_t number) {
    const bool acknowledges = type != 0 && type != 2;
    Frame f(acknowledges ? 20 : 12);
    f[0] = acknowledges ? 6 : 4;
    f[4] = static_cast<std::uint8_t>(type << 1 | 1);
    f.back() = f[11] = number;
    return f;
}

TEST(Track, ADccpConnection) {
    converse(proto::dccp, L4Kind::dccp,
             {{true, dccp(0, 1), kAccept, CtState::fresh, "request", 240},
              {false, dccp(1, 9), kAccept, CtState::established, "respond", 480},
              {true, dccp(3, 9), kAccept, CtState::established, "partopen", 480, true},
              {false, dccp(2, 3), kAccept, CtState::established, "open", 43200, true},
              {false, dccp(10, 3), kInvalid, CtState::invalid, "open", 43200, true},
              {true, dccp(8, 3), kAccept, CtState::established, "open", 43200, true},
              {true, dccp(6, 3), kAccept, CtState::established, "closing", 64, true},
              {false, dccp(7, 3), kAccept, CtState::established, "timewait", 240, true}});
    converse(proto::dccp, L4Kind::dccp,
             {{true, dccp(0, 1), kAccept, CtState::fresh, "request", 240},
              {false, dccp(7, 3), TrackResult::end, CtState::established, "request", 240}});
    converse(proto::dccp, L4Kind::dccp, {{true, dccp(2, 1), kInvalid, {}, "none", 0}});
}

TEST(Account, CountsOnWhereARoundEnds) {
    Conn conn;
    std::uint64_t packets[2] = {}, bytes[2] = {};
    std::uint32_t random = 1;
    for (unsigned i = 0; i < 100'000; ++i) {
        random = random * 1664525u + 1013904223u;
        const auto d = static_cast<Direction>(random >> 31);
        // Most of the largest kind, so that a round's bytes are as many as they can be.
        const std::uint32_t size = random % 16 == 0 ? random % Conn::kMaxFrame : Conn::kMaxFrame;
        if (conn.account(d, size)) conn.end_round(d);
        ++packets[index(d)];
        bytes[index(d)] += size;
        ASSERT_EQ(conn.packets(d), packets[index(d)]);
        ASSERT_EQ(conn.bytes(d), bytes[index(d)]);
    }
}

TEST(Account, CountsOnFromWhatWasSet) {
    // Just before each of the places where one of its parts runs over into the next.
    for (const std::uint64_t packets : {std::uint64_t{0}, std::uint64_t{126}, std::uint64_t{127},
                                        (std::uint64_t{1} << 39) - 2, Conn::kMaxPackets - 3}) {
        Conn conn;
        conn.set_counts(Direction::reply, packets, 1'000'000);
        EXPECT_EQ(conn.packets(Direction::reply), packets);
        EXPECT_EQ(conn.bytes(Direction::reply), 1'000'000u);
        for (unsigned i = 1; i <= 3; ++i) {
            if (conn.account(Direction::reply, 60)) conn.end_round(Direction::reply);
            EXPECT_EQ(conn.packets(Direction::reply), packets + i);
            EXPECT_EQ(conn.bytes(Direction::reply), 1'000'000u + 60 * i);
        }
        EXPECT_EQ(conn.packets(Direction::original), 0u);
        EXPECT_EQ(conn.bytes(Direction::original), 0u);
    }
}

}  // namespace
}  // namespace postern
