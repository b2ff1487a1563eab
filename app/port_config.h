// SPDX-License-Identifier: BSD-3-Clause
// The settings of a configuration for DPDK: the environment, the ports and the packet buffers.
// `run` applies them, `check` verifies that they could be applied.
#pragma once

#include "config/spec.h"
#include "firewall.h"
#include "port/eal.h"
#include "port/port_set.h"

namespace postern {

EalConfig eal_config(const Spec& spec, bool verbose);
PortSetConfig port_config(const Spec& spec, Firewall& fw);

}  // namespace postern
