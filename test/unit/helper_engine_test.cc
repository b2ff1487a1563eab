// SPDX-License-Identifier: BSD-3-Clause
// The helper engine with toy helpers: scanner, guards, messages, undo. The shipped helpers are
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

#include "helper/registry.h"
#include "toy_helpers.h"

namespace postern {
namespace {

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
    EXPECT_EQ(asked[0].timeout_ms, 30'000u);
    EXPECT_EQ(asked[0].dst, conn->original.src);
    EXPECT_EQ(asked[0].src, Prefix::exact(conn->original.dst));
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
    constexpr unsigned kPairs = Emit::kCapacity / 2 + 4;
    for (unsigned i = 0; i < kPairs; ++i)
        many += "X-t\n";
    const auto asked = say(many + "X-f\nX-o\n");
    ASSERT_EQ(asked.size(), std::size_t{Emit::kCapacity});
    EXPECT_EQ(asked.back().dport.host(), 2000);
    EXPECT_EQ(count(kToyId, "superseded"), 2 * kPairs + 1 - Emit::kCapacity);
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

TEST_F(EngineTest, NoByteIsMeasuredTwice) {
    open(kProgressId);
    read_in_all = told_wrongly = 0;
    for (int i = 0; i < 200; ++i) {
        say("x");
        say("y;", Direction::reply);  // a message of the other side changes nothing
    }
    say(";tail");
    EXPECT_EQ(read_in_all, 200u + 400u + 5u);
    EXPECT_EQ(told_wrongly, 0u);
}

// Undo takes back what is known of the bytes too: others may come in their place.
TEST_F(EngineTest, WhatIsKnownOfAMessageIsOfItsBytes) {
    std::mt19937 random(1);
    told_wrongly = 0;
    for (int round = 0; round < 300; ++round) {
        open(kProgressId);
        for (int step = 0; step < 30; ++step) {
            const Direction d = random() % 3 == 0 ? Direction::reply : Direction::original;
            const std::uint32_t before = next[index(d)];
            std::string payload(random() % 5, 'x');
            for (char& c : payload)
                c = "vwxyz;"[random() % 6];
            if (random() % 8 == 0) next[index(d)] += 3;  // early: the next one fills the gap
            say(payload, d);
            if (random() % 8 == 0) next[index(d)] = before;
            if (random() % 4 == 0 && engine->undo(conn)) next[index(d)] = before;
            if (random() % 16 != 0) continue;
            HelperImage image;
            engine->save(*conn, image);
            engine->detach(conn, emit);
            const Tuple original = tuple();
            conn = engine->resume(
                image, Applicant{.helper = image.conn.helper, .original = original, .owner = 1});
            ASSERT_NE(conn, nullptr);
        }
        engine->detach(conn, emit);
        ASSERT_EQ(told_wrongly, 0u) << round;
        ASSERT_EQ(engine->buffers_free(), 2u);
    }
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
    engine->at(engine->index_of(conn))->picked_up = true;
    HelperImage image;
    engine->save(*conn, image);
    EXPECT_TRUE(image.there);
    EXPECT_EQ(image.conn.stream[0].fill, 8);

    const auto other = std::move(HelperEngine::create(*set, {3, 2, 256})).value();
    const Tuple original = tuple();
    HelperConn* resumed =
        other->resume(image, Applicant{.helper = kProofId, .original = original, .owner = 5});
    ASSERT_NE(resumed, nullptr);
    EXPECT_EQ(resumed->owner, 5u);
    EXPECT_TRUE(resumed->proven);
    EXPECT_TRUE(resumed->picked_up) << "its proof takes more";
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

}  // namespace
}  // namespace postern
