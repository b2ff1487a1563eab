// SPDX-License-Identifier: BSD-3-Clause
// TimeZone: the local time of a place, from the system's data base (TZif files, RFC 9636).
//
// Of the C library only the process's own zone is usable from several threads, and std::chrono has
// zones from g++ 14 on. Immutable. Control only.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace postern {

class TimeZone {
  public:
    /// Universal time.
    TimeZone() = default;
    /// By its name below /usr/share/zoneinfo, such as "Europe/Berlin"; empty: the machine's own
    /// (/etc/localtime, or universal time without it).
    static Result<TimeZone> load(std::string_view name);
    /// The contents of such a file. Any bytes may be given.
    static Result<TimeZone> parse(std::span<const std::uint8_t> file);

    /// Seconds that local time is ahead of universal time, `t` seconds after 1970.
    std::int32_t offset_at(std::int64_t t) const;

  private:
    /// A day of each year, and the local time at which the clocks are changed.
    struct Change {
        enum class Kind : std::uint8_t {
            weekday,     ///< the n-th of a month
            day,         ///< 1 to 365, without 29 February
            day_or_leap  ///< 0 to 365
        };
        Kind kind = Kind::weekday;
        std::uint16_t day = 0;  ///< of the week: 0 is Sunday
        std::uint8_t month = 0, week = 0;
        std::int32_t time_s = 0;

        /// In seconds after 1970, by the clock before it.
        std::int64_t in_year(int year) const;
    };
    /// What holds after the last transition of the file.
    struct Rule {
        std::int32_t standard_s = 0, summer_s = 0;
        bool has_summer = false;
        Change begin, end;
    };
    struct RuleReader;
    struct Transition {
        std::int64_t at;
        std::int32_t offset_s;  ///< from then on
    };

    std::int32_t first_s_ = 0;  ///< before all transitions
    std::vector<Transition> transitions_;
    std::optional<Rule> rule_;
};

}  // namespace postern
