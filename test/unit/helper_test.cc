// SPDX-License-Identifier: BSD-3-Clause
// The helper framework with toy helpers: streams, scanner, guards, engine. The shipped helpers are
// tested by their dialogues.
#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "helper/engine.h"
#include "helper/registry.h"

namespace postern {
namespace {

Bytes bytes(std::string_view s) {
    return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
std::string text(Bytes b) {
    return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// ---------------------------------------------------------------- streams

/// A reader by lines that keeps what it was given and checks that nothing is shown twice as fresh.
struct Lines {
    std::vector<std::string> got;
    std::size_t operator()(Bytes run, std::size_t fresh) {
        EXPECT_LE(fresh, run.size());
        const std::string all = text(run);
        EXPECT_EQ(all.substr(0, fresh).find('\n'), std::string::npos);
        std::size_t done = 0;
        for (std::size_t lf; (lf = all.find('\n', done)) != std::string::npos; done = lf + 1)
            got.push_back(all.substr(done, lf + 1 - done));
        return done;
    }
};

struct StreamTest : ::testing::Test {
    explicit StreamTest(std::uint32_t longest_bytes = 0)
        : assembler(4, 64, longest_bytes == 0 ? 0 : 1, longest_bytes), longest(longest_bytes) {}

    Assembler assembler;
    std::uint32_t longest;
    Stream s;
    Lines lines;
    std::uint32_t isn = 1000;

    void open() { assembler.start(s, isn); }
    /// `at` counts from the stream's first byte.
    BlindCause push(std::int64_t at, std::string_view payload, std::uint8_t flags = 0) {
        assembler.settle(s);
        return assembler.push(s, isn + 1 + static_cast<std::uint32_t>(at), flags, bytes(payload),
                              lines, longest);
    }
    void follow_the_model();
    std::string all() const {
        return std::accumulate(lines.got.begin(), lines.got.end(), std::string{});
    }
};

TEST_F(StreamTest, WholeLineIsReadWithoutABuffer) {
    open();
    EXPECT_EQ(push(0, "one\r\ntwo\n"), BlindCause::none);
    EXPECT_EQ(lines.got, (std::vector<std::string>{"one\r\n", "two\n"}));
    EXPECT_EQ(assembler.buffers_free(), 4u);
}

TEST_F(StreamTest, EverySplitIntoThreeGivesTheSameLines) {
    const std::string whole = "first\r\n\r\nsecond line\nlast\r\n";
    for (const std::uint32_t start : {1000u, 0xffffffffu, 0xfffffff0u}) {
        for (std::size_t a = 0; a <= whole.size(); ++a) {
            for (std::size_t b = a; b <= whole.size(); ++b) {
                s = {};
                lines = {};
                isn = start;
                open();
                const auto b_at = static_cast<std::int64_t>(b), a_at = static_cast<std::int64_t>(a);
                push(0, whole.substr(0, a));
                push(a_at, whole.substr(a, b - a));
                push(b_at, whole.substr(b));
                ASSERT_EQ(all(), whole) << a << ' ' << b;
                ASSERT_EQ(lines.got.size(), 4u);
                s = {};
                lines = {};
                open();
                push(b_at, whole.substr(b));
                push(a_at, whole.substr(a, b - a));
                push(0, whole.substr(0, a));
                ASSERT_EQ(all(), whole) << "backwards " << a << ' ' << b;
                assembler.settle(s);
                ASSERT_EQ(assembler.buffers_free(), 4u);
            }
        }
    }
}

TEST_F(StreamTest, FirstCopyOfAByteWins) {
    open();
    push(0, "abc");
    push(0, "XYZdef\n");  // the first three are old
    push(4, "???");
    EXPECT_EQ(lines.got, std::vector<std::string>{"abcdef\n"});
    lines = {};
    push(9, "CD");  // early: a hole of two before it
    push(7, "abXX");
    push(7, "abXXef\n");
    EXPECT_EQ(lines.got, std::vector<std::string>{"abCDef\n"});
    EXPECT_EQ(assembler.buffers_free(), 4u);
}

TEST_F(StreamTest, EarlyBytesBeatTheLaterCopyThatFillsTheHole) {
    open();
    push(2, "2");
    push(5, "5");
    push(8, "8");
    push(1, "abcdefghi\n");  // covers all of them, still early
    push(0, "0");
    EXPECT_EQ(lines.got, std::vector<std::string>{"0a2cd5fg8i\n"});
}

TEST_F(StreamTest, ALineMayFillTheBufferButNotExceedIt) {
    const std::string fits = std::string(63, 'x') + "\n";
    for (std::size_t cut = 0; cut <= fits.size(); ++cut) {
        s = {};
        lines = {};
        open();
        push(0, "ab\n" + fits.substr(0, cut));
        EXPECT_EQ(push(3 + static_cast<std::int64_t>(cut), fits.substr(cut)), BlindCause::none);
        ASSERT_EQ(lines.got.size(), 2u) << cut;
    }
    s = {};
    open();
    EXPECT_EQ(push(0, std::string(64, 'x')), BlindCause::none);
    EXPECT_EQ(push(64, "\n"), BlindCause::overflow);
    EXPECT_EQ(s.state, StreamState::blind);
    EXPECT_EQ(push(65, "more\n"), BlindCause::none);  // for good, and counted once
    assembler.settle(s);
    EXPECT_EQ(assembler.buffers_free(), 4u);
}

TEST_F(StreamTest, AGapThatStaysOpenBlinds) {
    open();
    push(0, "one\n");
    EXPECT_EQ(push(5, std::string(63, 'x')), BlindCause::none);
    EXPECT_EQ(push(68, "x"), BlindCause::gap);
    EXPECT_EQ(s.state, StreamState::blind);
    push(4, "\n");
    EXPECT_EQ(all(), "one\n");

    s = {};
    open();
    for (int i = 0; i < static_cast<int>(Assembler::kMaxRanges); ++i)
        EXPECT_EQ(push(2 + 2 * i, "x"), BlindCause::none);
    EXPECT_EQ(push(40, "x"), BlindCause::gap);
}

TEST_F(StreamTest, BytesInOrderAreTakenWithAFullListOfRanges) {
    open();
    for (int i = 0; i < static_cast<int>(Assembler::kMaxRanges); ++i)
        push(4 + 2 * i, "x");
    EXPECT_EQ(push(0, "a\n"), BlindCause::none);
    EXPECT_EQ(push(2, "bcdefghijklmnopqrst\n"), BlindCause::none);
    EXPECT_EQ(all(), "a\nbcxexgxixkxmxoxqxst\n");
}

TEST_F(StreamTest, WithoutASynItIsMidstream) {
    EXPECT_EQ(push(0, ""), BlindCause::none);
    EXPECT_EQ(push(0, "one\n"), BlindCause::midstream);
    open();
    EXPECT_EQ(push(0, "one\n"), BlindCause::none);
    EXPECT_TRUE(lines.got.empty());
}

TEST_F(StreamTest, SynMayCarryPayloadAndComeAgain) {
    EXPECT_EQ(push(-1, "one\n", stream_flag::syn), BlindCause::none);
    EXPECT_EQ(push(-1, "one\n", stream_flag::syn), BlindCause::none);
    push(4, "two\n");
    EXPECT_EQ(all(), "one\ntwo\n");
    s = {};
    lines = {};
    open();
    isn = 5000;  // another sequence number before any payload: a new attempt
    open();
    push(0, "one\n");
    isn = 9000;
    open();  // too late
    isn = 5000;
    push(4, "two\n");
    EXPECT_EQ(all(), "one\ntwo\n");
}

TEST_F(StreamTest, FinEndsItAlsoWhenItComesEarly) {
    open();
    push(4, "two\nthree", stream_flag::fin);
    EXPECT_EQ(s.state, StreamState::open);
    push(0, "one\n");
    EXPECT_EQ(all(), "one\ntwo\n");
    EXPECT_EQ(s.state, StreamState::ended);
    push(13, "\n");
    EXPECT_EQ(all(), "one\ntwo\n");
    assembler.settle(s);
    EXPECT_EQ(assembler.buffers_free(), 4u);
}

TEST_F(StreamTest, NothingIsReadBeyondTheFin) {
    open();
    push(0, "one\ntw", stream_flag::fin);
    push(6, "o\n");
    push(0, "one\ntwo\n");
    EXPECT_EQ(all(), "one\n");

    s = {};
    lines = {};
    open();
    push(4, "two\nthree\n");  // early, and the FIN that comes now says that it is too much
    push(8, "", stream_flag::fin);
    push(0, "one\n");
    EXPECT_EQ(all(), "one\ntwo\n");
    EXPECT_EQ(s.state, StreamState::ended);
}

TEST_F(StreamTest, WithoutABufferItBlinds) {
    std::vector<Stream> others(4);
    for (Stream& o : others) {
        assembler.start(o, 0);
        assembler.push(o, 1, 0, bytes("half"), lines);
    }
    open();
    EXPECT_EQ(push(0, "whole\n"), BlindCause::none);
    EXPECT_EQ(push(6, "half"), BlindCause::no_buffer);
    EXPECT_EQ(s.state, StreamState::blind);
}

struct LongStreamTest : StreamTest {
    LongStreamTest() : StreamTest(200) {}
};

TEST_F(LongStreamTest, WhatOutgrowsItsBufferMovesToALongOne) {
    const std::string whole = std::string(199, 'x') + "\n";
    for (const std::size_t piece : {1u, 7u, 63u, 64u, 65u, 199u, 200u}) {
        s = {};
        lines = {};
        open();
        for (std::size_t at = 0; at < whole.size(); at += piece)
            ASSERT_EQ(push(static_cast<std::int64_t>(at), whole.substr(at, piece)),
                      BlindCause::none)
                << piece;
        EXPECT_EQ(all(), whole) << piece;
        assembler.settle(s);
        EXPECT_EQ(assembler.buffers_free(), 5u) << piece;
    }
}

TEST_F(LongStreamTest, SoDoEarlyBytesThatTheOtherHasNoRoomFor) {
    open();
    EXPECT_EQ(push(60, "abc"), BlindCause::none);
    EXPECT_EQ(push(150, std::string(49, 'z') + "\n"), BlindCause::none);
    EXPECT_EQ(push(0, std::string(60, 'x')), BlindCause::none);
    EXPECT_EQ(push(63, std::string(87, 'y')), BlindCause::none);
    EXPECT_EQ(all(),
              std::string(60, 'x') + "abc" + std::string(87, 'y') + std::string(49, 'z') + "\n");
    EXPECT_EQ(push(401, "z"), BlindCause::gap);
}

TEST_F(LongStreamTest, ItHasAnEnd) {
    for (const std::size_t piece : {10u, 201u}) {
        s = {};
        open();
        BlindCause cause = BlindCause::none;
        for (std::size_t at = 0; at < 201 && cause == BlindCause::none; at += piece)
            cause = push(static_cast<std::int64_t>(at), std::string(piece, 'x'));
        EXPECT_EQ(cause, BlindCause::overflow) << piece;
        assembler.settle(s);
        EXPECT_EQ(assembler.buffers_free(), 5u);
    }
}

TEST_F(LongStreamTest, WithoutALongOneItBlinds) {
    Stream other;
    assembler.start(other, 0);
    assembler.push(other, 1, 0, bytes(std::string(100, 'x')), lines, longest);
    open();
    EXPECT_EQ(push(0, std::string(64, 'x')), BlindCause::none);
    EXPECT_EQ(push(64, "x"), BlindCause::no_buffer);
}

TEST_F(StreamTest, RandomSegmentsFollowTheModel) {
    follow_the_model();
}
TEST_F(LongStreamTest, RandomSegmentsFollowTheModel) {
    follow_the_model();
}

// Random segments of a random text, with overlaps, duplicates and lies about old bytes; the model
// is the rule itself: the first copy of each byte, as far as it is contiguous.
void StreamTest::follow_the_model() {
    const std::uint32_t free = assembler.buffers_free();
    const bool may_grow = longest != 0;
    std::mt19937 rng(20240607);
    const auto pick = [&](std::size_t n) {
        return std::uniform_int_distribution<std::size_t>(0, n)(rng);
    };
    for (int round = 0; round < 3000; ++round) {
        s = {};
        lines = {};
        isn = static_cast<std::uint32_t>(rng());
        open();
        std::vector<int> model(900, -1);
        std::size_t next = 0;
        bool blind = false;
        for (int i = 0; i < 60 && !blind && next < 300; ++i) {
            const std::size_t at =
                next + pick(may_grow ? 90 : 30) - std::min<std::size_t>(next, pick(20));
            std::string payload;
            for (std::size_t n = pick(20); payload.size() < n;)
                payload += pick(may_grow ? 90 : 7) == 0 ? '\n' : static_cast<char>('a' + pick(25));
            blind = push(static_cast<std::int64_t>(at), payload) != BlindCause::none;
            if (blind) break;
            for (std::size_t k = 0; k < payload.size(); ++k)
                if (model[at + k] < 0) model[at + k] = payload[k];
            while (model[next] >= 0)
                ++next;
            std::string expected;
            for (std::size_t k = 0; k < next; ++k)
                expected += static_cast<char>(model[k]);
            expected.resize(expected.rfind('\n') + 1);
            ASSERT_EQ(all(), expected) << "round " << round;
        }
        assembler.stop(s, StreamState::ended);
        assembler.settle(s);
        ASSERT_EQ(assembler.buffers_free(), free);
    }
}

// ---------------------------------------------------------------- toy helpers

/// Says what it was given: the class to expect, by the first letters of the message.
void toy_message(View& view, Emit& emit) noexcept {
    PinHole r;
    r.src = PinHole::exact(view.listener());
    r.dst = view.speaker();
    r.dport = Be16::from_host(2000);
    r.protocol = proto::udp;
    Cursor c{view.message};
    c.skip(2);
    switch (c.u8().value_or(0)) {
        case 'o': emit.expect(r); break;
        case 't':  // three of a class that allows two
            for (std::uint16_t i = 0; i < 3; ++i) {
                r.dport = Be16::from_host(static_cast<std::uint16_t>(3000 + i));
                emit.expect(r);
            }
            break;
        case 'p':
            r.dport = Be16::from_host(80);
            emit.expect(r);
            break;
        case 'd':
            r.dport = Be16::from_host(6005);
            emit.expect(r);
            break;
        case 'f':
            r.dst = IpAddr::v4(203, 0, 113, 9);
            emit.expect(r);
            break;
        case 'F':
            r.dst = IpAddr::v4(203, 0, 113, 9);
            r.class_index = 1;
            emit.expect(r);
            break;
        case '6':
            r.dst = *IpAddr::parse("2001:db8::1");
            emit.expect(r);
            break;
        case 'a': emit.read_all(true); break;
        case 'n': emit.read_all(false); break;
        case 'b': emit.blind(HelperCounter::blind_encrypted); break;
        default: emit.parse_error(); break;
    }
    emit.count(0);
    auto n = view.load<std::uint32_t>();
    view.save(++n);
}

unsigned destroyed = 0;
void toy_destroy(const Tuple&, std::span<std::uint8_t, kPrivateBytes> state, Emit&) noexcept {
    destroyed += state[0];
}

/// A length byte, then so many bytes. From 0x80 on: nothing, then length less 0x80 bytes to pass
/// over. 0xff: a message, then 1000 bytes to pass over for each message before.
Measured toy_measure(Direction, Bytes b, std::size_t /*seen*/,
                     std::span<const std::uint8_t, kPrivateBytes> state) noexcept {
    if (b.empty()) return 0;
    if (b[0] == 0xff) return {1, 1000u * state[0]};
    if (b[0] >= 0x80) return {0, 1u + b[0] - 0x80u};
    return b[0] == 0 ? -1 : b[0] + 1;
}

constexpr ExpectClass kToyClasses[] = {{"data", "", 2, 30}, {"media", "", 2, 30, true}};
constexpr ParamDesc kToyParams[] = {kLooseParam,
                                    kDenyPortsParam,
                                    {"size", ParamType::uint, "7", "", 9},
                                    {"near", ParamType::networks, "", ""}};
constexpr CounterDesc kToyCounters[] = {{"woken", "times it ran"}};
constexpr PatternDesc kToyPatterns[] = {{3, "^X-", std::nullopt}, {4, "^CX-", Direction::original}};
constexpr PatternDesc kOtherPatterns[] = {{1, "^X-", std::nullopt}, {2, "^Y-", std::nullopt}};
constexpr HelperDesc kToy{.name = "toy",
                          .help = "",
                          .transports = transport::tcp,
                          .framing = Framing::line,
                          .classes = kToyClasses,
                          .params = kToyParams,
                          .counters = kToyCounters,
                          .patterns = kToyPatterns,
                          .on_message = toy_message,
                          .on_destroy = toy_destroy};
constexpr HelperDesc kOther{.name = "other",
                            .help = "",
                            .transports = transport::tcp,
                            .framing = Framing::line,
                            .counters = kToyCounters,
                            .patterns = kOtherPatterns,
                            .on_message = toy_message};
constexpr HelperDesc kMeasured{.name = "measured",
                               .help = "",
                               .transports = transport::tcp,
                               .framing = Framing::measured,
                               .classes = kToyClasses,
                               .counters = kToyCounters,
                               .measure = toy_measure,
                               .on_message = toy_message};
constexpr HelperDesc kDatagram{.name = "datagram",
                               .help = "",
                               .transports = transport::udp,
                               .framing = Framing::datagram,
                               .classes = kToyClasses,
                               .counters = kToyCounters,
                               .patterns = kToyPatterns,
                               .on_message = toy_message};
constexpr HelperDesc kProof{.name = "proof",
                            .help = "",
                            .transports = transport::tcp,
                            .framing = Framing::line,
                            .needs_proof = true,
                            .classes = kToyClasses,
                            .counters = kToyCounters,
                            .patterns = kToyPatterns,
                            .on_message = toy_message};

enum Id : HelperId {
    kToyId = 1,
    kOtherId,
    kMeasuredId,
    kDatagramId,
    kProofId,
    kLooseId
};

struct EngineTest : ::testing::Test {
    std::unique_ptr<const HelperSet> set;
    std::unique_ptr<HelperEngine> engine;
    Emit emit;
    HelperConn* conn = nullptr;
    std::array<std::uint32_t, 2> next{100, 200};

    EngineTest() {
        const std::vector<HelperConfig> configs{
            {kToyId, "", &kToy, {{"deny_ports", "5000,6000-6063"}}},
            {kOtherId, "", &kOther, {}},
            {kMeasuredId, "", &kMeasured, {}},
            {kDatagramId, "", &kDatagram, {}},
            {kProofId, "", &kProof, {}},
            {kLooseId, "relaxed", &kToy, {{"loose", "true"}, {"size", "9"}}}};
        auto made = HelperSet::create(configs);
        EXPECT_TRUE(made.ok()) << made.error().message;
        set = std::move(made).value();
        auto started = HelperEngine::create(*set, {3, 2, 256});
        EXPECT_TRUE(started.ok());
        engine = std::move(started).value();
    }

    static Tuple tuple(std::uint8_t protocol = proto::tcp) {
        return {IpAddr::v4(192, 0, 2, 1), IpAddr::v4(198, 51, 100, 2), Be16::from_host(40000),
                Be16::from_host(21), protocol};
    }
    void open(HelperId id) {
        conn = engine->attach(id, tuple(), 77);
        ASSERT_NE(conn, nullptr);
        next = {100, 200};
        engine->on_syn(conn, Direction::original, 99);
        engine->on_syn(conn, Direction::reply, 199);
    }
    std::vector<PinHole> say(std::string_view payload, Direction d = Direction::original) {
        engine->on_segment(conn, d, next[index(d)], 0, bytes(payload), emit);
        next[index(d)] += static_cast<std::uint32_t>(payload.size());
        return {emit.requests().begin(), emit.requests().end()};
    }
    std::uint64_t count(HelperId id, std::string_view name) {
        std::uint64_t v = ~std::uint64_t{0};
        engine->for_each_counter(id, [&](const CounterValue& c) {
            if (c.name == name) v = c.value;
        });
        return v;
    }
};

TEST_F(EngineTest, NothingIsReadBeyondTheEndOfAPage) {
    // Two pages, of which the second must not be touched.
    constexpr std::size_t kPage = 4096;
    void* pages =
        mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(pages, MAP_FAILED);
    auto* begin = static_cast<std::uint8_t*>(pages);
    ASSERT_EQ(mprotect(begin + kPage, kPage, PROT_NONE), 0);
    const HelperDesc* rtsp = find_helper("rtsp");
    ASSERT_NE(rtsp, nullptr);
    Scratch scratch;
    const auto scanner = Scanner::compile({&rtsp, 1}, scratch);
    ASSERT_TRUE(scanner.ok());
    const std::string text =
        "RTSP/1.0 200 OK\r\nCSeq: 2\r\nTransport: RTP/AVP;client_port=5000\r\n";
    Matches matches;
    for (std::size_t length = 1; length < 1000; ++length) {
        std::uint8_t* at = begin + kPage - length;
        for (std::size_t i = 0; i < length; ++i)
            at[i] = static_cast<std::uint8_t>(text[i % text.size()]);
        scanner.value().scan(scratch, {at, length}, 0, matches);
        EXPECT_EQ(matches.count != 0, length >= 5) << length;
    }
    munmap(pages, 2 * kPage);
}

TEST_F(EngineTest, OnlyAMatchWakesTheParser) {
    open(kToyId);
    EXPECT_EQ(say("nothing here\r\nnor X-o here\r\n").size(), 0u);
    EXPECT_EQ(count(kToyId, "messages"), 0u);
    EXPECT_EQ(count(kToyId, "scanned_bytes"), 28u);
    const auto asked = say("line\r\nX-one\r\nmore\r\n");
    ASSERT_EQ(asked.size(), 1u);
    EXPECT_EQ(asked[0].timeout_s, 30u);
    EXPECT_EQ(asked[0].dst, conn->original.src);
    EXPECT_EQ(asked[0].src, PinHole::exact(conn->original.dst));
    EXPECT_EQ(count(kToyId, "messages"), 1u);
    EXPECT_EQ(count(kToyId, "woken"), 1u);
    EXPECT_EQ(say("line\r\n").size(), 0u);
}

TEST_F(EngineTest, MatchesOfOtherHelpersAreNotItsOwn) {
    open(kOtherId);
    say("Y-?\nCX-?\n");
    EXPECT_EQ(count(kOtherId, "messages"), 1u);
    open(kToyId);
    say("Y-?\nCX-?\n");
    EXPECT_EQ(count(kToyId, "messages"), 1u);
}

TEST_F(EngineTest, TheWrongSideIsRefused) {
    open(kToyId);
    say("CX-o\n", Direction::reply);
    EXPECT_EQ(count(kToyId, "wrong_direction"), 1u);
    EXPECT_EQ(count(kToyId, "messages"), 0u);
    say("CX-o\n", Direction::original);
    EXPECT_EQ(count(kToyId, "messages"), 1u);
}

TEST_F(EngineTest, MoreMatchesThanAScanReportsAreAllRead) {
    open(kToyId);
    std::string many;
    for (int i = 0; i < 40; ++i)
        many += "X-?\n";
    say(many);
    EXPECT_EQ(count(kToyId, "messages"), 40u);
}

TEST_F(EngineTest, GuardsRefuseByName) {
    open(kToyId);
    for (const auto& [message, counter] :
         std::map<std::string, std::string>{{"X-p\n", "privileged_port"},
                                            {"X-d\n", "denied_port"},
                                            {"X-f\n", "third_party_address"},
                                            {"X-6\n", "wrong_family"}}) {
        EXPECT_TRUE(say(message).empty()) << counter;
        EXPECT_EQ(count(kToyId, counter), 1u) << counter;
    }
    EXPECT_EQ(say("X-F\n").size(), 1u);
    EXPECT_EQ(say("X-t\n").size(), 2u);
    EXPECT_EQ(count(kToyId, "class_limit"), 1u);
    EXPECT_EQ(count(kToyId, "expectations"), 3u);
    open(kLooseId);
    EXPECT_EQ(say("X-f\n").size(), 1u);
}

TEST_F(EngineTest, AFullEmitKeepsTheLatest) {
    open(kToyId);
    std::string many;
    for (int i = 0; i < 12; ++i)
        many += "X-t\n";
    const auto asked = say(many + "X-f\nX-o\n");
    ASSERT_EQ(asked.size(), std::size_t{Emit::kCapacity});
    EXPECT_EQ(asked.back().dport.host(), 2000);
    EXPECT_EQ(count(kToyId, "superseded"), 25u - Emit::kCapacity);
    EXPECT_EQ(count(kToyId, "third_party_address"), 1u);
}

TEST_F(EngineTest, ReadAllWakesForEveryLineOfThatDirection) {
    open(kToyId);
    say("?\nX-all\n?\n?\nX-none\n?\n");
    EXPECT_EQ(count(kToyId, "messages"), 4u);
    say("?\n", Direction::reply);
    EXPECT_EQ(count(kToyId, "messages"), 4u);
}

TEST_F(EngineTest, NothingOpensBeforeTheProof) {
    open(kProofId);
    EXPECT_TRUE(say("X-o\n").empty());
    EXPECT_EQ(count(kProofId, "not_proven"), 1u);
    conn->proven = true;
    EXPECT_EQ(say("X-o\n").size(), 1u);
}

TEST_F(EngineTest, BlindIsForBothAndForGood) {
    open(kToyId);
    say("X-b\nX-o\n");
    EXPECT_TRUE(conn->blind(Direction::original));
    EXPECT_TRUE(conn->blind(Direction::reply));
    EXPECT_TRUE(say("X-o\n").empty());
    EXPECT_TRUE(say("X-o\n", Direction::reply).empty());
    EXPECT_EQ(count(kToyId, "blind_encrypted"), 1u);
}

TEST_F(EngineTest, ALineLongerThanTheBufferBlindsWhereverItWasCut) {
    const std::string text = std::string(256, 'a') + "\nX-o\n";
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        open(kToyId);
        EXPECT_TRUE(say(text.substr(0, cut)).empty());
        EXPECT_TRUE(say(text.substr(cut)).empty()) << cut;
        EXPECT_TRUE(conn->blind(Direction::original)) << cut;
        engine->detach(conn, emit);
    }
    EXPECT_EQ(count(kToyId, "blind_overflow"), text.size() + 1);
    EXPECT_EQ(engine->buffers_free(), 2u);
}

TEST_F(EngineTest, ARunLongerThanTheBufferIsScannedOnceUnlessALineIsTooLong) {
    const auto line = [](std::size_t n) { return std::string(n - 1, 'a') + "\n"; };
    for (std::size_t before = 1; before <= 300; ++before) {
        const std::string fits =
            std::string(before, '\n') + line(256) + line(100) + line(256) + "X-o\n";
        open(kToyId);
        const auto scanned = count(kToyId, "scanned_bytes");
        EXPECT_EQ(say(fits).size(), 1u) << before;
        EXPECT_EQ(count(kToyId, "scanned_bytes") - scanned, fits.size()) << before;
        engine->detach(conn, emit);
        open(kToyId);
        EXPECT_TRUE(say(std::string(before, '\n') + line(257) + "X-o\n").empty()) << before;
        EXPECT_TRUE(conn->blind(Direction::original)) << before;
        engine->detach(conn, emit);
    }
}

TEST_F(EngineTest, MeasuredMessagesAreFoundOnEverySplit) {
    const std::string text = {4, '-', 'o', 'o', 'o', 3, '-', 'o', '?', 3, '-', 'x', '?'};
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        open(kMeasuredId);
        const auto before = count(kMeasuredId, "messages");
        const std::size_t n = say(text.substr(0, cut)).size() + say(text.substr(cut)).size();
        EXPECT_EQ(n, 2u) << cut;
        EXPECT_EQ(count(kMeasuredId, "messages") - before, 3u) << cut;
        engine->detach(conn, emit);
    }
    open(kMeasuredId);
    say(std::string_view("\0", 1));
    EXPECT_TRUE(conn->blind(Direction::reply));
    EXPECT_EQ(count(kMeasuredId, "blind_not_protocol"), 1u);
}

TEST_F(EngineTest, WhatIsNoMessageIsPassedOverOnEverySplit) {
    // Five bytes of nothing, a message, 1000 bytes for it (the buffer has 256), another message.
    std::string text = "\x84nnnn";
    text += {3, '-', 'o', '?'};
    text += "\xff" + std::string(1000, '\0');
    text += {3, '-', 'o', '?'};
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        open(kMeasuredId);
        const auto before = count(kMeasuredId, "messages");
        const std::size_t n = say(text.substr(0, cut)).size() + say(text.substr(cut)).size();
        EXPECT_EQ(n, 2u) << cut;
        EXPECT_EQ(count(kMeasuredId, "messages") - before, 3u) << cut;
        EXPECT_EQ(engine->buffers_free(), 2u) << cut;
        engine->detach(conn, emit);
    }
}

TEST_F(EngineTest, BytesPassedOverArePassedOverAgainAfterUndo) {
    open(kMeasuredId);
    say(std::string("\x82") + "n");
    const std::string rest = {'n', 3, '-', 'o', '?'};
    EXPECT_EQ(say(rest).size(), 1u);
    ASSERT_TRUE(engine->undo(conn));
    next[0] -= static_cast<std::uint32_t>(rest.size());
    EXPECT_EQ(say(rest).size(), 1u);
}

TEST_F(EngineTest, DatagramsAreMessages) {
    conn = engine->attach(kDatagramId, tuple(proto::udp), 0);
    engine->on_datagram(conn, Direction::original, bytes("X-o"), emit);
    EXPECT_EQ(emit.requests().size(), 1u);
    engine->on_datagram(conn, Direction::original, bytes("o"), emit);
    EXPECT_TRUE(emit.empty());
    engine->on_datagram(conn, Direction::reply, bytes("CX-o"), emit);
    EXPECT_EQ(count(kDatagramId, "wrong_direction"), 1u);
    engine->on_datagram(conn, Direction::reply, bytes("X-b"), emit);
    engine->on_datagram(conn, Direction::original, bytes("X-o"), emit);
    EXPECT_TRUE(emit.empty());
}

TEST_F(EngineTest, SlotsAndBuffersComeBack) {
    std::vector<HelperConn*> conns;
    for (int i = 0; i < 3; ++i)
        conns.push_back(engine->attach(kToyId, tuple(), 0));
    EXPECT_EQ(engine->attach(kToyId, tuple(), 0), nullptr);
    EXPECT_EQ(count(kToyId, "attach_failed"), 1u);
    EXPECT_EQ(engine->attach(42, tuple(), 0), nullptr);
    for (HelperConn* c : conns) {
        ASSERT_NE(c, nullptr);
        EXPECT_NE(engine->index_of(c), 0u);
        EXPECT_EQ(engine->at(engine->index_of(c)), c);
        engine->detach(c, emit);
    }
    EXPECT_EQ(engine->at(0)->helper, kNoHelper) << "nobody's";
    EXPECT_EQ(engine->index_of(nullptr), 0u);

    destroyed = 0;
    open(kToyId);
    EXPECT_EQ(conn->owner, 77u);
    say("X-?\nhalf");
    say("half", Direction::reply);
    EXPECT_EQ(engine->buffers_free(), 0u);
    engine->detach(conn, emit);
    EXPECT_EQ(destroyed, 1u);
    EXPECT_EQ(engine->buffers_free(), 2u);
    EXPECT_EQ(engine->conns_free(), 3u);
    open(kToyId);
    EXPECT_EQ(conn->state, (std::array<std::uint8_t, kPrivateBytes>{}));
}

TEST_F(EngineTest, ResetEndsBothDirections) {
    open(kToyId);
    say("half");
    engine->on_segment(conn, Direction::reply, next[1], stream_flag::rst, {}, emit);
    EXPECT_TRUE(say(" line\nX-o\n").empty());
    EXPECT_EQ(conn->stream[0].state, StreamState::ended);
    EXPECT_EQ(conn->stream[1].state, StreamState::ended);
    engine->detach(conn, emit);
    EXPECT_EQ(engine->buffers_free(), 2u);
}

// Every split, each packet that asks for something is dropped once and sent again.
TEST_F(EngineTest, UndoneSegmentsAreReadAgain) {
    const std::string text = "line\nX-o\nX-?\ntail\nX-o\nend";
    for (std::size_t a = 0; a <= text.size(); ++a) {
        for (std::size_t b = a; b <= text.size(); ++b) {
            open(kToyId);
            const auto n0 = count(kToyId, "woken");
            std::size_t asked = 0, undone_woken = 0;
            for (const auto& part : {text.substr(0, a), text.substr(a, b - a), text.substr(b)}) {
                const auto before = count(kToyId, "woken");
                const std::uint32_t seq = next[0];
                if (!say(part).empty()) {
                    ASSERT_TRUE(engine->undo(conn)) << a << ' ' << b;
                    ASSERT_FALSE(engine->undo(conn));
                    undone_woken += count(kToyId, "woken") - before;
                    next[0] = seq;
                    asked += say(part).size();
                }
            }
            ASSERT_EQ(asked, 2u) << a << ' ' << b;
            ASSERT_EQ(count(kToyId, "woken") - n0 - undone_woken, 3u);
            View view{conn->original, {}, {}, conn->state, Direction::original};
            ASSERT_EQ(view.load<std::uint32_t>(), 3u) << "private state was turned back too";
            engine->detach(conn, emit);
            ASSERT_EQ(engine->buffers_free(), 2u);
        }
    }
}

// Most segments are not read but skimmed: what comes after them is read as if they had been.
TEST_F(EngineTest, SkimmedSegmentsLeaveTheStreamInOrder) {
    open(kToyId);
    EXPECT_TRUE(say("the first\n").empty());
    EXPECT_TRUE(conn->stream[0].has_data);
    EXPECT_TRUE(engine->undo(conn)) << "the first one is read, like one with a match";
    EXPECT_FALSE(conn->stream[0].has_data);
    next[0] -= 10;
    EXPECT_TRUE(say("the first\n").empty());
    const auto scanned = count(kToyId, "scanned_bytes");
    EXPECT_TRUE(say("line\nand one\n").empty());
    EXPECT_EQ(count(kToyId, "scanned_bytes") - scanned, 13u);
    EXPECT_FALSE(engine->undo(conn)) << "it asked for nothing";
    next[0] -= 8;  // a part of it again, and more
    EXPECT_EQ(say("and one\nX-o\n").size(), 1u);
    engine->on_segment(conn, Direction::original, next[0], 0, {}, emit);
    EXPECT_TRUE(emit.empty());
    EXPECT_FALSE(engine->undo(conn)) << "the last packet is another one now";

    EXPECT_TRUE(say("X").empty());  // waits, so that no line that follows may be skimmed
    EXPECT_EQ(say("-o\nline\n").size(), 1u);
    next[0] += 5;
    EXPECT_TRUE(say("line\n").empty()) << "there is a gap";
    next[0] -= 10;
    EXPECT_EQ(say("X-o\n\n").size(), 1u);
    EXPECT_EQ(engine->buffers_free(), 2u);
    engine->on_segment(conn, Direction::original, next[0] + 5, stream_flag::fin, bytes("line\n"),
                       emit);
    EXPECT_TRUE(say("X-o\n").empty()) << "that was the end";
}

TEST_F(EngineTest, UndoBringsEarlyBytesBack) {
    open(kToyId);
    const auto send = [&](std::uint32_t at, std::string_view payload) {
        engine->on_segment(conn, Direction::original, next[0] + at, 0, bytes(payload), emit);
        return emit.requests().size();
    };
    EXPECT_EQ(send(5, "X-o\ntail"), 0u);
    EXPECT_EQ(send(14, "far"), 0u);
    EXPECT_EQ(send(0, "line\n"), 1u);
    EXPECT_TRUE(engine->undo(conn));
    EXPECT_EQ(send(0, "line\n"), 1u);
    EXPECT_EQ(send(13, "\n"), 0u);
    EXPECT_EQ(send(17, "\nX-o\n"), 1u);
    engine->detach(conn, emit);
    EXPECT_EQ(engine->buffers_free(), 2u);
}

TEST_F(EngineTest, UndoGivesBackABufferTakenAndReleasedByTheSamePacket) {
    for (int i = 0; i < 5; ++i) {
        open(kToyId);
        engine->on_segment(conn, Direction::original, next[0], stream_flag::fin, bytes("X-o\nrest"),
                           emit);
        EXPECT_EQ(emit.requests().size(), 1u);
        EXPECT_TRUE(engine->undo(conn));
        engine->detach(conn, emit);
        EXPECT_EQ(engine->buffers_free(), 2u);
    }
}

TEST_F(EngineTest, ASavedConnectionGoesOnElsewhere) {
    open(kProofId);
    EXPECT_TRUE(say("begins X").empty());  // a message that has not ended
    engine->at(engine->index_of(conn))->proven = true;
    HelperImage image;
    engine->save(*conn, image);
    EXPECT_TRUE(image.there);
    EXPECT_EQ(image.conn.stream[0].fill, 8);

    const auto other = std::move(HelperEngine::create(*set, {3, 2, 256})).value();
    HelperConn* resumed = other->resume(image, tuple(), 5);
    ASSERT_NE(resumed, nullptr);
    EXPECT_EQ(resumed->owner, 5u);
    EXPECT_TRUE(resumed->proven);
    EXPECT_EQ(other->buffers_free(), 1u);
    other->on_segment(resumed, Direction::original, next[0], 0, bytes("\nX-o\n"), emit);
    EXPECT_EQ(emit.requests().size(), 1u);
    EXPECT_EQ(other->buffers_free(), 2u);
    other->detach(resumed, emit);
    EXPECT_EQ(other->conns_free(), 3u);

    // Too much of a message to keep: that direction is blind there, and not here.
    EXPECT_TRUE(say(std::string(HelperImage::kWaiting - 8, 'x')).empty());
    engine->save(*conn, image);
    EXPECT_EQ(image.conn.stream[0].state, StreamState::open);
    const auto long_engine = std::move(HelperEngine::create(*set, {3, 2, 1024})).value();
    conn = long_engine->attach(kToyId, tuple(), 1);
    long_engine->on_syn(conn, Direction::original, 99);
    long_engine->on_segment(conn, Direction::original, 100, 0,
                            bytes(std::string(HelperImage::kWaiting + 1, 'x')), emit);
    long_engine->save(*conn, image);
    EXPECT_EQ(image.conn.stream[0].state, StreamState::blind);
    EXPECT_EQ(image.conn.stream[0].fill, 0);
}

TEST(HelperSet, RefusesWhatIsWrong) {
    const auto error = [](std::vector<HelperConfig> configs) {
        const auto made = HelperSet::create(configs);
        return made.ok() ? std::string("none") : made.error().message;
    };
    EXPECT_EQ(error({}), "none");
    EXPECT_EQ(error({{1, "a", &kToy, {{"loose", "yes"}}}}),
              "helper a, parameter loose: expected true or false, not \"yes\"");
    EXPECT_EQ(error({{1, "", &kToy, {{"size", "10"}}}}),
              "helper toy, parameter size: expected a number up to 9, not \"10\"");
    EXPECT_EQ(error({{1, "", &kToy, {{"colour", "red"}}}}),
              "helper toy, parameter colour: there is none of this name");
    EXPECT_EQ(error({{1, "", &kToy, {{"deny_ports", "1-2,9-8"}}}}),
              "helper toy, parameter deny_ports: expected a port or a range of ports, not \"9-8\"");
    EXPECT_EQ(error({{1, "", &kToy, {{"near", "192.0.2.0/24,192.0.2.1/24"}}}}),
              "helper toy, parameter near: expected networks as in \"192.0.2.0/24,2001:db8::/32\", "
              "not \"192.0.2.1/24\"");
    EXPECT_NE(error({{1, "", &kToy, {}}, {1, "", &kToy, {}}}), "none");
    EXPECT_NE(error({{0, "", &kToy, {}}}), "none");
    EXPECT_NE(error({{1, "", nullptr, {}}}), "none");
    static constexpr PatternDesc kBad[] = {{1, "^(", std::nullopt}};
    static constexpr HelperDesc kBadDesc{.name = "bad",
                                         .help = "",
                                         .transports = transport::tcp,
                                         .framing = Framing::line,
                                         .patterns = kBad,
                                         .on_message = toy_message};
    EXPECT_EQ(error({{1, "", &kBadDesc, {}}}).substr(0, 27), "pattern \"^(\" of helper bad:");
}

TEST(HelperSet, ReadsRangesOfPorts) {
    constexpr ParamDesc kRange{"range", ParamType::ports, "", ""};
    EXPECT_EQ(parse_param(kRange, "").value(), 0u);
    EXPECT_EQ(parse_param(kRange, "50000-50100").value(), 50000u << 16 | 50100u);
    EXPECT_EQ(parse_param(kRange, "1024").value(), 1024u << 16 | 1024u);
    EXPECT_EQ(parse_param(kRange, "65408-65535").value(), 65408u << 16 | 65535u);
    for (const char* wrong : {"1023-1030", "50000-50128", "50100-50000", "50000-50001,50003", "x",
                              "50000-", "50000-65536", " 50000"})
        EXPECT_EQ(
            parse_param(kRange, wrong).error().message,
            "expected a range of at most 128 ports from 1024 on, such as 50000-50100, not \"" +
                std::string(wrong) + "\"");
}

TEST(HelperSet, ParametersHaveTheirDefaults) {
    const std::vector<HelperConfig> configs{
        {7, "", &kToy, {{"deny_ports", "1-2"}, {"near", "192.0.2.0/24,2001:db8::1"}}}};
    const auto made = HelperSet::create(configs);
    ASSERT_TRUE(made.ok());
    const HelperInstance& i = (*made.value())[7];
    EXPECT_EQ(i.name, "toy");
    EXPECT_EQ(i.params[0].number, 0u);
    EXPECT_EQ(i.params[1].text, "1-2");
    EXPECT_EQ(i.params[2].number, 7u);
    ASSERT_EQ(i.params[3].networks.size(), 2u);
    EXPECT_EQ(i.params[3].networks[0].to_string(), "192.0.2.0/24");
    EXPECT_EQ(i.params[3].networks[1].to_string(), "2001:db8::1/128");
    EXPECT_EQ(i.guards.deny_count, 1);
    EXPECT_EQ(made.value()->find(1), nullptr);
}

TEST(Registry, FindsHelpersByName) {
    ASSERT_FALSE(all_helpers().empty());
    for (const HelperDesc* h : all_helpers()) {
        EXPECT_EQ(find_helper(h->name), h);
        EXPECT_FALSE(h->help.empty());
        std::vector<HelperConfig> configs{{1, "", h, {}}};
        ASSERT_TRUE(add_children(configs, find_helper).ok());
        EXPECT_TRUE(HelperSet::create(configs).ok());
    }
    EXPECT_EQ(find_helper("nonesuch"), nullptr);
}

TEST(HelperSet, ReadsListsOfNetworks) {
    const auto made = [](const char* text) {
        std::vector<HelperConfig> configs{
            {1, "", find_helper("q931"), {{"callforward_filter", text}}}};
        EXPECT_TRUE(add_children(configs, find_helper).ok());
        return HelperSet::create(configs);
    };
    const auto set = made("192.0.2.0/24,2001:db8::1");
    ASSERT_TRUE(set.ok());
    const auto networks = (*set.value())[1].params[2].networks;
    ASSERT_EQ(networks.size(), 2u);
    EXPECT_EQ(networks[0].to_string(), "192.0.2.0/24");
    EXPECT_EQ(networks[1].to_string(), "2001:db8::1/128");
    EXPECT_EQ(made("192.0.2.0/24,192.0.2.0/33").error().message,
              "helper q931, parameter callforward_filter: expected networks as in "
              "\"192.0.2.0/24,2001:db8::/32\", not \"192.0.2.0/33\"");
}

TEST(HelperCounters, HaveNamesAndHelp) {
    for (const CounterDesc& c : kHelperCounterTable) {
        EXPECT_FALSE(c.name.empty());
        EXPECT_FALSE(c.help.empty());
    }
}

}  // namespace
}  // namespace postern
