// SPDX-License-Identifier: BSD-3-Clause
// Frames: the longest frame of each kind of device, and the settings that it needs for that. Facts
// about DPDK 22.11's drivers; docs/operation.md has them as a table, and test/e2e tests them.
//
// Called by PortSet when it opens a port, and for `check`.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace postern {

struct PortConfig;

struct Frames {
    std::string device;      ///< the arguments to open it with
    std::uint32_t room = 0;  ///< minimum size of a packet buffer; 0: any
    bool takes_any = false;  ///< longer frames pass, whatever MTU its driver reports
};

/// An Error: it cannot take `mtu`, and the reason.
Result<Frames> frames_of(const PortConfig& port);

}  // namespace postern
