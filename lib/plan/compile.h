// SPDX-License-Identifier: BSD-3-Clause
// compile(): from a Spec to a Plan. Control at start; any one thread for another configuration.
// Needs an initialised EAL, whose heap holds the prefixes of zones; uses no ports, threads or
// workers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/step_times.h"
#include "config/spec.h"
#include "plan/helpers.h"
#include "plan/names.h"
#include "plan/plan.h"

namespace postern {

/// The helpers and stages of this build.
struct Catalogue {
    FindHelper find_helper = nullptr;
    const StageDesc* (*find_stage)(std::string_view name) = nullptr;
    /// Returns the error of an order of stages; nothing if it is valid.
    std::optional<std::string> (*order_problem)(const std::vector<const StageDesc*>&) = nullptr;
};

struct CompileOptions {
    /// Those of the previous plan, which the new one shares if its helpers are the same.
    std::shared_ptr<const HelperInstances> previous_helpers;
    unsigned workers = 1;
    bool believe_checksums = false;         ///< overrides the ports' `checksums`: see Plan
    ScannerCache* scanner_cache = nullptr;  ///< used while compiling only
    StepTimes* times = nullptr;             ///< gets the times of its steps
    Spec* as_compiled = nullptr;            ///< gets the Spec with the plan's numbers
    std::int64_t wall_s = 0;                ///< the time for schedules, seconds after 1970
    KnownSets sets;                         ///< of earlier plans: they keep their contents
    /// For new sets; null: a clock and a secret of their own, and no reader but this thread.
    std::shared_ptr<const SetShared> set_shared;
};

/// Which rules are in force at this time, in their order. Those without a schedule always are.
std::vector<bool> rules_in_force(const Spec& spec, std::int64_t wall_s);

/// `previous`: the names of the plan to be replaced, see Names.
Result<Plan> compile(const Spec& spec, const Names& previous, const Catalogue& catalogue,
                     const CompileOptions& options);

}  // namespace postern
