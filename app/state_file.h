// SPDX-License-Identifier: BSD-3-Clause
// Files of saved connections, at posternctl's side: JSON lines, the daemon's records as they came.
#pragma once

#include <string>

namespace postern {

/// Writes what `conntrack save` tells into a new file that takes the place of `path`, if all of it
/// came. Prints how much it is; an exit code of posternctl.
int save_state(const std::string& socket, const std::string& path);
/// Gives such a file back, masters before their children. Prints how much was restored, and why the
/// rest was not.
int restore_state(const std::string& socket, const std::string& path);

}  // namespace postern
