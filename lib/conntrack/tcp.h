// SPDX-License-Identifier: BSD-3-Clause
// The TCP tracker: the state of a connection, and whether a segment can belong to it.
//
// A pure function over a connection's TCP part (tcp_store.h) and one segment; no table, no clock,
// no DPDK, so that a test is a list of rows. State machine: RFC 9293 as a middlebox sees it (both
// sides merged into one state). Windows: Guido van Rooij, "Real Stateful TCP Packet Filtering in IP
// Filter" (2000), with window scaling (RFC 7323), SACK (RFC 2018) and the reset rules of RFC
// 5961. The behaviour is meant to be that of Linux's conntrack; the differences are listed in
//       NOTES.md.
#pragma once

#include <array>
#include <cstdint>

#include "base/drop_reason.h"
#include "base/types.h"
#include "conntrack/tcp_store.h"
#include "net/bytes.h"
#include "net/packet.h"

namespace postern {

struct Conn;

enum class TcpState : std::uint8_t {
    none = 0,
    syn_sent,
    syn_recv,
    established,
    fin_wait,
    close_wait,
    last_ack,
    time_wait,
    close,
    syn_sent2,  ///< simultaneous open: a SYN from either side
    kCount
};
inline constexpr unsigned kTcpStates = static_cast<unsigned>(TcpState::kCount);
constexpr const char* to_string(TcpState s) noexcept {
    constexpr const char* kNames[] = {"none",     "syn_sent",   "syn_recv", "established",
                                      "fin_wait", "close_wait", "last_ack", "time_wait",
                                      "close",    "syn_sent2"};
    return kNames[static_cast<unsigned>(s)];
}

/// One segment, in host byte order.
struct TcpSegment {
    std::uint32_t seq;
    std::uint32_t ack;
    std::uint32_t sack;  ///< the highest edge it acknowledges, selectively or not
    std::uint32_t payload_len;
    std::uint16_t win;
    std::uint8_t flags;
    std::uint8_t options;  ///< PacketInfo::tcp_options
    bool has_options;
};

enum class TcpTimeout : std::uint8_t {
    by_state,
    retransmitted,
    unacknowledged,
    close
};

enum class TcpAction : std::uint8_t {
    accept,   ///< it belongs to the connection, whose state is updated
    pass,     ///< let through without effect on the state (duplicates, challenge ACKs)
    invalid,  ///< it cannot belong to the connection; only its timeout may become shorter
    learn,    ///< let through; a restored connection has learned from it, its state is unchanged
    reopen,   ///< a fresh SYN on a finished connection: end that one, then treat it as new
    end       ///< accepted, and the connection has ended: it was never answered except with a reset
};

/// The parts of a forwarded segment that its receiver accepts, as far as a middlebox can determine.
/// Bits. None: the receiver discards it, or only answers it by an acknowledgement.
namespace tcp_heed {
inline constexpr std::uint8_t
    text = 0x01,     ///< it begins in the window: payload and FIN, up to its side's max_end
    syn = 0x02,      ///< its SYN sets the first number of its side
    reset = 0x04,    ///< an RST with exactly the next number (RFC 5961 section 3.2)
    unknown = 0x08,  ///< instead of `text`: its windows are not enforced, so they determine nothing
    renewed = 0x10;  ///< it answers a SYN that was let through: both sides reopen, the other one at
                     ///< TcpLast::seq
}  // namespace tcp_heed

/// The effect of a segment on a restored connection that learns its numbers, see tcp_relearn.h.
enum class Learning : std::uint8_t {
    off,
    consistent,  ///< it agrees with the segments seen before
    restarted,   ///< it contradicts them: learning begins with it
    complete     ///< windows are enforced from here on
};

struct TcpResult {
    TcpAction action = TcpAction::accept;
    TcpState state = TcpState::none;
    TcpTimeout timeout = TcpTimeout::by_state;
    bool assured = false;     ///< this segment proves that both sides have confirmed the connection
    std::uint8_t heeded = 0;  ///< of tcp_heed
    DropReason why = DropReason::tcp_state;  ///< with TcpAction::invalid: which bound refuses it
    Learning learning = Learning::off;
    std::uint8_t unused = 0;  ///< eight bytes are set at once
};

struct TcpOptions {
    bool loose = true;     ///< a connection may be picked up in mid-stream
    bool liberal = false;  ///< windows are not enforced
    bool ignore_bad_rst = false;
    std::uint8_t max_retransmits = 3;  ///< at least 2: see tcp_remember()
};

/// Whether a segment with these flags may be a connection's first: a SYN, or, when loose, an ACK.
bool tcp_may_start(std::uint8_t flags, const TcpOptions& options) noexcept;
// The `_into` functions set a `result` that has its initial values. A small struct that is returned
// by value is written by bytes and read as one word, which waits until the bytes are in memory.
void tcp_start_into(TcpResult& result, Conn& conn, const TcpSegment& segment,
                    const TcpOptions& options) noexcept;
void tcp_track_into(TcpResult& result, Conn& conn, TcpState state, Direction dir, bool seen_reply,
                    bool assured, const TcpSegment& segment, const TcpOptions& options) noexcept;

/// The first segment of a connection. `action` is accept or invalid.
[[gnu::always_inline]] inline TcpResult tcp_start(Conn& conn, const TcpSegment& segment,
                                                  const TcpOptions& options) noexcept {
    TcpResult result;
    tcp_start_into(result, conn, segment, options);
    return result;
}
/// Any later one. `seen_reply`, `assured`: before this segment.
[[gnu::always_inline]] inline TcpResult tcp_track(Conn& conn, TcpState state, Direction dir,
                                                  bool seen_reply, bool assured,
                                                  const TcpSegment& segment,
                                                  const TcpOptions& options) noexcept {
    TcpResult result;
    tcp_track_into(result, conn, state, dir, seen_reply, assured, segment, options);
    return result;
}

/// The segment that parse_packet() found well-formed in the frame at `data`.
inline TcpSegment read_segment(const std::uint8_t* data, const PacketInfo& info) noexcept {
    const std::uint8_t* header = data + info.l4_off;
    const auto word = [header](unsigned at) noexcept { return wire::be32(header + at); };
    const std::uint32_t offset_flags_window = word(12);
    const auto flags = static_cast<std::uint8_t>(offset_flags_window >> 16);
    const std::uint32_t ack = word(8);
    const bool selective = info.tcp_options != 0 && (flags & tcp_flag::syn) == 0;
    return {.seq = word(4),
            .ack = ack,
            .sack = selective ? word(info.tcp_options) : ack,
            .payload_len = info.pay_len,
            .win = static_cast<std::uint16_t>(offset_flags_window),
            .flags = flags,
            .options = info.tcp_options,
            .has_options = offset_flags_window >> 28 > 5};
}

}  // namespace postern
