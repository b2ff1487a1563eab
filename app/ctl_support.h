// SPDX-License-Identifier: BSD-3-Clause
// `posternctl support FILE`: one archive for a bug report. It has what the commands that read show:
// counters, states, names, the configuration. It has no payload, no connections and no keys.
#pragma once

#include <string>

#include "ctl_commands.h"

namespace postern {

/// Writes a new file of mode 0600. The exit code; problems are printed.
int write_support(const std::string& socket, const CtlCommands& commands, const Words& words);

}  // namespace postern
