// SPDX-License-Identifier: BSD-3-Clause
// Timing wheel: cost of one object for arm, re-arm, disarm and expiry, and the longest single call
// while a million objects expire in one second.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "table/timing_wheel.h"

namespace postern {
namespace {

struct alignas(64) Object {
    WheelLink link;
    Tick deadline;
};
struct ObjectSlots {
    Object* objects;
    WheelLink& link(std::uint32_t i) noexcept { return objects[i].link; }
    Tick deadline(std::uint32_t i) const noexcept { return objects[i].deadline; }
};
using Wheel = TimingWheel<ObjectSlots>;

struct Setup {
    std::vector<Object> objects;
    std::vector<std::uint32_t>
        order;  ///< random, so that each touch is a cache miss when it can be
    Wheel wheel;
    std::mt19937 rng{1};

    explicit Setup(std::uint32_t n)
        : objects(n + 1), order(n), wheel(ObjectSlots{objects.data()}, Tick{0}) {
        for (std::uint32_t i = 0; i < n; ++i)
            order[i] = i + 1;
        std::shuffle(order.begin(), order.end(), rng);
    }
    void arm_all(Tick from, std::uint32_t spread_ms) {
        for (const std::uint32_t i : order) {
            objects[i].deadline = from + static_cast<std::uint32_t>(rng() % spread_ms);
            wheel.arm(i);
        }
    }
};

void arm_disarm(benchmark::State& state) {
    Setup s(static_cast<std::uint32_t>(state.range(0)));
    s.arm_all(Tick{0}, 300'000);
    std::size_t at = 0;
    for (auto _ : state) {
        const std::uint32_t i = s.order[at];
        s.wheel.disarm(i);
        s.wheel.arm(i);
        if (++at == s.order.size()) at = 0;
    }
}
BENCHMARK(arm_disarm)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);

void advance_nothing_due(benchmark::State& state) {
    Setup s(1'000);
    s.arm_all(Tick{1'000'000}, 1'000);
    for (auto _ : state)
        benchmark::DoNotOptimize(s.wheel.advance(Tick{10}, 256, [](std::uint32_t) {}));
}
BENCHMARK(advance_nothing_due);

/// All of n objects expire within one second, five minutes ahead: every object is moved down one
/// level and fired. Time an object, and the longest call of budget 256.
void expire_in_one_second(benchmark::State& state) {
    const auto n = static_cast<std::uint32_t>(state.range(0));
    using Clock = std::chrono::steady_clock;
    std::int64_t longest_ns = 0;
    for (auto _ : state) {
        state.PauseTiming();
        Setup s(n);
        s.arm_all(Tick{300'000}, 1'000);
        std::uint32_t fired = 0;
        state.ResumeTiming();
        for (std::uint32_t now_ms = 290'000; fired < n; ++now_ms) {
            std::uint32_t used = 0;
            do {
                const auto before = Clock::now();
                used = s.wheel.advance(Tick{now_ms}, 256, [&](std::uint32_t) { ++fired; });
                longest_ns = std::max(longest_ns, (Clock::now() - before).count());
            } while (used == 256);
        }
    }
    state.SetItemsProcessed(state.iterations() * n);
    state.counters["longest_call_us"] = static_cast<double>(longest_ns) / 1000;
}
BENCHMARK(expire_in_one_second)->Arg(100'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace postern
