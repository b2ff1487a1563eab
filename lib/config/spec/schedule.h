// SPDX-License-Identifier: BSD-3-Clause
// `schedule` of a rule: the days and hours in which it is in force.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/time_zone.h"
#include "config/key.h"

namespace postern {

inline constexpr std::string_view kDayWords[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

struct ScheduleSpec {
    static constexpr unsigned kMinutesADay = 24 * 60;
    std::uint8_t days = 0x7f;             ///< bit 0: Monday; of the beginning
    std::uint16_t from_min = 0;           ///< after midnight
    std::uint16_t to_min = kMinutesADay;  ///< not included; before `from`: of the next day
    std::string timezone;                 ///< empty: the machine's
    std::shared_ptr<const TimeZone> zone;

    /// Whether it is in force, `t` seconds after 1970. It changes at whole minutes.
    bool active_at(std::int64_t t) const;
    /// As operators write it: `mon-fri 08:00-18:00`.
    std::string text() const;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("days", {.help = "days on which it begins",
                              .form = Form::days,
                              .shape = Shape::one_or_more,
                              .words = kDayWords,
                              .noun = "a day",
                              .type = "one or more of `mon` to `sun`, or ranges such as `mon-fri`",
                              .default_text = "all"});
        keys.by_hand("from", {.help = "time of day at which it begins",
                              .form = Form::time_of_day,
                              .type = "`HH:MM`",
                              .default_text = "`00:00`"});
        keys.by_hand("to", {.help = "time of day at which it ends; up to `from`, that of the next "
                                    "day: `{from: 22:00, to: 06:00}`",
                            .form = Form::time_of_day,
                            .type = "`HH:MM`",
                            .default_text = "`24:00`"});
        keys("timezone", &ScheduleSpec::timezone,
             {.help = "time zone, by its name below /usr/share/zoneinfo: `Europe/Berlin`, `UTC`. "
                      "Local time decides also when the clocks change: what is skipped does not "
                      "happen, and what comes twice happens twice",
              .range = {1, 64},
              .default_text = "that of the machine"});
    }
};

}  // namespace postern
