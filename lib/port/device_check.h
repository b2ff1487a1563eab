// SPDX-License-Identifier: BSD-3-Clause
// Mistakes in `ports[].device` and `workers.cpus`, found before DPDK tries them: its own messages
// are for developers. Control only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace postern {

struct PortConfig;

/// The network interface named in a virtual device's arguments; empty: none.
std::string interface_argument(const PortConfig& port);
/// Drivers whose packets come from this machine's kernel.
bool fed_by_kernel(const PortConfig& port);

/// Whether the devices can be right on some machine: drivers exist, no interface is wanted twice.
/// The Error of a Linux interface's name says how to write it as a device. Call it after DPDK's
/// start.
Result<void> check_device_names(std::span<const PortConfig> ports);

/// The interfaces of Linux that the ports use exist here, and no other Postern uses them. They
/// belong to the caller while it holds what is returned.
Result<std::vector<UniqueFd>> claim_interfaces(std::span<const PortConfig> ports);

/// An Error if this process may not run on one of these CPUs. `key`: of the configuration.
Result<void> check_cpus(const char* key, std::span<const std::uint16_t> cpus);

}  // namespace postern
