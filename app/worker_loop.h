// SPDX-License-Identifier: BSD-3-Clause
// The loop of one lcore in the daemon.
#pragma once

#include <atomic>
#include <cstdint>

#include "firewall.h"
#include "loop_stats.h"
#include "port/port_set.h"

namespace postern {

struct LoopConfig {
    unsigned burst = 32;
    std::uint32_t idle_spins = 1000;  ///< empty turns before the first sleep
    std::uint32_t sleep_us = 50;      ///< a sleep; 0 = never
    std::uint64_t start_tsc = 0;      ///< time 0, the same for all workers
};

/// Milliseconds since `start_tsc`, from the TSC. Each worker has its own; given the same start they
/// agree to within the TSC's skew, which the deadlines of shared expectations need.
class TscClock {
  public:
    explicit TscClock(std::uint64_t start_tsc);
    Tick now() noexcept;
    /// The TSC at the last now().
    std::uint64_t tsc() const noexcept { return tsc_; }

  private:
    std::uint64_t cycles_per_ms_;
    std::uint64_t last_;
    std::uint64_t tsc_;
    std::uint32_t ms_ = 0;
};

/// Runs until `stop` is set (relaxed: it transfers no data), then drains the rings and returns.
/// Called on the worker's lcore.
void run_worker(Firewall& firewall, PortSet& ports, WorkerId id, const LoopConfig& config,
                LoopStats& stats, const std::atomic<bool>& stop);

}  // namespace postern
