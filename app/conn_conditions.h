// SPDX-License-Identifier: BSD-3-Clause
// The conditions that `conntrack` commands take: which connections are meant.
#pragma once

#include <vector>

#include "args.h"
#include "base/result.h"
#include "conntrack/filter.h"
#include "control/command.h"
#include "plan/plan.h"

namespace postern {

/// `plan` knows the names that there are.
std::vector<ArgSpec> connection_conditions(const PlanSource& plan);
/// The Error says what is wrong with the first bad one.
Result<ConnFilter> read_connection_filter(const Plan& plan, const Json& args);

/// Columns of a connection's tuple.
std::vector<Column> tuple_columns();

}  // namespace postern
