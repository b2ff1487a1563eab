// SPDX-License-Identifier: BSD-3-Clause
// LoopStats: how busy a worker's loop is. Written by the worker, once a turn and once a burst, read
// by control. Costs the loop a few additions, and one reading of the TSC a burst.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "metrics/metric.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_LOOP_METRICS(X)                                                               \
    X(busy_cycles, counter, events, "TSC cycles of turns with packets")                       \
    X(idle_cycles, counter, events, "TSC cycles of turns without, and of sleeps")             \
    X(turn_packets, counter, packets, "packets of those turns, from ports and other workers") \
    X(busy_turns, counter, events, "turns with packets")                                      \
    X(longest_turn_cycles, gauge, events, "TSC cycles of the longest turn with packets")

/// On cache lines of its own: others' are not read while it is written.
struct alignas(64) LoopStats {
    /// Bursts of 1, 2-3, 4-7, 8-15, 16-31, 32-63, 64 packets.
    static constexpr unsigned kBurstSizes = 7;

    POSTERN_METRICS(POSTERN_LOOP_METRICS)
    std::array<Counter, kBurstSizes> bursts;
    /// Packets of ports by the TSC cycles that their burst took: [i] below latency_limit(i). The
    /// last one has no limit.
    static constexpr unsigned kLatencies = 40;
    std::array<Counter, kLatencies> latencies;

    static constexpr std::uint64_t latency_limit(unsigned i) noexcept {
        return std::uint64_t{1} << i;
    }
    void latency(std::uint64_t cycles, unsigned packets) noexcept {
        const auto i = static_cast<unsigned>(std::bit_width(cycles));
        latencies[i < kLatencies ? i : kLatencies - 1].add(packets);
    }

    /// `n` is not 0.
    void burst(unsigned n) noexcept {
        const auto size = static_cast<unsigned>(std::bit_width(n)) - 1;
        bursts[size < kBurstSizes ? size : kBurstSizes - 1].add();
    }
    void turn(std::uint64_t cycles, unsigned packets) noexcept {
        if (packets == 0) return idle_cycles.add(cycles);
        busy_cycles.add(cycles);
        turn_packets.add(packets);
        busy_turns.add();
        if (cycles > longest_turn_cycles.get()) longest_turn_cycles.set(cycles);
    }
};

}  // namespace postern
