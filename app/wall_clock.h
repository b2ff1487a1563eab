// SPDX-License-Identifier: BSD-3-Clause
// The time of day, for people and files. Control only.
#pragma once

#include <cstdint>
#include <string>

namespace postern {

/// Milliseconds since 1970.
std::int64_t wall_ms();
/// The same as local time: 2026-11-30T01:23:43.123+0100.
std::string local_time(std::int64_t ms);

}  // namespace postern
