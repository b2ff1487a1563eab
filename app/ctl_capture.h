// SPDX-License-Identifier: BSD-3-Clause
// Packets at posternctl's side: filters are compiled here, and captured packets go into a file. The
// daemon does neither: names in a filter may be looked up in the network, and it writes no files.
#pragma once

#include <string>

#include "control/command.h"

namespace postern {

/// Compiles the filters among the arguments of a command, in place. The Error is the first wrong
/// one's.
Result<void> compile_filters(const Json& command, Json& args);

/// Writes the packets of a command that captures into `path`, a pcapng file of mode 0600, or to
/// standard output (-), until the command ends or a signal asks to stop. Prints the totals to
/// standard error; `json`: as an object. Returns posternctl's exit code.
int write_packets(const std::string& socket, const std::string& path, const std::string& command,
                  Json args, bool json);

}  // namespace postern
