// SPDX-License-Identifier: BSD-3-Clause
// Files of time zones (TZif), as the system has them, and days and times of schedules.
//
// Input: such a file, or a text. Oracles: an offset is less than 27 hours whatever the time, also
// around each power of two; the text of a schedule's days or time means what its reader says.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>

#include "base/time_zone.h"
#include "config/list_items.h"
#include "config/spec/schedule.h"
#include "require.h"

namespace postern {
namespace {

void check_zone(std::span<const std::uint8_t> file) {
    const auto zone = TimeZone::parse(file);
    if (!zone) {
        require(!zone.error().message.empty(), "no error text");
        return;
    }
    const auto check = [&](std::int64_t t) {
        require(std::abs(zone.value().offset_at(t)) < 27 * 3600, "an offset of days");
    };
    check(INT64_MIN);
    check(INT64_MAX);
    for (unsigned bit = 0; bit < 63; ++bit) {
        check((std::int64_t{1} << bit) - 1);
        check(-(std::int64_t{1} << bit));
    }
    // Two years, month by month.
    for (std::int64_t t = 4'000'000'000; t < 4'063'000'000; t += 2'600'000)
        check(t);
}

void check_text(std::string_view text) {
    const std::uint8_t days = config::days_of(text);
    require(days <= 0x7f, "a day beyond Sunday");
    if (text.size() == 3 && days != 0) require((days & (days - 1)) == 0, "a day that is several");
    const auto time = config::time_of_day(text);
    require(!time || *time <= ScheduleSpec::kMinutesADay, "a time beyond the day");
    ScheduleSpec s;
    if (days != 0) s.days = days;
    if (time && *time != 0) s.to_min = *time;
    bool active = false, idle = false;
    for (std::int64_t minute = 0; minute < 7 * ScheduleSpec::kMinutesADay; minute += 7)
        (s.active_at(minute * 60) ? active : idle) = true;
    require(active || s.to_min < 7, "a schedule that never is");
    require(idle || (s.days == 0x7f && s.to_min > ScheduleSpec::kMinutesADay - 7),
            "a schedule that always is");
}

}  // namespace
}  // namespace postern

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    postern::check_zone({data, size});
    postern::check_text({reinterpret_cast<const char*>(data), size});
    return 0;
}
