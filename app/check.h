// SPDX-License-Identifier: BSD-3-Clause
// `postern check`: whether a configuration would run, and what it says.
#pragma once

#include "config/spec.h"

namespace postern {

/// Makes what `run` makes of it, down to the packet buffers, but opens no device. Prints what the
/// configuration says to standard output, or what is wrong to standard error. Returns the process's
/// exit code: the one that `run` would end with.
int run_check(const Spec& spec);

}  // namespace postern
