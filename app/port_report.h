// SPDX-License-Identifier: BSD-3-Clause
// What the log says about a port at start: what its device does, and what it cannot do.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "port/port_set.h"

namespace postern {

struct PortReport {
    std::string line;
    std::vector<std::string> warnings;
};

/// `worker_nodes`: the NUMA node of each worker's CPU.
PortReport report_port(const PortSet::Info& port, std::span<const int> worker_nodes);

}  // namespace postern
