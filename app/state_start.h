// SPDX-License-Identifier: BSD-3-Clause
// The file of saved connections at the start of the daemon, before its workers run.
//
// Control loads the records straight into the tables, in the place of the workers, so that no
// packet is judged without them. The workers' time is 0 meanwhile: nothing ages while it loads.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "base/result.h"
#include "config/spec.h"
#include "firewall.h"
#include "restorer.h"
#include "state/file.h"
#include "worker_requests.h"

namespace postern {

/// The file to restore at the start.
struct StartFile {
    std::string path;  ///< empty: none
    /// Named by the operator for this start: if it cannot be restored whole, nothing starts.
    /// Otherwise it is the configured file, and the daemon starts without it.
    bool is_required = false;
    std::optional<StateFileReader> file;
};

/// Opens `restore` (from the command line) if it is not empty, else the configured file. An error
/// is one of the former; problems with the configured file are logged.
Result<StartFile> open_start_file(const std::string& restore, const StateSpec& state);

/// Estimates the seconds that restoring `path` takes, by restoring its beginning for this time.
/// `firewall` is not usable afterwards. An Error: the file cannot be read.
Result<double> estimate_restore(Firewall& firewall, const std::string& path,
                                std::chrono::milliseconds enough = std::chrono::milliseconds(250));

/// Restores it, logs what came of it, and adds it to `totals`. Call while no worker runs. A
/// configured file that is damaged is kept as PATH.damaged; what is sound in it is restored.
Result<void> restore_at_start(Firewall& firewall, WorkerRequests& requests, StartFile& start,
                              RestoreSummary& totals);

}  // namespace postern
