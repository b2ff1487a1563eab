// SPDX-License-Identifier: BSD-3-Clause
// Files of saved connections, at posternctl's side: the daemon's bytes, unchanged.
#pragma once

#include <string>

#include "control/command.h"

namespace postern {

/// Writes the output of `conntrack save` to a new file that replaces `path`, if it is complete.
/// `args` of the command: conditions, and the form. Prints the numbers, as text or as a JSON
/// object; returns posternctl's exit code.
int save_state(const std::string& socket, const std::string& path, const Json& args,
               bool json = false);
/// Restores such a file. Prints how much was restored, and why the rest was not. 2: the file is not
/// whole; what is sound of it was restored.
int restore_state(const std::string& socket, const std::string& path, bool json = false);

}  // namespace postern
