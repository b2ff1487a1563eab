// SPDX-License-Identifier: BSD-3-Clause
// Cost of the expectation table at different fills. One thread plays two workers, so the figures
// hold no waiting for another processor's cache lines; the memory traffic is that of the real
// thing.
//
//   expect_bench [--benchmark_filter=...]     needs about 1.5 GiB
#include <atomic>
#include <random>
#include <thread>

#include <benchmark/benchmark.h>

#include "support/expect_fixture.h"
#include "support/init_eal.h"

namespace postern {
namespace {

constexpr std::uint32_t kMaxFill = 1'000'000;
constexpr std::uint32_t kRoom = 70'000;

/// Fill number i: ports and servers vary, as passive FTP through many servers would make it.
ExpectRequest request(std::uint32_t i, std::uint32_t base) {
    ExpectRequest r;
    r.protocol = proto::tcp;
    const std::uint32_t server = base + i / 50000, host = i * 2654435761u;
    r.src = Prefix::exact(IpAddr::v4(&host));
    r.dst = IpAddr::v4(&server);
    r.dport = Be16::from_host(static_cast<std::uint16_t>(1024 + i % 50000));
    r.master = ConnId{1 + i, 1, {}};
    r.master_tuple.src = r.src.address;
    r.timeout_ms = 300'000;
    r.class_max = 1;
    return r;
}
Tuple child(const ExpectRequest& r) {
    return Tuple{r.src.address, r.dst, Be16::from_host(40000), r.dport, r.protocol};
}

/// One table for all runs; it grows from fill to fill.
struct World {
    World() : rcu(2) {
        ExpectConfig c;
        c.owners = 2;
        c.per_owner = kMaxFill + kRoom;
        c.max_live = kMaxFill + kRoom;
        c.secret = HashSecret::random();
        c.rcu = rcu.get();
        table = make_table(c);
    }
    void fill_to(std::uint32_t n) {
        ExpectOwner& owner = table->owner(0);
        while (filled < n) {
            owner.insert(request(filled, 0x0a000000), nullptr, turn);
            if (++filled % 1024 == 0) turn_end();
        }
    }
    void turn_end() {
        for (OwnerId o = 0; o < 2; ++o) {
            rcu.quiescent(0);
            rcu.quiescent(1);
            table->owner(o).tick(turn);
        }
    }
    Rcu rcu;
    std::unique_ptr<ExpectTable> table;
    ExpectTurn turn{Tick{1000}};
    std::uint32_t filled = 0;
};
World& world(std::uint32_t fill) {
    static World* const w = (init_eal(1500), new World);
    w->fill_to(fill);
    return *w;
}

void report(benchmark::State& state, const World& w, unsigned items) {
    state.counters["each"] =
        benchmark::Counter(static_cast<double>(state.iterations() * items),
                           benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["live"] = w.table->live();
}

/// A burst of 32 control messages, each with its own master, then their children on the other
/// worker, then both workers' end of turn.
void BM_create_and_claim(benchmark::State& state) {
    World& w = world(static_cast<std::uint32_t>(state.range(0)));
    constexpr unsigned kBurst = 32;
    std::vector<MasterExpectations> masters(kRoom);
    std::uint32_t n = 0;
    for (auto _ : state) {
        ExpectProbe probes[kBurst];
        for (unsigned i = 0; i < kBurst; ++i) {
            const std::uint32_t k = (n + i) % kRoom;
            if (w.table->owner(0).insert(request(k, 0x0b000000), &masters[k], w.turn).outcome !=
                InsertOutcome::created)
                return state.SkipWithError("insert");
        }
        for (unsigned i = 0; i < kBurst; ++i)
            probes[i] = w.table->probe({}, child(request((n + i) % kRoom, 0x0b000000)));
        for (unsigned i = 0; i < kBurst; ++i) {
            ExpectMatch match;
            if (!claim(*w.table, w.table->owner(1), probes[i],
                       child(request((n + i) % kRoom, 0x0b000000)), w.turn, match))
                return state.SkipWithError("claim");
            benchmark::DoNotOptimize(match);
        }
        w.turn_end();
        n = (n + kBurst) % kRoom;
    }
    report(state, w, kBurst);
}

/// New connections that nobody expects, a burst of 32 at a time.
void BM_miss(benchmark::State& state) {
    World& w = world(static_cast<std::uint32_t>(state.range(0)));
    constexpr unsigned kBurst = 32;
    std::vector<Tuple> packets(1 << 16);
    std::mt19937 random(1);
    for (auto& t : packets) {
        const auto src = static_cast<std::uint32_t>(random());
        const auto dst = static_cast<std::uint32_t>(0x0a000000 + random() % 20);
        t = Tuple{IpAddr::v4(&src), IpAddr::v4(&dst), Be16::from_host(1),
                  Be16::from_raw(static_cast<std::uint16_t>(random())), proto::udp};
    }
    std::size_t at = 0;
    for (auto _ : state) {
        ExpectProbe probes[kBurst];
        for (unsigned i = 0; i < kBurst; ++i)
            probes[i] = w.table->probe({}, packets[at + i]);
        for (unsigned i = 0; i < kBurst; ++i) {
            ExpectMatch match;
            benchmark::DoNotOptimize(
                claim(*w.table, w.table->owner(1), probes[i], packets[at + i], w.turn, match));
        }
        at = (at + kBurst) % packets.size();
    }
    report(state, w, kBurst);
}

/// The same on two processors: one creates and posts, the other claims. Wall clock, for each of
/// the two at work at once; at most 512 on their way.
void BM_create_here_claim_there(benchmark::State& state) {
    World& w = world(static_cast<std::uint32_t>(state.range(0)));
    std::vector<MasterExpectations> masters(kRoom);
    alignas(64) std::atomic<std::uint64_t> posted{0};
    alignas(64) std::atomic<std::uint64_t> taken{0};
    std::atomic<bool> stop{false};
    w.rcu.offline(1);
    std::thread there([&] {
        w.rcu.online(1);
        for (std::uint64_t n = 0;;) {
            const std::uint64_t end = posted.load(std::memory_order_acquire);
            if (n == end && stop.load(std::memory_order_relaxed)) break;
            for (; n < end; ++n) {
                const Tuple t = child(request(static_cast<std::uint32_t>(n % kRoom), 0x0b000000));
                ExpectMatch match;
                if (!claim(*w.table, w.table->owner(1), w.table->probe({}, t), t, w.turn, match))
                    std::abort();
            }
            taken.store(n, std::memory_order_release);
            w.table->owner(1).tick(w.turn);
            w.rcu.quiescent(1);
        }
        w.rcu.offline(1);
    });
    std::uint64_t n = 0;
    for (auto _ : state) {
        for (unsigned i = 0; i < 32; ++i, ++n) {
            const auto k = static_cast<std::uint32_t>(n % kRoom);
            if (w.table->owner(0).insert(request(k, 0x0b000000), &masters[k], w.turn).outcome !=
                InsertOutcome::created)
                std::abort();
        }
        posted.store(n, std::memory_order_release);
        do {
            w.table->owner(0).tick(w.turn);
            w.rcu.quiescent(0);
        } while (n - taken.load(std::memory_order_acquire) > 512);
    }
    stop.store(true);
    while (taken.load() != n)
        w.rcu.quiescent(0);
    there.join();
    for (int i = 0; i < 4; ++i) {
        w.table->owner(0).tick(w.turn);
        w.rcu.quiescent(0);
    }
    w.rcu.online(1);
    report(state, w, 32);
}

// In this order: the fill only grows.
BENCHMARK(BM_miss)->Arg(0);
BENCHMARK(BM_create_and_claim)->Arg(0);
BENCHMARK(BM_create_here_claim_there)->Arg(0)->UseRealTime();
BENCHMARK(BM_miss)->Arg(1000);
BENCHMARK(BM_create_and_claim)->Arg(1000);
BENCHMARK(BM_miss)->Arg(60000);
BENCHMARK(BM_create_and_claim)->Arg(60000);
BENCHMARK(BM_miss)->Arg(1000000);
BENCHMARK(BM_create_and_claim)->Arg(1000000);
BENCHMARK(BM_create_here_claim_there)->Arg(1000000)->UseRealTime();

}  // namespace
}  // namespace postern
