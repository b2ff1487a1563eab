// SPDX-License-Identifier: BSD-3-Clause
// Captures and traces: which packets make a record, its verdict and bytes; bounds, ends, memory.
#include "pipeline/tap.h"

#include <gtest/gtest.h>

#include "capture/filter.h"
#include "support/eal.h"
#include "tap_reader.h"
#include "tap_rows.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kPolicy =
    "helpers: [{name: ftp}]\n"
    "policy:\n"
    "  rules:\n"
    "    - {name: control, proto: tcp, dport: 21, ct: [new], action: accept, helper: ftp}\n"
    "    - {name: data, ct: [related], related: [ftp], action: accept}\n"
    "    - {name: dns, from: inside, proto: udp, dport: 53, action: accept}\n"
    "    - {name: no, from: inside, proto: udp, dport: 56, action: reject}\n";

PacketFilter filter_of(const std::string& text) {
    auto program = compile_filter(text);
    EXPECT_TRUE(program) << program.error().message;
    auto filter = PacketFilter::from_program(program.value());
    EXPECT_TRUE(filter);
    return std::move(filter).value();
}

TapConfig everything(const std::string& filter = {}) {
    TapConfig config;
    config.filter = filter_of(filter);
    config.receive = config.drop = config.transmit = true;
    config.snap = 2048;
    return config;
}

TapConfig tracing(const std::string& filter = {}) {
    TapConfig config;
    config.filter = filter_of(filter);
    config.trace = true;
    config.snap = 256;
    return config;
}

class TapTest : public ::testing::TestWithParam<unsigned> {
  protected:
    std::unique_ptr<TapReader> start(TapConfig config) {
        auto reader = TapReader::start(world_.fw(), std::move(config), 60);
        EXPECT_TRUE(reader) << reader.error().message;
        return std::move(reader).value();
    }
    /// "receive accept new [dns] ..." of each record.
    std::vector<std::string> comments(TapReader& reader) {
        std::vector<std::string> all;
        while (const TapRecord* r = reader.front()) {
            std::string text =
                std::string(to_string(r->point)) + " " + tap_comment(world_.fw().plan(), *r);
            // Its number depends on the workers.
            if (const auto at = text.find(" connection "); at != std::string::npos)
                text.erase(at + 11, text.find(' ', at + 12) - at - 11);
            all.push_back(text);
            reader.drop_front();
        }
        return all;
    }
    bool udp(std::uint16_t dport, std::string_view payload = "question") {
        return world_.send_by_turn(
            frames::udp(flow("192.0.2.1", 1000, "192.0.2.2", dport), payload), World::kInside);
    }
    using Texts = std::vector<std::string>;
    World world_{kPolicy, GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Workers, TapTest, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(TapTest, ShowsEachPacketOnceAtEachPoint) {
    const auto all = start(everything());
    const auto dropped = start([] {
        TapConfig config = everything();
        config.receive = config.transmit = false;
        return config;
    }());
    ASSERT_TRUE(udp(53));
    ASSERT_TRUE(udp(53));
    ASSERT_FALSE(udp(99));
    EXPECT_EQ(comments(*all),
              (Texts{"receive accept new [dns] connection original",
                     "transmit accept new [dns] connection original",
                     "receive accept new [dns] connection original",
                     "transmit accept new [dns] connection original",
                     "receive DROP new [policy: default]", "drop DROP new [policy: default]"}));
    EXPECT_EQ(comments(*dropped), (Texts{"drop DROP new [policy: default]"}));
    EXPECT_EQ(all->lost() + dropped->lost(), 0u);
    EXPECT_EQ(world_.sum(&WorkerCounters::capture_records), 7u);
}

TEST_P(TapTest, FiltersAndReasonsSelect) {
    const auto to_53 = start(everything("udp port 53"));
    const auto one_reason = start([] {
        TapConfig config = everything();
        config.receive = config.transmit = false;
        config.reasons.reset();
        config.reasons.set(static_cast<unsigned>(DropReason::bad_tcp_flags));
        return config;
    }());
    ASSERT_TRUE(udp(53));
    ASSERT_FALSE(udp(99));
    const auto odd = frames::tcp(flow("192.0.2.1", 1000, "192.0.2.2", 21), {.flags = 0x03});
    ASSERT_FALSE(world_.send_by_turn(odd, World::kInside));
    EXPECT_EQ(comments(*to_53).size(), 2u);
    const TapRecord* r = one_reason->front();
    ASSERT_NE(r, nullptr);
    EXPECT_EQ(r->packet.why, DropReason::bad_tcp_flags);
    EXPECT_EQ(comments(*one_reason).size(), 1u);
}

TEST_P(TapTest, KeepsTheFirstBytesAsTheyCame) {
    TapConfig config = everything();
    config.snap = 64;
    const auto reader = start(std::move(config));
    const auto frame = frames::udp(flow("192.0.2.1", 1000, "192.0.2.2", 53), std::string(100, 'x'));
    ASSERT_TRUE(world_.send_by_turn(frame, World::kInside));
    for (const TapPoint point : {TapPoint::receive, TapPoint::transmit}) {
        const TapRecord* r = reader->front();
        ASSERT_NE(r, nullptr);
        EXPECT_EQ(r->point, point);
        EXPECT_EQ(r->kept, 64u);
        EXPECT_EQ(r->packet.frame_bytes, frame.size());
        EXPECT_TRUE(std::equal(r->bytes, r->bytes + 64, frame.begin()));
        EXPECT_EQ(tap_port(*r), point == TapPoint::receive ? 0u : 1u);
        reader->drop_front();
    }
}

TEST_P(TapTest, ARejectedPacketIsShownAsItCameAndItsAnswerAsItLeaves) {
    const auto reader = start(everything());
    const auto frame = frames::udp(flow("192.0.2.1", 1000, "192.0.2.2", 56), "hello");
    ASSERT_TRUE(world_.send_by_turn(frame, World::kInside)) << "its answer";
    const TapRecord* r = reader->front();
    ASSERT_NE(r, nullptr);
    EXPECT_EQ(r->kept, frame.size());
    EXPECT_TRUE(std::equal(frame.begin(), frame.end(), r->bytes));
    EXPECT_EQ(source_of(r->packet).to_string(), "192.0.2.1");
    EXPECT_EQ(r->packet.dport.host(), 56u);
    EXPECT_EQ(comments(*reader),
              (Texts{"receive REJECT new [reject: no]", "drop REJECT new [reject: no]",
                     "transmit answer new [no]"}));
}

TEST_P(TapTest, AReassembledDatagramMatchesThoughItsLastFragmentDoesNot) {
    const auto reader = start(everything("udp port 53"));
    const auto whole = frames::udp(flow("192.0.2.1", 1000, "192.0.2.2", 53), std::string(80, 'x'));
    for (const auto& part : frames::fragments(whole, 48, 7))
        world_.send_by_turn(part, World::kInside);
    Texts seen = comments(*reader);
    ASSERT_FALSE(seen.empty());
    EXPECT_EQ(seen.front(), "receive held");
    EXPECT_EQ(seen.back(), "transmit accept new [dns] connection original");
    // Handed over, it comes to the worker of its connection as a whole.
    if (seen.size() == 3) {
        EXPECT_EQ(seen[1], "receive accept new [dns] connection original");
    }
    EXPECT_LE(seen.size(), GetParam() == 1 ? 2u : 3u);
}

TEST_P(TapTest, WhatFindsNoRoomIsLostAndCounted) {
    const auto reader = start(everything("udp port 53"));
    const unsigned room = Tap::kMaxRecords;
    for (unsigned i = 0; i < room; ++i)
        udp(53);
    unsigned kept = 0;
    for (const auto& text : comments(*reader))
        kept += text.empty() ? 0 : 1;
    EXPECT_GE(kept, Tap::kMinRecords);
    EXPECT_EQ(kept + reader->newly_lost(), 2 * room);
    EXPECT_EQ(reader->newly_lost(), 0u) << "it was told";
    EXPECT_EQ(world_.sum(&WorkerCounters::capture_lost), reader->lost());
    ASSERT_TRUE(udp(53));
    EXPECT_EQ(comments(*reader).size(), 2u) << "there is room again";
}

TEST_P(TapTest, TracesTheWayThroughTheStages) {
    const auto reader = start(tracing("port 21"));
    ASSERT_TRUE(world_.send_by_turn(
        frames::tcp(flow("192.0.2.1", 1000, "192.0.2.2", 21), {.flags = 0x02}), World::kInside));
    std::vector<std::string> way;
    Json last;
    while (const TapRecord* r = reader->front()) {
        for (const Json& row : trace_rows(world_.fw().plan(), *r, TscWall::now(), 1)) {
            if (r->fate == TapFate::handed) continue;  // the part before the worker of its home
            way.push_back(row["stage"].get<std::string>() + ": " + row["text"].get<std::string>());
            last = row;
        }
        reader->drop_front();
    }
    const auto has = [&](const std::string& text) {
        return std::any_of(way.begin(), way.end(),
                           [&](const std::string& line) { return line.find(text) == 0; });
    };
    const std::string shown = Json(way).dump(1);
    EXPECT_TRUE(has("receive: in0: tcp 192.0.2.1:1000 > 192.0.2.2:21 syn, 54 bytes")) << shown;
    EXPECT_TRUE(has("conntrack: no connection, new")) << shown;
    EXPECT_TRUE(has("policy: rule control: accept")) << shown;
    EXPECT_TRUE(has("commit: accepted, begins connection ")) << shown;
    EXPECT_TRUE(has("forward: to port out0")) << shown;
    EXPECT_TRUE(has("verdict: accept new [control] connection ")) << shown;
    EXPECT_EQ(last["rule"], "control");
    EXPECT_EQ(last["helper"], "ftp");
    EXPECT_EQ(last["verdict"], "accept");
    EXPECT_FALSE(last["id"].is_null());
}

TEST_P(TapTest, ThereAreFewAtOnceAndTheirMemoryGoes) {
    std::vector<std::unique_ptr<TapReader>> readers;
    for (unsigned i = 0; i < TapSet::kCaptures; ++i)
        readers.push_back(start(everything()));
    const auto refused = TapReader::start(world_.fw(), everything(), 60);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("4 captures"), std::string::npos);
    TapStore& taps = world_.fw().taps();
    EXPECT_EQ(taps.counters().captures.get(), TapSet::kCaptures);
    ASSERT_TRUE(udp(53));
    readers.clear();
    EXPECT_EQ(taps.counters().captures.get(), 0u);
    EXPECT_NE(taps.counters().captures_ending.get(), 0u) << "a worker may still use it";
    taps.turn(TapStore::Clock::now());
    EXPECT_NE(taps.counters().captures_ending.get(), 0u) << "no worker has had a turn";
    world_.turn();
    taps.turn(TapStore::Clock::now());
    EXPECT_EQ(taps.counters().captures_ending.get(), 0u);
    const auto before = world_.sum(&WorkerCounters::capture_records);
    ASSERT_TRUE(udp(53));
    EXPECT_EQ(world_.sum(&WorkerCounters::capture_records), before) << "nothing is recorded";
    EXPECT_TRUE(TapReader::start(world_.fw(), everything(), 60)) << "there is room again";
}

TEST_P(TapTest, ItsTimeEndsItThoughNobodyReads) {
    const auto reader = start(everything());
    TapStore& taps = world_.fw().taps();
    taps.turn(TapStore::Clock::now() + std::chrono::seconds(59));
    EXPECT_EQ(taps.counters().captures.get(), 1u);
    taps.turn(TapStore::Clock::now() + std::chrono::seconds(61));
    EXPECT_EQ(taps.counters().captures.get(), 0u);
    ASSERT_TRUE(udp(53));
    EXPECT_EQ(reader->front(), nullptr);
    EXPECT_FALSE(reader->is_over()) << "by the clock it is not; its owner may still read";
}

}  // namespace
}  // namespace postern
