// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "config/spec.h"

namespace postern {

/// The daemon: runs until SIGINT, SIGTERM or SIGQUIT. Returns the process's exit code.
int run_daemon(const Spec& spec, bool verbose);

}  // namespace postern
