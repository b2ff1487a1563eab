// SPDX-License-Identifier: BSD-3-Clause
// Records of captures and traces as rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/command.h"
#include "log/record_rows.h"
#include "pipeline/tap_record.h"
#include "plan/plan.h"

namespace postern {

/// One line for people: "accept new [ftp-control] connection 0/7.1 original syn_sent helper ftp".
/// In brackets: the rule, or why it was dropped.
std::string tap_comment(const Plan& plan, const TapRecord& record);

/// A captured packet with all fields; without its bytes.
Json tap_row(const Plan& plan, const TapRecord& record, const TscWall& clock);
/// The port at which it was seen: index of its name in the plan.
std::uint32_t tap_port(const TapRecord& record);

/// A traced packet: one row for its arrival, one for each stage, one for its end. `number`: its
/// number in this trace.
std::vector<Json> trace_rows(const Plan& plan, const TapRecord& record, const TscWall& clock,
                             std::uint64_t number);

}  // namespace postern
