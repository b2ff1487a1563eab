// SPDX-License-Identifier: BSD-3-Clause
// Frames: how long a frame each kind of device takes, and what it has to be told and given for
// that. Facts about DPDK 22.11's drivers; docs/operation.md has them as a table, and test/e2e tries
// them.
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
    std::uint32_t room = 0;  ///< bytes that one packet buffer has to have; 0: any will do
    bool takes_any = false;  ///< whatever its driver says of its MTU, longer frames pass
};

/// An Error: it cannot take `mtu`, and why.
Result<Frames> frames_of(const PortConfig& port);

}  // namespace postern
