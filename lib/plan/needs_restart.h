// SPDX-License-Identifier: BSD-3-Clause
// What a running process cannot take over from another configuration: what was made once, at start.
#pragma once

#include <string>
#include <vector>

#include "config/spec.h"

namespace postern {

/// For people, a text each: which key of `next` differs from `now` and is read at start only.
/// Empty: a plan made of `next` may replace the one made of `now`. Keys of DPDK, of workers, of the
/// devices behind ports, of the sizes of tables, and of helpers in other processes.
std::vector<std::string> needs_restart(const Spec& now, const Spec& next);

}  // namespace postern
