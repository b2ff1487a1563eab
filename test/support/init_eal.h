// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <rte_eal.h>
#include <sched.h>

namespace postern {

/// Starts DPDK, once a process, without hugepages, devices or files. The thread keeps the
/// processors it may run on.
inline void init_eal(int megabytes = 512) {
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed))
        ++cpu;
    const std::string lcores = "0@" + std::to_string(cpu), memory = std::to_string(megabytes);
    std::vector<const char*> args{
        "test",         "--no-huge",      "--no-pci", "--no-shconf",  "-m",
        memory.c_str(), "--no-telemetry", "--lcores", lcores.c_str(), "--log-level=error"};
    if (rte_eal_init(static_cast<int>(args.size()), const_cast<char**>(args.data())) < 0) {
        std::fputs("rte_eal_init failed\n", stderr);
        std::exit(1);
    }
    sched_setaffinity(0, sizeof allowed, &allowed);
}

}  // namespace postern
