// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rte_eal.h>
#include <sched.h>

namespace postern {

/// Starts DPDK once for a test program, without hugepages, devices or files. The thread keeps the
/// processors it may run on.
class EalEnvironment : public ::testing::Environment {
  public:
    void SetUp() override {
        cpu_set_t allowed;
        sched_getaffinity(0, sizeof allowed, &allowed);
        int cpu = 0;
        while (!CPU_ISSET(cpu, &allowed))
            ++cpu;
        const std::string lcores = "0@" + std::to_string(cpu);
        std::vector<const char*> args{
            "test", "--no-huge", "--no-pci",          "--no-shconf", "--no-telemetry",
            "-m",   "512",       "--log-level=error", "--lcores",    lcores.c_str()};
        ASSERT_GE(rte_eal_init(static_cast<int>(args.size()), const_cast<char**>(args.data())), 0);
        sched_setaffinity(0, sizeof allowed, &allowed);
    }
};

}  // namespace postern
