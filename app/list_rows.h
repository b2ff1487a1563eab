// SPDX-License-Identifier: BSD-3-Clause
// The fields of a connection and of an expectation in lists, events and replay.
#pragma once

#include "control/command.h"
#include "expect/table.h"
#include "firewall.h"

namespace postern {

/// One row of `conntrack list`; also used for tests.
Json connection_row(const Plan& plan, WorkerId worker, std::uint32_t slot, const Conn& conn,
                    Tick now);
/// The fields that lists and replay print of an expectation.
Json expectation_row(const Plan& plan, const ExpectInfo& info);

}  // namespace postern
