// SPDX-License-Identifier: BSD-3-Clause
// Values of arguments as operators write them: numbers, times with units, ports by name, ranges.
// Pure, except that port_of() reads /etc/services, and local_time() the time zone. Control's thread
// only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "conntrack/filter.h"

namespace postern {

std::string lower(std::string_view text);
/// Whether two texts are equal but for the case of their letters.
bool same_word(std::string_view a, std::string_view b);

/// "1500", "2K", "10M", "1G": units are powers of 1024. Nothing for any other text, or above `max`.
std::optional<std::uint64_t> number_of(std::string_view text, std::uint64_t max);
/// Seconds: "90", "90s", "5m", "2h", "1d", "1h30m". Nothing for any other text, or above 136 years.
std::optional<std::uint32_t> seconds_of(std::string_view text);
/// A number, or the name of a service ("ftp") in any case, as /etc/services has it.
std::optional<std::uint16_t> port_of(std::string_view text);

/// One value as `one` reads it, "A-B", "A-" (at least) or "-B" (at most). Nothing for any other
/// text, or an empty range. Names may contain a dash ("http-alt").
std::optional<Interval> range_of(
    std::string_view text,
    const std::function<std::optional<std::uint64_t>(std::string_view)>& one);

/// A time since 1970 as local time: 2026-11-30T01:23:43.123+0100.
std::string local_time(std::int64_t ms);

}  // namespace postern
