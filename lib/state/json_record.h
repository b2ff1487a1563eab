// SPDX-License-Identifier: BSD-3-Clause
// Saved connections as JSON, for people: what `conntrack save --json` writes, and what earlier
// versions wrote.
//
// A record is one object with one key: {"postern_state": {…}} first, then {"connection": {…}} and
// {"expectation": {…}}. Configured things (rules, helpers, zones, timeout profiles) go by name,
// times are durations, connections are named by the id that they had; so a record is valid in
// another process with another configuration. Trackers' and helpers' state is stored by the names
// and within the ranges of their tables (base/field.h); a remote helper's state is bytes.
//
// Input is checked as if an attacker had written it: it allows only indices, states and sizes that
// packets could have caused.
#pragma once

#include "base/result.h"
#include "control/command.h"
#include "helper/helper_set.h"
#include "state/saved.h"

namespace postern {

/// `image`: null if the connection has no helper's state. `now`: its worker's time.
Json connection_record(const Plan& plan, const HelperSet& helpers, ConnId id, const Conn& conn,
                       const HelperImage* image, Tick now);
Json expectation_record(const Plan& plan, const ExpectInfo& info, Tick now);

/// The contents of a record, or the error of its first bad field. `fault`: its cause.
Result<SavedRecord> read_record(const Plan& plan, const HelperSet& helpers, const Json& record,
                                RecordFault* fault = nullptr);

}  // namespace postern
