// SPDX-License-Identifier: BSD-3-Clause
// Differences to another configuration that a running process cannot adopt: objects made once, at
// start.
#pragma once

#include <string>
#include <vector>

#include "config/spec.h"

namespace postern {

/// Returns a text for each key of `next` that differs from `now` and is read at start only. Empty:
/// a plan made from `next` may replace the one made from `now`. Covers keys of DPDK, of workers, of
/// the devices of ports, of the sizes of tables, and of helpers in other processes.
std::vector<std::string> needs_restart(const Spec& now, const Spec& next);

}  // namespace postern
