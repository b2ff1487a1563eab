// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "live_config.h"

namespace postern {

/// The daemon: runs until SIGINT, SIGTERM or SIGQUIT. Returns the process's exit code.
/// `restore`: a file of saved connections to begin with; empty: the configured one, if any.
int run_daemon(LiveConfig::Source source, bool verbose, const std::string& restore = {});

}  // namespace postern
