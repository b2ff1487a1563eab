// SPDX-License-Identifier: BSD-3-Clause
// The first steps of a packet, each alone: parsing (with its key and hash), look-up, making and
// forgetting a connection. Bursts of 32, connections at random; times are of one packet.
#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "conntrack/conn_table.h"
#include "net/packet.h"
#include "support/frames.h"
#include "support/init_eal.h"

namespace postern {
namespace {

constexpr unsigned kBurst = 32;

const HashSecret& secret() {
    static const HashSecret kSecret = HashSecret::from_seed(1);
    return kSecret;
}
ParseContext context() {
    ParseContext c{};
    c.secret = &secret();
    return c;
}

void parse(benchmark::State& state, const frames::Frame& frame) {
    const ParseContext c = context();
    PacketInfo info{};
    const auto length = static_cast<std::uint32_t>(frame.size());
    for (auto _ : state) {
        parse_packet(frame.data(), length, length, c, info);
        benchmark::DoNotOptimize(info);
    }
    state.SetItemsProcessed(state.iterations());
}
const frames::Flow kFlow4 = frames::flow("192.0.2.1", 40000, "198.51.100.2", 443);
const frames::Flow kFlow6 = frames::flow("2001:db8::1", 40000, "2001:db8::2", 443);
BENCHMARK_CAPTURE(parse, udp4, frames::udp(kFlow4, "123456"));
BENCHMARK_CAPTURE(parse, tcp4, frames::tcp(kFlow4, {.flags = 0x10, .payload = "123456"}));
BENCHMARK_CAPTURE(parse, udp6, frames::udp(kFlow6, "123456"));
BENCHMARK_CAPTURE(parse, tcp6, frames::tcp(kFlow6, {.flags = 0x10, .payload = "123456"}));

/// A table with this many UDP connections, and their parsed first packets.
struct Table {
    explicit Table(std::uint32_t count) : frames(count), infos(count) {
        static const bool kStarted = (init_eal(512), true);
        static_cast<void>(kStarted);
        ConnTable::Config config;
        config.max_connections = count + 1024;
        config.secret = &secret();
        auto made = ConnTable::create(config);
        if (!made) std::abort();
        table = std::move(made).value();
        const ParseContext c = context();
        for (std::uint32_t i = 0; i < count; ++i) {
            frames::Flow flow = kFlow4;
            flow.src = IpAddr::v4(10, static_cast<std::uint8_t>(i >> 16),
                                  static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i));
            frames[i] = frames::udp(flow, "123456");
            const auto length = static_cast<std::uint32_t>(frames[i].size());
            parse_packet(frames[i].data(), length, length, c, infos[i]);
        }
    }
    std::unique_ptr<ConnTable> table;
    std::vector<frames::Frame> frames;
    std::vector<PacketInfo> infos;
};

void look_up(benchmark::State& state) {
    Table t(static_cast<std::uint32_t>(state.range(0)));
    for (std::size_t i = 0; i < t.infos.size(); ++i)
        t.table->create_conn(t.infos[i], t.frames[i].data(), Tick{0}, false);
    std::mt19937 random(1);
    std::uint64_t found = 0;
    for (auto _ : state) {
        PacketInfo infos[kBurst];
        const std::uint8_t* data[kBurst];
        for (unsigned i = 0; i < kBurst; ++i) {
            const std::size_t k = random() % t.infos.size();
            infos[i] = t.infos[k];
            data[i] = t.frames[k].data();
        }
        found = t.table->lookup(infos, data, (std::uint64_t{1} << kBurst) - 1);
        benchmark::DoNotOptimize(infos);
    }
    if (found != (std::uint64_t{1} << kBurst) - 1) state.SkipWithError("not all were found");
    state.SetItemsProcessed(state.iterations() * kBurst);
}
BENCHMARK(look_up)->Arg(1'000)->Arg(100'000)->Arg(500'000);

void create_and_remove(benchmark::State& state) {
    Table t(static_cast<std::uint32_t>(state.range(0)));
    std::size_t at = 0;
    for (auto _ : state) {
        std::uint32_t slots[kBurst];
        for (unsigned i = 0; i < kBurst; ++i) {
            const std::size_t k = (at + i) % t.infos.size();
            slots[i] = t.table->create_conn(t.infos[k], t.frames[k].data(), Tick{0}, false);
        }
        for (const std::uint32_t slot : slots)
            t.table->remove(slot);
        at += kBurst;
    }
    state.SetItemsProcessed(state.iterations() * kBurst);
}
BENCHMARK(create_and_remove)->Arg(1'000)->Arg(100'000);

}  // namespace
}  // namespace postern
