// SPDX-License-Identifier: BSD-3-Clause
// The trackers, by sequences of packets of one connection.
//
// Input: one byte for the protocol, then packets of {direction and kind, bytes}. TCP: numbers count
// from where that side is, so that a good part of the segments is in its window. SCTP and DCCP:
// bytes as they are, behind the ports.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "conntrack/track.h"
#include "net/cursor.h"
#include "require.h"

namespace {

using namespace postern;

const TrackConfig kConfig;
constexpr std::uint32_t kLongestMs = 5u * 24 * 3600 * 1000;

void put32(std::vector<std::uint8_t>& at, std::size_t where, std::uint32_t v) {
    for (unsigned i = 0; i < 4; ++i)
        at[where + i] = static_cast<std::uint8_t>(v >> (24 - 8 * i));
}

/// The transport header that the next bytes of the input say; empty at its end.
std::vector<std::uint8_t> next_packet(Cursor& in, std::uint8_t protocol, const Conn& conn,
                                      unsigned d, PacketInfo& info) {
    if (protocol != proto::tcp) {
        const auto n = in.u8();
        if (!n) return {};
        const Bytes bytes = *in.take(std::min<std::size_t>(*n, in.remaining()));
        std::vector<std::uint8_t> l4(4 + bytes.size());
        std::copy(bytes.begin(), bytes.end(), l4.begin() + 4);
        if (l4.size() < 12) l4.resize(12);
        info.pay_off = 12;
        info.pay_len = static_cast<std::uint16_t>(l4.size() - 12);
        info.l4_len = static_cast<std::uint16_t>(l4.size());
        return l4;
    }
    if (in.remaining() < 7) return {};
    const std::uint8_t flags = *in.u8() & 0x3f;
    const auto number = [&](std::uint32_t from) {
        const auto by = static_cast<std::int8_t>(*in.u8());
        // Near, or far.
        return from + static_cast<std::uint32_t>((by & 1) != 0 ? by * 4096 : by / 2);
    };
    const std::uint32_t seq = number(conn.tcp_near.side[d].end);
    const std::uint32_t ack = number(conn.tcp_near.side[1 - d].end);
    const std::uint8_t win = *in.u8(), payload = *in.u8();
    const Bytes options = *in.take(std::min<std::size_t>(*in.u8() % 41, in.remaining()));
    std::vector<std::uint8_t> l4(20 + (options.size() + 3) / 4 * 4);
    put32(l4, 4, seq);
    put32(l4, 8, ack);
    l4[12] = static_cast<std::uint8_t>(l4.size() / 4 << 4);
    l4[13] = info.tcp_flags = flags;
    l4[14] = win;
    std::copy(options.begin(), options.end(), l4.begin() + 20);
    // Those that cannot be would be dropped; the tracker takes them all the same.
    (void)read_tcp_options(l4.data(), static_cast<unsigned>(l4.size()), info.tcp_options);
    info.pay_off = static_cast<std::uint16_t>(l4.size());
    info.pay_len = payload;
    info.l4_len = static_cast<std::uint16_t>(l4.size() + payload);
    return l4;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr std::uint8_t kProtocols[] = {proto::tcp, proto::sctp, proto::dccp, proto::udp};
    constexpr L4Kind kKinds[] = {L4Kind::tcp, L4Kind::sctp, L4Kind::dccp, L4Kind::ports};
    Cursor in{Bytes{data, size}};
    const auto which = in.u8();
    if (!which) return 0;
    Conn conn;
    conn.key.family = 4;
    conn.key.protocol = kProtocols[*which % 4];
    bool begun = false, replied = false;
    for (std::uint32_t ms = 0;; ms += 500) {
        const auto head = in.u8();
        if (!head) break;
        const Direction dir = (*head & 1) != 0 && begun ? Direction::reply : Direction::original;
        PacketInfo info{};
        info.kind = kKinds[*which % 4];
        info.protocol = conn.key.protocol;
        const auto l4 = next_packet(in, conn.key.protocol, conn, index(dir), info);
        if (l4.empty()) break;
        if (!begun) {
            if (!may_start(info, l4.data(), kConfig)) continue;
            begun = start_tracking(conn, info, l4.data(), Tick{ms}, kConfig);
            require(begun, "may_start() and start_tracking() disagree");
            require(conn.timeout_ms != 0 && conn.timeout_ms <= kLongestMs, "no sound timeout");
            continue;
        }
        const Conn before = conn;
        info.dir = dir;
        Conn shortened = conn;
        const bool fast = track_fast(shortened, info, l4.data(), Tick{ms}, kConfig);
        const TrackResult r = track(conn, info, l4.data(), dir, Tick{ms}, kConfig);
        require(conn.timeout_ms != 0 && conn.timeout_ms <= kLongestMs, "no sound timeout");
        if (r == TrackResult::reopen || r == TrackResult::end) {
            begun = replied = false;
            conn = Conn{};
            conn.key = before.key;
            continue;
        }
        if (r == TrackResult::invalid) {
            require(info.ct == CtState::invalid && info.why != DropReason::none,
                    "invalid, and nobody says so");
            require(conn.state == before.state && conn.flags == before.flags &&
                        conn.last_seen_ms == before.last_seen_ms &&
                        conn.timeout_ms <= before.timeout_ms,
                    "an invalid packet changed the connection");
            continue;
        }
        replied |= dir == Direction::reply;
        require(replied == conn.has(conn_flag::seen_reply), "seen_reply is not what was seen");
        require(replied || !conn.has(conn_flag::assured), "assured by one side alone");
        require(info.ct == (replied ? CtState::established : CtState::fresh),
                "established by one side alone, or new with both");
        // What taught nothing set no time either.
        Conn copy = conn;
        require(conn.last_seen_ms != ms || timeout_of(copy, kConfig) == conn.timeout_ms,
                "the time is not its state's");
        if (fast) {
            require(r == TrackResult::accept && conn.state == shortened.state &&
                        conn.flags == shortened.flags &&
                        std::memcmp(&conn.tcp_near, &shortened.tcp_near, sizeof(TcpNear)) == 0,
                    "the fast path is not the slow path cut short");
            conn = shortened;  // and goes on from there
        }
        require(conn.state_name() != nullptr || conn.protocol() == proto::udp, "no such state");
    }
    return 0;
}
