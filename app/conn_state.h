// SPDX-License-Identifier: BSD-3-Clause
// Saved connections as JSON: what `conntrack save` writes and `conntrack restore` reads.
//
// A record is one object with one key: {"postern_state": {…}} first, then {"connection": {…}} and
// {"expectation": {…}}. Configured things (rules, helpers, zones, timeout profiles) go by name,
// times are durations, connections are named by the id that they had; so a record means something
// to another process with another configuration. A helper's private state has a name for each field
// where its descriptor says them, else it is bytes for the same build of that helper.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "control/command.h"
#include "expect/types.h"
#include "firewall.h"
#include "pipeline/mailbox.h"

namespace postern {

inline constexpr unsigned kStateVersion = 1;

/// Whether records can hold it: GRE's calls and ICMP's queries they cannot.
bool can_be_saved(const Conn& conn) noexcept;

/// WORKER/INDEX.GENERATION, as lists show it.
std::string id_text(ConnId id);

Json connection_record(Firewall& fw, WorkerId worker, const Mailbox::Row& row);
Json expectation_record(const Plan& plan, const ExpectInfo& info, Tick now);

/// A connection read from its record; `idle_ms` and `age_ms` are as they were when it was saved.
struct SavedConnection {
    ConnImage image;
    std::uint32_t idle_ms = 0;
    std::uint32_t age_ms = 0;
    std::string id;        ///< that it had
    std::string master;    ///< the same of its master; empty: none
    bool forgets = false;  ///< its helper is not there (any more), or of another build
};
Result<SavedConnection> read_connection(Firewall& fw, const Json& record);

struct SavedExpectation {
    ExpectRequest request;  ///< without master; timeout_ms is what was left when it was saved
    std::string master;     ///< empty: none
};
Result<SavedExpectation> read_expectation(Firewall& fw, const Json& record);

/// Who tracks connections with these ends.
WorkerId home_of(const Plan& plan, const Tuple& tuple) noexcept;

}  // namespace postern
