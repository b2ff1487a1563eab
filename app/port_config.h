// SPDX-License-Identifier: BSD-3-Clause
// What a configuration asks of DPDK: the environment, the ports and the packet buffers. `run` gives
// it all, `check` finds out whether that could be done.
#pragma once

#include "config/spec.h"
#include "firewall.h"
#include "port/eal.h"
#include "port/port_set.h"

namespace postern {

EalConfig eal_config(const Spec& spec, bool verbose);
PortSetConfig port_config(const Spec& spec, Firewall& fw);

}  // namespace postern
