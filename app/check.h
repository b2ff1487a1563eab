// SPDX-License-Identifier: BSD-3-Clause
// `postern check`: reports whether a configuration would run, and explains it.
#pragma once

#include <string>

#include "base/step_times.h"
#include "config/spec.h"

namespace postern {

/// Creates everything that `run` creates from it, including the packet buffers, but opens no
/// device. Prints an explanation of the configuration to standard output, each rule as it is
/// understood, what the policy costs, and how long a start takes; errors, and warnings of rules
/// that can never match, to standard error. `file` is its name in warnings, `times` those of the
/// steps before. Returns the process's exit code: that of `run`.
int run_check(const Spec& spec, const std::string& file, StepTimes times);

}  // namespace postern
