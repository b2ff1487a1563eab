// SPDX-License-Identifier: BSD-3-Clause
// `postern commands`: the descriptions of posternctl's commands, for the manual and for completion
// without a daemon.
#pragma once

namespace postern {

/// One JSON object a line. Returns the exit code, and does not come back if DPDK has started.
int run_describe();

}  // namespace postern
