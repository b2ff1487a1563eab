// SPDX-License-Identifier: BSD-3-Clause
// Reassembly of control streams.
#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "toy_helpers.h"

namespace postern {
namespace {

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
        assembler.recycle(s);
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
                assembler.recycle(s);
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
    assembler.recycle(s);
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
    assembler.recycle(s);
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

TEST_F(StreamTest, WithoutABufferLeftTheLeastRecentlyUsedChangesHands) {
    std::vector<Stream> others(4);
    for (Stream& o : others) {
        assembler.start(o, 0);
        assembler.push(o, 1, 0, bytes("half"), lines);
    }
    open();
    EXPECT_EQ(push(0, "whole\n"), BlindCause::none);
    EXPECT_EQ(push(6, "half"), BlindCause::none);
    EXPECT_EQ(s.state, StreamState::open);
    EXPECT_EQ(others[0].state, StreamState::blind);
    EXPECT_EQ(others[0].buffer, 0u);
    for (unsigned i = 1; i < 4; ++i)
        EXPECT_EQ(others[i].state, StreamState::open);
    EXPECT_EQ(push(10, " whole\n"), BlindCause::none);
    EXPECT_EQ(all(), "whole\nhalf whole\n");
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
        assembler.recycle(s);
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
        assembler.recycle(s);
        EXPECT_EQ(assembler.buffers_free(), 5u);
    }
}

TEST_F(LongStreamTest, WithoutALongOneLeftTheLeastRecentlyUsedChangesHands) {
    Stream other;
    assembler.start(other, 0);
    assembler.push(other, 1, 0, bytes(std::string(100, 'x')), lines, longest);
    open();
    EXPECT_EQ(push(0, std::string(64, 'x')), BlindCause::none);
    EXPECT_EQ(push(64, "x"), BlindCause::none);
    EXPECT_EQ(other.state, StreamState::blind);
    EXPECT_EQ(push(65, "x\n"), BlindCause::none);
    EXPECT_EQ(all(), std::string(66, 'x') + "\n");
}

TEST_F(StreamTest, WithoutAnyBufferItBlinds) {
    Assembler none(0, 64);
    Stream alone;
    none.start(alone, 99);
    EXPECT_EQ(none.push(alone, 100, 0, bytes("half"), lines), BlindCause::no_buffer);
    EXPECT_EQ(alone.state, StreamState::blind);
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
        assembler.recycle(s);
        ASSERT_EQ(assembler.buffers_free(), free);
    }
}

}  // namespace
}  // namespace postern
