// SPDX-License-Identifier: BSD-3-Clause
// Starts DPDK's environment from plain values, with error messages for operators.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace postern {

struct EalConfig {
    enum class Huge {
        automatic,
        yes,
        no
    } hugepages = Huge::automatic;
    std::uint32_t memory_mb = 512;
    unsigned workers = 0;                   ///< lcores besides the main one
    std::vector<std::uint16_t> cpus;        ///< worker i runs on cpus[i % size]; empty = i % all
    std::optional<std::uint16_t> main_cpu;  ///< empty = any
    std::vector<std::string> pci;           ///< devices to use; none = no PCI bus at all
    std::vector<std::string> extra;
    bool verbose = false;
};

/// Once a process. Lcore 0 is the caller, lcores 1..workers are for workers.
Result<void> start_eal(const EalConfig& config);

/// Whether start_eal() takes huge pages. Automatic: if the machine has free ones.
bool takes_huge_pages(EalConfig::Huge huge);

/// MiB that the machine could still give a process; 0 if unknown.
std::uint64_t available_memory_mb();

/// MiB that DPDK was given, and what it has left of it; after its start.
std::uint64_t total_memory_mb();
std::uint64_t free_memory_mb();

/// Releases everything to the system, including DPDK's own empty folder for run-time files.
void stop_eal();

}  // namespace postern
