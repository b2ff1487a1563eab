// SPDX-License-Identifier: BSD-3-Clause
// Saved connections and expectations, as the codecs read them: with the numbers of a plan, without
// the times and ids of the process that reads them.
//
// Both codecs (json_record.h, record_writer.h) name rules, helpers, zones and timeout profiles, so
// a record is valid in another process with another configuration. Durations are relative to the
// save. Control only.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "base/types.h"
#include "expect/types.h"
#include "pipeline/control_requests.h"
#include "plan/plan.h"
#include "plan/steering.h"

namespace postern {

/// What a file says about itself.
struct StateHeader {
    std::int64_t saved_ms = 0;      ///< wall clock, milliseconds since 1970
    std::int64_t boot_ms = 0;       ///< milliseconds since the machine's start, sleep included
    std::string boot_id;            ///< of that start, see random(4); empty: not known
    std::string host;               ///< name of the host; empty: not known
    std::uint64_t plan_digest = 0;  ///< see digest_of(); 0: not known
};

/// Numbers of records in a file, and of connections that were left out, by cause.
struct StateTotals {
    std::uint64_t connections = 0, expectations = 0;
    /// Of these connections: bytes of a control stream that were under way are not in the file.
    std::uint64_t cut = 0;
    std::uint64_t filtered = 0;   ///< left out: they do not match the conditions
    std::uint64_t zone_gone = 0;  ///< left out: a reload has removed their zone
    /// Expectations that were left out: a reload has removed their zone or helper.
    std::uint64_t expectations_gone = 0;
    std::uint64_t expectations_filtered = 0;  ///< left out: so was their master
};

/// A connection. `idle_ms` and `age_ms` are as of the save.
struct SavedConnection {
    ConnImage image;  ///< conn.master is none: `master` is not valid in this process
    std::uint32_t idle_ms = 0;
    std::uint32_t age_ms = 0;
    ConnId id;             ///< its id when it was saved
    ConnId master;         ///< the same of its master
    bool forgets = false;  ///< its helper is missing, or of another build
};

/// An expectation.
struct SavedExpectation {
    ExpectRequest request;  ///< without master; timeout_ms is the time left at the save
    ConnId master;          ///< its id when it was saved; none: made by an operator
};

using SavedRecord = std::variant<SavedConnection, SavedExpectation>;

/// Why a record cannot be used.
enum class RecordFault : std::uint8_t {
    none,
    damaged,   ///< it is not what any process wrote, or a value is out of range
    no_zone,   ///< its zones are missing, not configured, or no bridge joins them
    no_helper  ///< an expectation whose helper is not configured
};
inline constexpr unsigned kRecordFaults = 4;
/// "damaged", "no_zone", …
const char* to_string(RecordFault fault) noexcept;

/// The worker that tracks the connection of a record.
WorkerId home_of(const Steering& steering, const Conn& conn) noexcept;

/// A digest of the names and helper layouts of a plan: equal digests mean that each name of a file
/// has the same meaning. FNV-1a, which detects changes but no forgery.
std::uint64_t digest_of(const Plan& plan, const HelperSet& helpers);

/// The header of a file that is begun now.
StateHeader header_now(const Plan& plan, const HelperSet& helpers);

/// A header with the present times and nothing else.
StateHeader present_times();

/// Milliseconds from the beginning of a file to that of another one, `now`. Exact and at most
/// kMaxSinceSaveMs if the machine was not restarted between them, whatever was done to the wall
/// clock. Else by the wall clock: from 0, if it was set back, to kMaxByWallClockMs, since it may
/// have been set forward.
inline constexpr std::uint32_t kMaxSinceSaveMs = INT32_MAX / 2;
inline constexpr std::uint32_t kMaxByWallClockMs = 3'600'000;
std::uint32_t elapsed_between(const StateHeader& saved, const StateHeader& now) noexcept;

}  // namespace postern
