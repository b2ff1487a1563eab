// SPDX-License-Identifier: BSD-3-Clause
// Saved connections as JSON: what `conntrack save` writes and `conntrack restore` reads.
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

#include <cstdint>
#include <string>
#include <variant>

#include "base/result.h"
#include "control/command.h"
#include "expect/types.h"
#include "helper/helper_set.h"
#include "pipeline/control_requests.h"
#include "plan/plan.h"
#include "plan/steering.h"

namespace postern {

Json connection_record(const Plan& plan, const HelperSet& helpers, WorkerId worker,
                       const ConnQuery::Row& row);
Json expectation_record(const Plan& plan, const ExpectInfo& info, Tick now);

/// A connection read from its record; `idle_ms` and `age_ms` are as saved.
struct SavedConnection {
    ConnImage image;
    std::uint32_t idle_ms = 0;
    std::uint32_t age_ms = 0;
    std::string id;        ///< its id when it was saved
    std::string master;    ///< the same of its master; empty: none
    bool forgets = false;  ///< its helper is missing, or of another build
};

struct SavedExpectation {
    ExpectRequest request;  ///< without master; timeout_ms is the time left when it was saved
    std::string master;     ///< empty: none
};

using SavedRecord = std::variant<SavedConnection, SavedExpectation>;
/// The contents of a record, or the error of its first bad field.
Result<SavedRecord> read_record(const Plan& plan, const HelperSet& helpers, const Json& record);

/// The worker that tracks the connection of a record.
WorkerId home_of(const Steering& steering, const Conn& conn) noexcept;

}  // namespace postern
