// SPDX-License-Identifier: BSD-3-Clause
// EAL, an RCU variable and a table with N owners, for the tests and the stress program. One thread
// may own all owners and interleave them.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <sched.h>

#include "expect/table.h"

namespace postern {

/// Once a process. The calling thread keeps the processors it may run on.
inline void init_eal(int megabytes = 512) {
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed))
        ++cpu;
    std::vector<std::string> words{"test",
                                   "--no-huge",
                                   "--no-pci",
                                   "--no-shconf",
                                   "--no-telemetry",
                                   "--log-level=error",
                                   "-m",
                                   std::to_string(megabytes),
                                   "--lcores",
                                   "0@" + std::to_string(cpu)};
    std::vector<char*> argv;
    for (auto& w : words)
        argv.push_back(w.data());
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
        std::fputs("rte_eal_init failed\n", stderr);
        std::exit(1);
    }
    sched_setaffinity(0, sizeof allowed, &allowed);
}

/// `readers` registered threads, all online.
class Rcu {
  public:
    explicit Rcu(unsigned readers) : readers_(readers) {
        memory_ = static_cast<rte_rcu_qsbr*>(
            std::aligned_alloc(64, (rte_rcu_qsbr_get_memsize(readers) + 63) / 64 * 64));
        rte_rcu_qsbr_init(memory_, readers);
        for (unsigned i = 0; i < readers; ++i) {
            rte_rcu_qsbr_thread_register(memory_, i);
            online(i);
        }
    }
    ~Rcu() { std::free(memory_); }
    Rcu(const Rcu&) = delete;
    Rcu& operator=(const Rcu&) = delete;

    rte_rcu_qsbr* get() noexcept { return memory_; }
    void online(unsigned i) noexcept { rte_rcu_qsbr_thread_online(memory_, i); }
    void offline(unsigned i) noexcept { rte_rcu_qsbr_thread_offline(memory_, i); }
    void quiescent(unsigned i) noexcept { rte_rcu_qsbr_quiescent(memory_, i); }
    void all_quiescent() noexcept {
        for (unsigned i = 0; i < readers_; ++i)
            quiescent(i);
    }
    void all_offline() noexcept {
        for (unsigned i = 0; i < readers_; ++i)
            offline(i);
    }

  private:
    unsigned readers_;
    rte_rcu_qsbr* memory_;
};

inline std::unique_ptr<ExpectTable> make_table(const ExpectConfig& config) {
    auto table = ExpectTable::create(config);
    if (!table) {
        std::fprintf(stderr, "%s\n", table.error().message.c_str());
        std::exit(1);
    }
    return std::move(table).value();
}

}  // namespace postern
