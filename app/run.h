// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

#include "live_config.h"

namespace postern {

/// The daemon: runs until SIGINT, SIGTERM or SIGQUIT. Returns the process's exit code.
struct RunOptions {
    bool verbose = false;
    std::string restore;  ///< file of saved connections to begin with; empty: the configured one
    /// For tests: schedules go by the seconds after 1970 in this file. Empty: by the system's
    /// clock.
    std::string clock;
};

/// The daemon: runs until SIGINT, SIGTERM or SIGQUIT. Returns the process's exit code.
int run_daemon(LiveConfig::Source source, const RunOptions& options);

}  // namespace postern
