// SPDX-License-Identifier: BSD-3-Clause
// Toy helpers, and a fixture with an engine that runs them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "helper/engine.h"
#include "helper/guards.h"

namespace postern {

inline Bytes bytes(std::string_view s) {
    return {reinterpret_cast<const std::uint8_t*>(s.data()), s.size()};
}
inline std::string text(Bytes b) {
    return {reinterpret_cast<const char*>(b.data()), b.size()};
}

/// Says what it was given: the class to expect, by the first letters of the message.
inline void toy_message(View& view, Emit& emit) noexcept {
    PinHole r;
    r.src = Prefix::exact(view.listener());
    r.dst = view.speaker();
    r.dport = Be16::from_host(2000);
    r.protocol = proto::udp;
    Cursor c{view.message};
    c.skip(2);
    const auto open = [&](std::uint16_t port) {
        r.dport = Be16::from_host(port);
        emit.expect(r);
    };
    const auto open_at = [&](IpAddr dst) {
        r.dst = dst;
        emit.expect(r);
    };
    constexpr IpAddr kThird = IpAddr::v4(203, 0, 113, 9);
    switch (c.u8().value_or(0)) {
        case 'o': emit.expect(r); break;
        case 't':  // three of a class that allows two
            for (std::uint16_t port = 3000; port < 3003; ++port)
                open(port);
            break;
        case 'p': open(80); break;
        case 'd': open(6005); break;
        case 'f': open_at(kThird); break;
        case 'F':
            r.class_index = 1;
            open_at(kThird);
            break;
        case '6': open_at(*IpAddr::parse("2001:db8::1")); break;
        case 'a': emit.read_all(true); break;
        case 'n': emit.read_all(false); break;
        case 'b': emit.blind(HelperCounter::blind_encrypted); break;
        default: emit.parse_error(); break;
    }
    emit.count(0);
    auto n = view.load<std::uint32_t>();
    view.save(++n);
}

inline unsigned destroyed = 0;
inline void toy_destroy(const Tuple&, std::span<std::uint8_t, kPrivateBytes> state,
                        Emit&) noexcept {
    destroyed += state[0];
}

/// A length byte, then so many bytes. From 0x80 on: nothing, then length less 0x80 bytes to pass
/// over. 0xff: a message, then 1000 bytes to pass over for each message before.
inline Measured toy_measure(Direction, Bytes b, Progress& /*progress*/,
                            std::span<const std::uint8_t, kPrivateBytes> state) noexcept {
    if (b.empty()) return 0;
    if (b[0] == 0xff) return {1, 1000u * state[0]};
    if (b[0] >= 0x80) return {0, 1u + b[0] - 0x80u};
    return b[0] == 0 ? -1 : b[0] + 1;
}

/// What toy_progress() was told of bytes that are not these; and how many bytes it read.
inline std::size_t told_wrongly = 0, read_in_all = 0;
/// A message ends with ';'.
inline Measured toy_progress(Direction, Bytes b, Progress& p,
                             std::span<const std::uint8_t, kPrivateBytes> /*state*/) noexcept {
    const auto sum = [&b](std::size_t n) {
        return std::accumulate(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(n), 0u,
                               [](std::uint32_t s, std::uint8_t c) { return s * 31 + c; });
    };
    if (p.read > b.size() || p.length != sum(p.read)) ++told_wrongly;
    while (p.read < b.size()) {
        ++read_in_all;
        if (b[p.read++] == ';') return static_cast<std::int32_t>(p.read);
    }
    p.length = sum(p.read);
    return 0;
}

constexpr ExpectClass kToyClasses[] = {{"data", "", 2, 30}, {"media", "", 2, 30, true}};
constexpr ParamDesc kToyParams[] = {kLooseParam,
                                    kDenyPortsParam,
                                    {"size", ParamType::uint, "7", "", 9},
                                    {"near", ParamType::networks, "", ""}};
constexpr CounterDesc kToyCounters[] = {{"woken", "times it ran"}};
constexpr PatternDesc kToyPatterns[] = {{3, "^X-", std::nullopt}, {4, "^CX-", Direction::original}};
constexpr PatternDesc kOtherPatterns[] = {{1, "^X-", std::nullopt}, {2, "^Y-", std::nullopt}};

/// A helper that reads lines over TCP. A toy is this and what it has besides.
template <class Change>
constexpr HelperDesc line_helper(std::string_view name, MessageFn on_message, Change&& change) {
    HelperDesc desc{
        .name = name, .help = "", .transports = transport::tcp, .framing = Framing::line};
    desc.on_message = on_message;
    change(desc);
    return desc;
}
/// The same with toy_message() and what belongs to it.
template <class Change>
constexpr HelperDesc toy(std::string_view name, Change&& change) {
    return line_helper(name, toy_message, [&change](HelperDesc& desc) {
        desc.classes = kToyClasses;
        desc.counters = kToyCounters;
        desc.patterns = kToyPatterns;
        change(desc);
    });
}
/// And with messages that `measure` finds.
constexpr HelperDesc measured_toy(std::string_view name, MeasureFn measure) {
    return toy(name, [measure](HelperDesc& desc) {
        desc.framing = Framing::measured;
        desc.patterns = {};
        desc.measure = measure;
    });
}

constexpr HelperDesc kToy = toy("toy", [](HelperDesc& desc) {
    desc.params = kToyParams;
    desc.on_destroy = toy_destroy;
});
constexpr HelperDesc kOther = toy("other", [](HelperDesc& desc) {
    desc.classes = {};
    desc.patterns = kOtherPatterns;
});
constexpr HelperDesc kMeasured = measured_toy("measured", toy_measure);
constexpr HelperDesc kDatagram = toy("datagram", [](HelperDesc& desc) {
    desc.transports = transport::udp;
    desc.framing = Framing::datagram;
});
constexpr HelperDesc kProof = toy("proof", [](HelperDesc& desc) { desc.needs_proof = true; });
constexpr HelperDesc kProgress = measured_toy("progress", toy_progress);

enum Id : HelperId {
    kToyId = 1,
    kOtherId,
    kMeasuredId,
    kDatagramId,
    kProofId,
    kLooseId,
    kProgressId
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
            {kLooseId, "relaxed", &kToy, {{"loose", "true"}, {"size", "9"}}},
            {kProgressId, "", &kProgress, {}}};
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
        engine->for_each_counter(engine->set(), id, [&](const CounterValue& c) {
            if (c.name == name) v = c.value;
        });
        return v;
    }
};

}  // namespace postern
