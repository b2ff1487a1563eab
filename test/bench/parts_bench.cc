// SPDX-License-Identifier: BSD-3-Clause
// The steps of a packet, each alone: parsing (with its key and hash), key and hash, look-up,
// tracking, making and forgetting a connection, expiry, the ring to another worker. Bursts of 32,
// connections at random; times are of one packet.
#include <chrono>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>
#include <rte_ring.h>

#include "conntrack/conn_table.h"
#include "conntrack/track.h"
#include "net/packet.h"
#include "net/rss.h"
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
    static constexpr SymmetricRss kRss(0x5d);
    ParseContext c{};
    c.secret = &secret();
    c.rss = &kRss;
    // Between two zones that have tags.
    static const PlainImages kImages =
        plain_images(PortId{0}, CtZone{}, {EdgeId{0}, EdgeId{1}, {0x00, 0x10}});
    c.plain = &kImages;
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

void key_and_hash(benchmark::State& state, const frames::Flow& flow) {
    Tuple tuple;
    tuple.src = flow.src;
    tuple.dst = flow.dst;
    tuple.sport = Be16::from_host(flow.sport);
    tuple.dport = Be16::from_host(flow.dport);
    tuple.protocol = proto::udp;
    for (auto _ : state) {
        benchmark::DoNotOptimize(tuple);
        bool swapped;
        const FlowKey key = make_key(tuple, CtZone{}, secret(), swapped);
        benchmark::DoNotOptimize(hash_of(key, secret()));
    }
    state.SetItemsProcessed(state.iterations());
}
BENCHMARK_CAPTURE(key_and_hash, ipv4, kFlow4);
BENCHMARK_CAPTURE(key_and_hash, ipv6, kFlow6);

/// The next packets of one established connection, data and its answer by turns: as most go
/// (track_fast), and by the whole tracker. Its lines are in the cache.
void track_next(benchmark::State& state, std::uint8_t protocol, bool fast) {
    const TrackConfig config;
    const bool tcp = protocol == proto::tcp;
    const frames::Flow back = kFlow4.back();
    const auto packet = [&](const frames::Flow& flow, std::uint8_t flags, std::uint32_t seq,
                            std::uint32_t ack, const char* payload) {
        return tcp ? frames::tcp(flow, {.flags = flags, .seq = seq, .ack = ack, .payload = payload})
                   : frames::udp(flow, payload);
    };
    const frames::Frame opening[] = {packet(kFlow4, 0x02, 100, 0, ""),
                                     packet(back, 0x12, 500, 101, ""),
                                     packet(kFlow4, 0x10, 101, 501, "")};
    frames::Frame there = packet(kFlow4, 0x10, 101, 501, "123456");
    frames::Frame answer = packet(back, 0x10, 501, 101, "");
    Conn conn;
    const auto parsed = [&](const frames::Frame& frame) {
        PacketInfo info{};
        const auto length = static_cast<std::uint32_t>(frame.size());
        parse_packet(frame.data(), length, length, context(), info);
        return info;
    };
    Tick now{1000};
    for (unsigned i = 0; i < std::size(opening); ++i, now = now + 3000) {
        PacketInfo info = parsed(opening[i]);
        if (i == 0) {
            conn.key = info.key;
            if (!start_tracking(conn, info, opening[i].data(), now, config)) std::abort();
        } else if (track(conn, info, opening[i].data(), Direction(i == 1), now, config) !=
                   TrackResult::accept) {
            std::abort();
        }
    }
    PacketInfo info[2] = {parsed(there), parsed(answer)};
    bool right = true;
    std::uint32_t sent = 101;
    const auto set = [](frames::Frame& frame, unsigned at, std::uint32_t value) {
        value = __builtin_bswap32(value);
        std::memcpy(&frame[14 + 20 + at], &value, sizeof value);
    };
    for (auto _ : state) {
        if (tcp) {
            set(there, 4, sent);
            set(answer, 8, sent += 6);
        }
        for (const bool reply : {false, true}) {
            const std::uint8_t* data = reply ? answer.data() : there.data();
            PacketInfo& p = info[reply];
            p.dir = Direction(reply);
            right &= fast ? track_fast(conn, p, data, now, config)
                          : track(conn, p, data, p.dir, now, config) == TrackResult::accept;
        }
    }
    if (!right) state.SkipWithError("not accepted");
    state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK_CAPTURE(track_next, udp4_fast, proto::udp, true);
BENCHMARK_CAPTURE(track_next, udp4_whole, proto::udp, false);
BENCHMARK_CAPTURE(track_next, tcp4_fast, proto::tcp, true);
BENCHMARK_CAPTURE(track_next, tcp4_whole, proto::tcp, false);

void start_eal_once() {
    static const bool kStarted = (init_eal(512), true);
    static_cast<void>(kStarted);
}

/// A table with this many UDP connections, and their parsed first packets.
struct Table {
    explicit Table(std::uint32_t count) : frames(count), infos(count) {
        start_eal_once();
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
        for (PacketInfo& info : infos)
            t.table->prefetch(info.hash);
        for (PacketInfo& info : infos)
            t.table->prefetch_conn(info);
        for (unsigned i = 0; i < kBurst; ++i)
            found += t.table->lookup(infos[i], data[i]) ? 1 : 0;
        benchmark::DoNotOptimize(infos);
    }
    const auto packets = static_cast<std::uint64_t>(state.iterations()) * kBurst;
    if (found != packets) state.SkipWithError("not all were found");
    state.SetItemsProcessed(static_cast<std::int64_t>(packets));
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

/// What a first packet costs behind policy (`commit`), and the end of connections that fell silent
/// (`expire`): all of a table are made, then time passes. Times are of one connection.
void commit_and_expire(benchmark::State& state, bool commit) {
    Table t(static_cast<std::uint32_t>(state.range(0)));
    const TrackConfig config;
    Tick now{1000};
    for (auto _ : state) {
        const auto begun = std::chrono::steady_clock::now();
        for (std::size_t k = 0; k < t.infos.size(); ++k) {
            const std::uint32_t slot =
                t.table->create_conn(t.infos[k], t.frames[k].data(), now, false);
            Conn& conn = t.table->at(slot);
            if (!start_tracking(conn, t.infos[k], t.frames[k].data(), now, config)) std::abort();
            t.table->arm(slot);
        }
        const auto made = std::chrono::steady_clock::now();
        now = now + 40'000;
        while (t.table->size() != 0)
            t.table->expire(now, 64, [&](std::uint32_t slot) { t.table->remove(slot); });
        const auto gone = std::chrono::steady_clock::now();
        state.SetIterationTime(
            std::chrono::duration<double>(commit ? made - begun : gone - made).count());
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK_CAPTURE(commit_and_expire, commit, true)->Arg(1'000)->Arg(100'000)->UseManualTime();
BENCHMARK_CAPTURE(commit_and_expire, expire, false)->Arg(1'000)->Arg(100'000)->UseManualTime();

/// The ring to another worker, used as workers do: in one by one, out by bursts. One thread, so the
/// lines stay in its cache; mix_bench's rows `at once` have what two processors add.
void hand_off(benchmark::State& state) {
    static rte_ring* const ring = [] {
        start_eal_once();
        return rte_ring_create("parts_bench", 1024, SOCKET_ID_ANY, RING_F_SC_DEQ);
    }();
    if (ring == nullptr) return state.SkipWithError("no ring");
    void* packets[kBurst] = {};
    for (auto _ : state) {
        for (void* p : packets)
            rte_ring_mp_enqueue(ring, p);
        benchmark::DoNotOptimize(rte_ring_sc_dequeue_burst(ring, packets, kBurst, nullptr));
    }
    state.SetItemsProcessed(state.iterations() * kBurst);
}
BENCHMARK(hand_off);

}  // namespace
}  // namespace postern
