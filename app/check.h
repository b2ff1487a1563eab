// SPDX-License-Identifier: BSD-3-Clause
// `postern check`: reports whether a configuration would run, and explains it.
#pragma once

#include "config/spec.h"

namespace postern {

/// Creates everything that `run` creates from it, including the packet buffers, but opens no
/// device. Prints an explanation of the configuration to standard output, or its errors to standard
/// error. Returns the process's exit code: that of `run`.
int run_check(const Spec& spec);

}  // namespace postern
