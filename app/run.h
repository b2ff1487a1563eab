// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <string>

#include "base/step_times.h"
#include "live_config.h"

namespace postern {

struct RunOptions {
    bool verbose = false;
    std::string restore;  ///< file of saved connections to begin with; empty: the configured one
    /// For tests: schedules go by the seconds after 1970 in this file. Empty: by the system's
    /// clock.
    std::string clock;
    StepTimes times;  ///< of the steps before
};

/// The daemon: runs until SIGINT, SIGTERM or SIGQUIT. Returns the process's exit code.
int run_daemon(LiveConfig::Source source, const RunOptions& options);

}  // namespace postern
