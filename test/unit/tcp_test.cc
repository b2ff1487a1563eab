// SPDX-License-Identifier: BSD-3-Clause
// The TCP tracker as a table: conversations of segments, and what each one must do. Every
// conversation runs with several initial sequence numbers, so that each crosses the wrap.
#include "conntrack/tcp.h"

#include <cstring>
#include <ostream>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "conntrack/tcp_window.h"
#include "net/packet.h"

namespace postern {

void PrintTo(TcpState s, std::ostream* out) {
    *out << to_string(s);
}
void PrintTo(TcpAction a, std::ostream* out) {
    constexpr const char* kNames[] = {"accept", "pass", "invalid", "learn", "reopen", "end"};
    *out << kNames[static_cast<unsigned>(a)];
}

namespace {

using enum TcpState;
constexpr auto kAccept = TcpAction::accept, kPass = TcpAction::pass, kInvalid = TcpAction::invalid,
               kReopen = TcpAction::reopen, kEnd = TcpAction::end;
constexpr auto kByState = TcpTimeout::by_state;
constexpr auto kUnacked = TcpTimeout::unacknowledged;

/// Numbers are relative: each side's initial sequence number is 0 in `seq`, and the other side's in
/// `ack` and `sack`.
struct Segment {
    char from;          ///< '>' who opened, '<' who answered
    const char* flags;  ///< of S F R P A
    std::int64_t seq, ack;
    std::uint32_t len = 0;
    std::uint16_t win = 1000;
    TcpAction action = kAccept;
    TcpState state = none;  ///< after it
    int scale = -1;         ///< option, when not negative
    bool sack_ok = false;
    std::int64_t sack = -1;  ///< right edge of a block that begins 10 before
    TcpTimeout timeout = kByState;
    bool check_timeout = false;
};

/// A literal 0 on the wire, for segments whose number does not count from the initial one.
constexpr std::int64_t kZero = INT64_MIN;

struct Conversation {
    const char* name;
    std::vector<Segment> segments;
    TcpOptions options{};
};

std::uint8_t flags_of(const char* text) {
    std::uint8_t f = 0;
    for (; *text != 0; ++text)
        f |= *text == 'S'   ? tcp_flag::syn
             : *text == 'F' ? tcp_flag::fin
             : *text == 'R' ? tcp_flag::rst
             : *text == 'P' ? tcp_flag::psh
                            : tcp_flag::ack;
    return f;
}

/// As parse_packet() and read_segment() find it in a frame.
TcpSegment segment(std::uint32_t seq, std::uint32_t ack, std::uint16_t win, std::uint8_t flags,
                   std::uint32_t len, const std::vector<std::uint8_t>& options) {
    std::vector<std::uint8_t> header;
    const auto put = [&](std::uint32_t word) {
        for (int shift = 24; shift >= 0; shift -= 8)
            header.push_back(static_cast<std::uint8_t>(word >> shift));
    };
    put(0);
    put(seq);
    put(ack);
    put(static_cast<std::uint32_t>(5 + options.size() / 4) << 28 | std::uint32_t{flags} << 16 |
        win);
    put(0);
    header.insert(header.end(), options.begin(), options.end());
    PacketInfo info{};
    info.pay_len = static_cast<std::uint16_t>(len);
    EXPECT_EQ(
        read_tcp_options(header.data(), static_cast<unsigned>(header.size()), info.tcp_options),
        DropReason::none);
    return read_segment(header.data(), info);
}

/// `shortcuts`: segments take the fast path where they may, as packets do.
void run(const Conversation& c, const std::uint32_t (&isn)[2], bool shortcuts) {
    Conn track;
    TcpState state = none;
    bool seen_reply = false, assured = false;
    for (std::size_t i = 0; i < c.segments.size(); ++i) {
        const Segment& want = c.segments[i];
        SCOPED_TRACE(std::string(c.name) + ", segment " + std::to_string(i) + " (" + want.from +
                     want.flags + "), initial numbers " + std::to_string(isn[0]) + " and " +
                     std::to_string(isn[1]));
        const unsigned side = want.from == '>' ? 0 : 1;
        const auto number = [](std::int64_t relative, std::uint32_t base) {
            return relative == kZero ? 0 : base + static_cast<std::uint32_t>(relative);
        };
        std::vector<std::uint8_t> options;
        if (want.scale >= 0) options = {3, 3, static_cast<std::uint8_t>(want.scale), 1};
        if (want.sack_ok) options.insert(options.end(), {4, 2, 1, 1});
        if (want.sack >= 0) {
            options.insert(options.end(), {1, 1, 5, 10});
            for (const std::int64_t edge : {want.sack - 10, want.sack}) {
                const std::uint32_t n = number(edge, isn[1 - side]);
                for (int shift = 24; shift >= 0; shift -= 8)
                    options.push_back(static_cast<std::uint8_t>(n >> shift));
            }
        }
        const TcpSegment s = segment(number(want.seq, isn[side]), number(want.ack, isn[1 - side]),
                                     want.win, flags_of(want.flags), want.len, options);
        const Direction dir = side == 0 ? Direction::original : Direction::reply;
        TcpResult r;
        bool unacked = false;
        if (i == 0) {
            r = tcp_start(track, s, c.options);
        } else if (shortcuts && assured &&
                   tcp_in_order(track.tcp_near, track.tcp_marks, dir, s, unacked)) {
            r.state = established;
            r.timeout = unacked ? TcpTimeout::unacknowledged : TcpTimeout::by_state;
        } else {
            r = tcp_track(track, state, dir, seen_reply, assured, s, c.options);
        }
        ASSERT_EQ(r.action, want.action);
        if (r.action == kReopen) {  // what the caller does
            ASSERT_EQ(tcp_start(track, s, c.options).action, kAccept);
            state = syn_sent;
            seen_reply = assured = false;
            ASSERT_EQ(state, want.state);
            continue;
        }
        if (r.action == kAccept || r.action == kEnd) {
            state = r.state;
            assured |= r.assured;
        }
        if (r.action != kInvalid && side == 1) seen_reply = true;
        ASSERT_EQ(state, want.state);
        if (want.check_timeout) {
            ASSERT_EQ(r.timeout, want.timeout);
        }
    }
}

class TcpTable : public ::testing::TestWithParam<Conversation> {};

TEST_P(TcpTable, DoesWhatTheTableSays) {
    constexpr std::uint32_t kNumbers[][2] = {{1000, 500000},
                                             {0xffffffff, 0xffffff00},
                                             {0xfffffff0, 1},
                                             {0x7fffffff, 0x7ffffff0},
                                             {0xffffffff - 900, 77777}};
    for (const auto& isn : kNumbers) {
        for (const bool shortcuts : {false, true}) {
            SCOPED_TRACE(shortcuts ? "the fast path where it may be" : "all the slow path");
            run(GetParam(), isn, shortcuts);
            if (HasFatalFailure()) return;
        }
    }
}

// The first three segments of most conversations: both sides offer windows of 1000, unscaled.
#define OPEN                                             \
    {'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent},    \
        {'<', "SA", 0, 1, 0, 1000, kAccept, syn_recv}, { \
        '>', "A", 1, 1, 0, 1000, kAccept, established    \
    }

std::vector<Conversation> conversations() {
    TcpOptions strict, liberal, bad_rst_passes;
    strict.loose = false;
    liberal.liberal = true;
    bad_rst_passes.ignore_bad_rst = true;
    return {
        {"opened in three steps",
         {OPEN,
          {'>', "PA", 1, 1, 100, 1000, kAccept, established},
          {'<', "A", 1, 101, 0, 1000, kAccept, established},
          {'<', "PA", 1, 101, 500, 1000, kAccept, established},
          {'>', "A", 101, 501, 0, 1000, kAccept, established}}},
        {"a SYN repeated, then answered twice",
         {{'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent},
          {'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent},
          {'<', "SA", 0, 1, 0, 1000, kAccept, syn_recv},
          {'<', "SA", 0, 1, 0, 1000, kPass, syn_recv},
          {'>', "S", 0, kZero, 0, 1000, kPass, syn_recv},
          {'>', "A", 1, 1, 0, 1000, kAccept, established}}},
        {"an opening that skips a step",
         {{'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent},
          {'>', "A", 1, 1, 0, 1000, kInvalid, syn_sent},
          {'<', "PA", 1, 1, 10, 1000, kPass, syn_sent},
          {'<', "F", 1, 1, 0, 1000, kInvalid, syn_sent},
          {'<', "SA", 0, 1, 0, 1000, kAccept, syn_recv}}},
        {"opened by both at once",  // RFC 9293 section 3.5, figure 7
         {{'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent},
          {'<', "S", 0, kZero, 0, 1000, kAccept, syn_sent2},
          {'>', "SA", 0, 1, 0, 1000, kAccept, syn_recv},
          {'<', "SA", 0, 1, 0, 1000, kPass, syn_recv},
          {'<', "A", 1, 1, 0, 1000, kAccept, established}}},
        {"closed by the opener first",
         {OPEN,
          {'>', "FA", 1, 1, 0, 1000, kAccept, fin_wait},
          {'<', "A", 1, 2, 0, 1000, kAccept, close_wait},
          {'<', "FA", 1, 2, 0, 1000, kAccept, last_ack},
          {'>', "A", 2, 2, 0, 1000, kAccept, time_wait},
          {'<', "FA", 1, 2, 0, 1000, kAccept, time_wait},
          {'>', "A", 2, 2, 0, 1000, kAccept, time_wait}}},
        {"closed by the answerer first",
         {OPEN,
          {'<', "FA", 1, 1, 0, 1000, kAccept, fin_wait},
          {'>', "A", 1, 2, 0, 1000, kAccept, close_wait},
          {'>', "FA", 1, 2, 0, 1000, kAccept, last_ack},
          {'<', "A", 2, 2, 0, 1000, kAccept, time_wait}}},
        {"both goodbyes cross",
         {OPEN,
          {'>', "FA", 1, 1, 0, 1000, kAccept, fin_wait},
          {'<', "FA", 1, 1, 0, 1000, kAccept, last_ack},
          {'>', "A", 2, 2, 0, 1000, kAccept, time_wait},
          {'<', "A", 2, 2, 0, 1000, kAccept, time_wait}}},
        {"half closed: the other side goes on",
         {OPEN,
          {'>', "FA", 1, 1, 0, 1000, kAccept, fin_wait},
          {'<', "A", 1, 2, 0, 1000, kAccept, close_wait},
          {'<', "PA", 1, 2, 900, 1000, kAccept, close_wait},
          {'>', "A", 2, 901, 0, 1000, kAccept, close_wait},
          {'<', "PA", 901, 2, 900, 1000, kAccept, close_wait},
          {'<', "FA", 1801, 2, 0, 1000, kAccept, last_ack}}},
        {"the port is closed: the only answer is a reset",
         {{'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent},
          {'<', "RA", kZero, 1, 0, 0, kEnd, close}}},
        {"reset with the next number expected",
         {OPEN,
          {'<', "PA", 1, 1, 100, 1000, kAccept, established},
          {'>', "A", 1, 101, 0, 1000, kAccept, established},
          {'<', "R", 101, kZero, 0, 0, kAccept, close}}},
        {"reset a little off: for the receiver to challenge (RFC 5961 section 3.2)",
         {OPEN,
          {'<', "PA", 1, 1, 100, 1000, kAccept, established},
          {'>', "A", 1, 101, 0, 1000, kAccept, established},
          {'<', "R", 150, kZero, 0, 0, kAccept, established},
          {'>', "A", 1, 101, 0, 1000, kAccept, established},
          {'<', "R", 101, kZero, 0, 0, kAccept, close}}},
        {"reset before the window",
         {OPEN,
          {'<', "PA", 1, 1, 100, 1000, kAccept, established},
          {'>', "A", 1, 101, 0, 1000, kAccept, established},
          {'<', "R", 50, kZero, 0, 0, kInvalid, established}}},
        {"reset far beyond the window",
         {OPEN,
          {'<', "PA", 1, 1, 100, 1000, kAccept, established},
          {'>', "A", 1, 101, 0, 1000, kAccept, established},
          {'<', "R", 100000, kZero, 0, 0, kInvalid, established}}},
        {"reset before the window, where that is let through",
         {OPEN,
          {'<', "PA", 1, 1, 100, 1000, kAccept, established},
          {'>', "A", 1, 101, 0, 1000, kAccept, established},
          {'<', "R", 50, kZero, 0, 0, kAccept, established}},
         bad_rst_passes},
        {"reset at the end of a train of segments",
         {OPEN,
          {'>', "PA", 1, 1, 100, 1000, kAccept, established},
          {'<', "A", 1, 1, 0, 1000, kAccept, established},
          {'>', "RA", 101, 1, 0, 1000, kAccept, established},
          {'>', "PA", 101, 1, 10, 1000, kAccept, established},
          {'>', "RA", 111, 1, 0, 1000, kAccept, close}}},
        {"reset while closing, wherever",
         {OPEN,
          {'>', "FA", 1, 1, 0, 1000, kAccept, fin_wait},
          {'<', "R", 400000, kZero, 0, 0, kAccept, close}}},
        {"a SYN in an open connection: a challenge ACK follows, then a reset (RFC 5961 section 4)",
         {OPEN,
          {'>', "S", 70000, kZero, 0, 1000, kPass, established},
          {'<', "A", 1, 1, 0, 1000, kAccept, established},
          {'>', "R", 1, kZero, 0, 0, kAccept, close},
          {'>', "S", 70000, kZero, 0, 1000, kReopen, syn_sent}}},
        {"a SYN in an open connection that the other end takes: they know better",
         {OPEN,
          {'>', "S", 70000, kZero, 0, 1000, kPass, established},
          {'<', "SA", 90000, 70001, 0, 1000, kAccept, syn_recv},
          {'>', "A", 70001, 90001, 0, 1000, kAccept, established},
          {'>', "PA", 70001, 90001, 100, 1000, kAccept, established}}},
        {"a SYN from the answerer in an open connection",
         {OPEN, {'<', "S", 70000, kZero, 0, 1000, kInvalid, established}}},
        {"reopened after an orderly end",
         {OPEN,
          {'>', "FA", 1, 1, 0, 1000, kAccept, fin_wait},
          {'<', "FA", 1, 2, 0, 1000, kAccept, last_ack},
          {'>', "A", 2, 2, 0, 1000, kAccept, time_wait},
          {'>', "S", 70000, kZero, 0, 1000, kReopen, syn_sent},
          {'<', "SA", 90000, 70001, 0, 1000, kAccept, syn_recv},
          {'>', "A", 70001, 90001, 0, 1000, kAccept, established}}},
        {"a SYN and its challenge ACK while the last ACK is awaited",
         {OPEN,
          {'>', "FA", 1, 1, 0, 1000, kAccept, fin_wait},
          {'<', "FA", 1, 2, 0, 1000, kAccept, last_ack},
          {'>', "S", 70000, kZero, 0, 1000, kPass, last_ack},
          {'<', "A", 2, 2, 0, 1000, kPass, last_ack}}},
        {"scaled windows",
         {{'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent, 3},
          {'<', "SA", 0, 1, 0, 1000, kAccept, syn_recv, 4},
          {'>', "A", 1, 1, 0, 1000, kAccept, established},  // 8000 from here on
          {'<', "A", 1, 1, 0, 1000, kAccept, established},  // 16000
          {'<', "PA", 1, 1, 4000, 1000, kAccept, established},
          {'<', "PA", 4001, 1, 4000, 1000, kAccept, established},
          {'>', "PA", 1, 1, 15000, 1000, kAccept, established},
          {'<', "PA", 80000, 1, 10, 1000, kInvalid, established}}},
        {"a scale that only one side offers is none",
         {{'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent, 7},
          {'<', "SA", 0, 1, 0, 1000, kAccept, syn_recv},
          {'>', "A", 1, 1, 0, 1000, kAccept, established},
          {'<', "PA", 50000, 1, 10, 1000, kInvalid, established}}},
        {"data beyond the window",
         {OPEN,
          {'>', "PA", 1, 1, 1000, 1000, kAccept, established},
          {'>', "PA", 1002, 1, 500, 1000, kPass, established},  // overshoots a little
          {'>', "PA", 5000, 1, 500, 1000, kInvalid, established},
          {'<', "A", 1, 1502, 0, 1000, kAccept, established}}},
        {"data beyond the window, where windows do not count",
         {OPEN,
          {'>', "PA", 900000, 1, 500, 1000, kAccept, established},
          {'<', "A", 1, 888888, 0, 1000, kAccept, established}},
         liberal},
        {"an acknowledgement of what nobody sent",
         {OPEN,
          {'<', "A", 1, 2, 0, 1000, kInvalid, established},
          {'<', "A", 1, 100000, 0, 1000, kInvalid, established}}},
        {"an acknowledgement from long ago",
         {OPEN,
          {'>', "A", 1, 1 - 70000, 0, 1000, kPass, established},
          {'>', "A", 1, 1 - 60000, 0, 1000, kAccept, established}}},
        {"data sent again after its acknowledgement",
         {OPEN,
          {'>', "PA", 1, 1, 1000, 1000, kAccept, established},
          {'<', "A", 1, 1001, 0, 1000, kAccept, established},
          {'>', "PA", 1001, 1, 1000, 1000, kAccept, established},
          {'<', "A", 1, 2001, 0, 1000, kAccept, established},
          {'>', "PA", 1001, 1, 1000, 1000, kAccept, established},  // ends at the edge
          {'>', "PA", 1, 1, 500, 1000, kPass, established}}},      // wholly before the window
        {"selective acknowledgements",
         {{'>', "S", 0, kZero, 0, 1000, kAccept, syn_sent, -1, true},
          {'<', "SA", 0, 1, 0, 1000, kAccept, syn_recv, -1, true},
          {'>', "A", 1, 1, 0, 1000, kAccept, established},
          {'>', "PA", 1, 1, 100, 1000, kAccept, established},
          {'>', "PA", 101, 1, 100, 1000, kAccept, established},
          {'<', "A", 1, 1, 0, 1000, kAccept, established, -1, false, 201},
          {'<', "A", 1, 1, 0, 1000, kInvalid, established, -1, false, 301}}},
        {"selective acknowledgements that were not offered count for nothing",
         {OPEN,
          {'>', "PA", 1, 1, 100, 1000, kAccept, established},
          {'<', "A", 1, 101, 0, 1000, kAccept, established, -1, false, 5000}}},
        {"a closed window, and probes of it (RFC 9293 section 3.8.6.1)",
         {OPEN,
          {'>', "PA", 1, 1, 1000, 1000, kAccept, established},
          {'<', "A", 1, 1001, 0, 0, kAccept, established},
          {'>', "A", 1001, 1, 1, 1000, kAccept, established},
          {'<', "A", 1, 1001, 0, 0, kAccept, established},
          {'>', "A", 1001, 1, 1, 1000, kAccept, established},
          {'<', "A", 1, 1002, 0, 1000, kAccept, established},
          {'>', "PA", 1002, 1, 900, 1000, kAccept, established}}},
        {"keep-alives (RFC 9293 section 3.8.4)",
         {OPEN,
          {'>', "PA", 1, 1, 100, 1000, kAccept, established},
          {'<', "A", 1, 101, 0, 1000, kAccept, established},
          {'>', "A", 100, 1, 0, 1000, kAccept, established},
          {'<', "A", 1, 101, 0, 1000, kAccept, established},
          {'>', "A", 100, 1, 1, 1000, kAccept, established},  // with a byte of garbage
          {'<', "A", 1, 101, 0, 1000, kAccept, established}}},
        {"picked up in mid-stream: windows are not enforced",
         {{'>', "PA", 100, 900, 50, 10, kAccept, established},
          {'<', "A", 900, 150, 0, 10, kAccept, established},
          {'<', "PA", 900, 150, 9000, 10, kAccept, established},
          {'>', "PA", 300000, 9900, 5, 10, kAccept, established},
          {'>', "FA", 300005, 9900, 0, 10, kAccept, fin_wait},
          {'<', "FA", 9900, 300006, 0, 10, kAccept, last_ack}}},
        {"not picked up in mid-stream when that is off",
         {{'>', "PA", 100, 900, 50, 1000, kInvalid, none}},
         strict},
        {"begins with the answer", {{'>', "SA", 0, 1, 0, 1000, kInvalid, none}}},
        {"begins with the end", {{'>', "FA", 0, 1, 0, 1000, kInvalid, none}}},
        {"begins with a reset", {{'>', "R", 0, kZero, 0, 1000, kInvalid, none}}},
        {"unacknowledged data shortens the wait",
         {OPEN,
          {'>', "PA", 1, 1, 100, 1000, kAccept, established, -1, false, -1, kUnacked, true},
          {'<', "A", 1, 101, 0, 1000, kAccept, established, -1, false, -1, kByState, true}}},
        {"and so do repetitions without an answer",
         {OPEN,
          {'>', "A", 1, 1, 0, 900, kAccept, established, -1, false, -1, kByState, true},
          {'>', "A", 1, 1, 0, 900, kAccept, established, -1, false, -1, kByState, true},
          {'>', "A", 1, 1, 0, 900, kAccept, established, -1, false, -1, kByState, true},
          {'>', "A", 1, 1, 0, 900, kAccept, established, -1, false, -1, TcpTimeout::retransmitted,
           true}}},
        {"goodbyes out of window from both sides shorten it, too",
         {OPEN,
          {'>', "PA", 1, 1, 10, 1000, kAccept, established},
          {'<', "A", 1, 11, 0, 1000, kAccept, established},
          {'>', "FA", 90000, 1, 0, 1000, kInvalid, established, -1, false, -1, kByState, true},
          {'<', "FA", 90000, 11, 0, 1000, kInvalid, established, -1, false, -1, kUnacked, true}}},
    };
}

INSTANTIATE_TEST_SUITE_P(, TcpTable, ::testing::ValuesIn(conversations()), [](const auto& param) {
    std::string name;
    for (const char* p = param.param.name; *p != 0; ++p)
        name += std::isalnum(static_cast<unsigned char>(*p)) ? *p : '_';
    return name;
});

/// Of segments after a handshake and 100 bytes each way, acknowledged: which bound refuses them.
/// Each stands beside one that differs in that bound alone, and passes.
TEST(TcpRefusals, EachBoundHasItsReason) {
    struct Row {
        const char* name;
        char from;
        const char* flags;
        std::uint32_t seq, ack;
        DropReason why;  ///< none: it passes
    };
    constexpr auto none = DropReason::none, tcp_seq_beyond = DropReason::tcp_seq_beyond,
                   tcp_ack_unsent = DropReason::tcp_ack_unsent,
                   tcp_rst_old = DropReason::tcp_rst_old, tcp_state = DropReason::tcp_state;
    const Row rows[] = {
        {"the next segment", '>', "A", 101, 101, none},
        {"one that begins just where the window ends", '>', "A", 1101, 101, none},
        {"one that overshoots by less than a window", '>', "A", 2100, 101, none},
        {"one that overshoots by more", '>', "A", 2101, 101, tcp_seq_beyond},
        {"the same from the other side", '<', "A", 2101, 101, tcp_seq_beyond},
        {"a goodbye beyond that", '>', "FA", 2101, 101, tcp_seq_beyond},
        {"an acknowledgement of all that was sent", '>', "A", 101, 101, none},
        {"of one byte more", '>', "A", 101, 102, tcp_ack_unsent},
        {"the same from the other side", '<', "A", 101, 102, tcp_ack_unsent},
        {"an exact reset", '>', "R", 101, 0, none},
        {"one from before", '>', "R", 100, 0, tcp_rst_old},
        {"one from long before", '<', "R", 1, 0, tcp_rst_old},
        {"one in the window, to be challenged", '>', "R", 102, 0, none},
        {"one beyond the window", '>', "R", 2101, 0, tcp_seq_beyond},
        {"one that acknowledges what nobody sent", '>', "RA", 101, 102, tcp_ack_unsent},
        {"a SYN from the opener", '>', "S", 5000, 0, none},
        {"one from the answerer", '<', "S", 101, 0, tcp_state},
        {"an opener's SYN+ACK", '>', "SA", 101, 101, tcp_state},
        {"no flag that says anything", '>', "P", 101, 101, tcp_state},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        for (const std::uint32_t base : {1000u, 0xffffffffu - 600}) {
            Conn conn;
            TcpResult r;
            const auto put = [&](char from, const char* flags, std::uint32_t seq, std::uint32_t ack,
                                 std::uint32_t len, bool seen_reply, bool assured) {
                const std::uint8_t bits = flags_of(flags);
                const TcpSegment s = segment(
                    base + seq, (bits & tcp_flag::ack) != 0 ? base + ack : 0, 1000, bits, len, {});
                r = r.state == TcpState::none
                        ? tcp_start(conn, s, {})
                        : tcp_track(conn, r.state, static_cast<Direction>(from == '<'), seen_reply,
                                    assured, s, {});
            };
            r.state = TcpState::none;
            put('>', "S", 0, 0, 0, false, false);
            put('<', "SA", 0, 1, 0, false, false);
            put('>', "A", 1, 1, 0, true, false);
            put('>', "PA", 1, 1, 100, true, true);
            put('<', "PA", 1, 101, 100, true, true);
            put('>', "A", 101, 101, 0, true, true);
            ASSERT_EQ(r.action, kAccept);
            ASSERT_EQ(r.state, established);
            put(row.from, row.flags, row.seq, row.ack, 0, true, true);
            EXPECT_EQ(r.action == kInvalid, row.why != none);
            if (r.action == kInvalid) {
                EXPECT_EQ(to_string(r.why), to_string(row.why));
            }
        }
    }
}

TEST(TcpOffers, OfASynWithoutOptionsAreThoseOfTheLastOne) {
    Conn track;
    const auto syn = [&](std::uint32_t seq, const std::vector<std::uint8_t>& options) {
        const TcpSegment s = segment(seq, 0, 1000, tcp_flag::syn, 0, options);
        EXPECT_EQ(tcp_track(track, syn_sent, Direction::original, false, false, s, {}).action,
                  kAccept);
    };
    tcp_start(track, segment(1, 0, 1000, tcp_flag::syn, 0, {3, 3, 200, 1, 4, 2, 1, 1}), {});
    const auto scale = [&] { return track.tcp_side(0).scale(); };
    const auto flags = [&] {
        return track.tcp_flags[0] & (tcp_side::window_scale | tcp_side::sack);
    };
    EXPECT_EQ(scale(), 14u);  // RFC 7323 section 2.3
    EXPECT_EQ(flags(), tcp_side::window_scale | tcp_side::sack);
    syn(100, {});
    EXPECT_EQ(scale(), 14u);
    EXPECT_EQ(flags(), tcp_side::window_scale | tcp_side::sack);
    // Timestamps alone are options.
    syn(200, {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0});
    EXPECT_EQ(scale(), 0u);
    EXPECT_EQ(flags(), 0);
}

void expect_same_sides(const Conn& first, const Conn& second) {
    Conn a = first, b = second;
    for (unsigned d = 0; d < 2; ++d) {
        const TcpSideRef x = a.tcp_side(d), y = b.tcp_side(d);
        EXPECT_EQ(x.end, y.end);
        EXPECT_EQ(x.max_end, y.max_end);
        EXPECT_EQ(x.max_ack, y.max_ack);
        EXPECT_EQ(x.max_win, y.max_win);
        EXPECT_EQ(x.marks & ~tcp_mark::brief, y.marks & ~tcp_mark::brief);
        EXPECT_EQ(x.flags, y.flags);
        EXPECT_EQ(a.tcp_near.cover[d], b.tcp_near.cover[d]);
    }
}

// What the fast path accepts, the slow path accepts with the same outcome; and a connection whose
// segments go either way comes to the same as one whose segments all take the slow path: over
// conversations that go right mostly, and wrong in every field now and then.
TEST(TcpInOrder, IsTrackingCutShort) {
    std::mt19937 random(1);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    const std::vector<std::vector<std::uint8_t>> option_sets{
        {},
        {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2},
        {1, 1, 5, 10, 0, 0, 0x10, 0, 0, 0, 0x20, 0},
        {8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1}};
    const std::uint8_t kinds[] = {tcp_flag::ack | tcp_flag::psh,
                                  tcp_flag::ack | tcp_flag::fin,
                                  tcp_flag::rst,
                                  tcp_flag::rst | tcp_flag::ack,
                                  tcp_flag::syn,
                                  tcp_flag::psh};
    unsigned shortcuts = 0, segments = 0, recalled = 0, far_behind = 0;
    for (unsigned conversation = 0; conversation < 4000 && !HasFailure(); ++conversation) {
        // All of the segments of one take the slow path, so it knows the last one always.
        Conn exact, shortened;
        std::uint32_t next[2] = {static_cast<std::uint32_t>(random()),
                                 static_cast<std::uint32_t>(random())};
        const TcpOptions options{.liberal = below(8) == 0};
        std::vector<std::uint8_t> offers{1, 3, 3, static_cast<std::uint8_t>(below(15)), 1, 1, 4, 2};
        if (below(2) == 0) offers.clear();
        // Windows near the largest, which are covered soon, or any.
        const bool steady_windows = below(2) == 0;
        tcp_start(exact, segment(next[0]++, 0, 60000, tcp_flag::syn, 0, offers), options);
        TcpResult r = tcp_track(
            exact, syn_sent, Direction::reply, false, false,
            segment(next[1]++, next[0], 60000, tcp_flag::syn | tcp_flag::ack, 0, offers), options);
        r = tcp_track(exact, r.state, Direction::original, true, false,
                      segment(next[0], next[1], 60000, tcp_flag::ack, 0, {}), options);
        ASSERT_EQ(r.state, established);
        ASSERT_TRUE(r.assured);
        shortened = exact;
        TcpState state = r.state;
        // How much further a count of repetitions may be: of each window update that follows upon
        // a segment that took the fast path, one.
        unsigned updates = 0;
        while (state == established && segments < 4'000'000 && below(200) != 0) {
            const unsigned d = below(2);
            const auto& opts = option_sets[below(8) < 5 ? 0 : below(4)];
            std::uint32_t seq = next[d], ack = next[1 - d];
            auto win = static_cast<std::uint16_t>(below(30) == 0 ? 0 : random());
            if (steady_windows && below(10) != 0)
                win = static_cast<std::uint16_t>(50000 + below(9));
            std::uint8_t flags = tcp_flag::ack;
            // Without data when there is news to acknowledge, and now and then without either.
            const bool news = ack != exact.tcp_near.side[d].max_ack;
            const std::uint32_t len = below(news ? 2 : 8) == 0 ? 0 : below(1500);
            switch (below(16)) {
                case 0: seq += below(3000) - 1500; break;
                case 1: ack += below(140'000) - 100'000; break;
                case 2: flags = kinds[below(6)]; break;
                case 3: seq = below(UINT32_MAX); break;
                case 4: seq = exact.tcp_near.side[d].max_end + below(3) - 1; break;
                case 5: ack -= below(2000); break;
                case 6: ack -= below(1u << 24); break;
                case 7:  // what came last, once more, or almost
                    seq = exact.tcp_far.last.seq;
                    ack = exact.tcp_far.last.ack;
                    win = below(4) == 0 ? win : exact.tcp_far.last.win;
                    break;
                default: break;
            }
            const TcpSegment s = segment(seq, ack, win, flags, len, opts);
            const auto dir = static_cast<Direction>(d);
            const std::uint32_t behind = exact.tcp_near.side[1 - d].end - s.ack;
            const TcpResult want = tcp_track(exact, state, dir, true, true, s, options);
            const TcpLast& last = exact.tcp_far.last;
            ++segments;
            bool unacked = false;
            TcpResult got;
            const Conn before = shortened;
            if (tcp_in_order(shortened.tcp_near, shortened.tcp_marks, dir, s, unacked)) {
                ++shortcuts;
                far_behind += behind > kTcpMinAckWindow;
                got.state = established;
                got.timeout = unacked ? TcpTimeout::unacknowledged : TcpTimeout::by_state;
                updates = 0;
                ASSERT_EQ(last.retransmits, 0);
            } else {
                ASSERT_EQ(std::memcmp(&shortened, &before, sizeof before), 0);
                shortened.recall_last();
                const TcpLast& known = shortened.tcp_far.last;
                recalled += known.vague;
                if (known.vague && known.end == seq + len && known.ack == ack) updates = 1;
                got = tcp_track(shortened, state, dir, true, true, s, options);
            }
            EXPECT_EQ(got.action, want.action);
            EXPECT_EQ(got.state, want.state);
            expect_same_sides(shortened, exact);
            Conn copy = shortened;
            copy.recall_last();
            const TcpLast& have = copy.tcp_far.last;
            EXPECT_EQ(have.end, last.end);
            EXPECT_EQ(have.ack, last.ack);
            EXPECT_EQ(have.dir, last.dir);
            EXPECT_EQ(have.kind, last.kind);
            if (!have.vague) {
                EXPECT_EQ(have.seq, last.seq);
                EXPECT_EQ(have.win, last.win);
            }
            if (have.retransmits == last.retransmits) {
                EXPECT_EQ(got.timeout, want.timeout);
                if (have.retransmits == 0) updates = 0;
            } else {
                EXPECT_EQ(have.retransmits, last.retransmits + updates);
            }
            ASSERT_FALSE(HasFailure())
                << "conversation " << conversation << ", segment " << segments;
            state = want.state;
            if (want.action == kAccept && s.seq == next[d]) next[d] += s.payload_len;
        }
    }
    EXPECT_GT(shortcuts, segments / 10);
    EXPECT_LT(shortcuts, segments);
    EXPECT_GT(recalled, 1000u);
    EXPECT_GT(far_behind, 100u);
}

}  // namespace
}  // namespace postern
