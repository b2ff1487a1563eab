// SPDX-License-Identifier: BSD-3-Clause
// The conditions of `conntrack` commands, which select connections.
#pragma once

#include <vector>

#include "args.h"
#include "base/result.h"
#include "conntrack/filter.h"
#include "control/command.h"
#include "plan/plan.h"

namespace postern {

/// `plan` has the valid names.
std::vector<ArgSpec> connection_conditions(const PlanSource& plan);
/// The Error describes the first bad one.
Result<ConnFilter> read_connection_filter(const Plan& plan, const Json& args);

/// Columns of a connection's tuple.
std::vector<Column> tuple_columns();

}  // namespace postern
