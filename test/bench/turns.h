// SPDX-License-Identifier: BSD-3-Clause
// Turns of a worker that does nothing else than forwarding, as fast as it can, while control works
// on another CPU.
//
// Turns in which the kernel took the processor away are counted apart (getrusage), so that
// "longest" is the program's own. "lost" is what a queue of 1,024 packets would have lost if
// packets had come at half of the rate that the worker reaches while control does nothing; all
// turns count for it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <utility>
#include <vector>

#include <sched.h>

#include "path_lab.h"

namespace postern::bench {

inline constexpr double kQueue = 1024;

/// The turns of one phase.
class Turns {
  public:
    void add(std::uint64_t cycles, double packets_a_cycle) {
        const long switches = Disturbance::now().switches;
        waiting_ += static_cast<double>(cycles) * packets_a_cycle;
        if (waiting_ > kQueue) lost_ += waiting_ - kQueue;
        waiting_ = std::max(0.0, std::min(waiting_, kQueue) - kBurst);
        if (std::exchange(switches_, switches) != switches)
            ++disturbed_;
        else
            all_.push_back(static_cast<std::uint32_t>(cycles));
    }
    void begin() { switches_ = Disturbance::now().switches; }
    double median() { return at(0.5); }
    static void print_header() {
        std::printf("%-16s %9s %8s %8s %8s %8s %8s %9s %8s\n", "", "turns", "median", "99 %",
                    "99.99 %", "99.999 %", "longest", "disturbed", "lost");
    }
    void print(const char* name) {
        const double us = 1e6 / static_cast<double>(rte_get_tsc_hz());
        std::printf("%-16s %9zu %8.2f %8.2f %8.2f %8.2f %8.2f %9zu %8.0f\n", name, all_.size(),
                    us * at(0.5), us * at(0.99), us * at(0.9999), us * at(0.99999), us * at(1),
                    disturbed_, lost_);
    }

  private:
    double at(double share) {
        if (all_.empty()) return 0;
        std::sort(all_.begin(), all_.end());
        return all_[static_cast<std::size_t>(share * static_cast<double>(all_.size() - 1))];
    }
    std::vector<std::uint32_t> all_;
    std::size_t disturbed_ = 0;
    long switches_ = 0;
    double waiting_ = 0, lost_ = 0;
};

inline void pin(int cpu) {
    if (cpu < 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) die("no such CPU");
}

}  // namespace postern::bench
