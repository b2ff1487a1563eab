// SPDX-License-Identifier: BSD-3-Clause
// `schedule` of a rule.
#include <algorithm>

#include "config/loader.h"
#include "config/read_keys.h"

namespace postern {

bool ScheduleSpec::active_at(std::int64_t t) const {
    const std::int64_t local = t + (zone ? zone->offset_at(t) : 0);
    const std::int64_t minute = local / 60 - (local % 60 < 0 ? 1 : 0);
    const std::int64_t day = minute / kMinutesADay - (minute % kMinutesADay < 0 ? 1 : 0);
    const std::int64_t of_day = minute - day * kMinutesADay;
    // 1970 began on a Thursday.
    const auto begins_on = [this](std::int64_t d) {
        return (days >> (((d + 3) % 7 + 7) % 7) & 1) != 0;
    };
    if (from_min < to_min) return begins_on(day) && of_day >= from_min && of_day < to_min;
    return (begins_on(day) && of_day >= from_min) || (begins_on(day - 1) && of_day < to_min);
}

std::string ScheduleSpec::text() const {
    std::string out;
    for (unsigned first = 0; days != 0x7f && first < 7; ++first) {
        if ((days >> first & 1) == 0) continue;
        unsigned last = first;
        while (last < 6 && (days >> (last + 1) & 1) != 0)
            ++last;
        out += (out.empty() ? "" : ",") + std::string(kDayWords[first]);
        if (last != first) out += (last == first + 1 ? "," : "-") + std::string(kDayWords[last]);
        first = last;
    }
    const auto time = [](unsigned minutes) {
        std::string hh = std::to_string(minutes / 60), mm = std::to_string(minutes % 60);
        return std::string(hh.size() < 2, '0') + hh + ":" + std::string(mm.size() < 2, '0') + mm;
    };
    out += (out.empty() ? "" : " ") + time(from_min) + "-" + time(to_min);
    if (!timezone.empty()) out += " " + timezone;
    return out;
}

namespace config {

std::optional<std::uint16_t> time_of_day(std::string_view text) {
    if (text.size() != 5 || text[2] != ':') return std::nullopt;
    unsigned digits[4];
    for (unsigned i = 0; i < 4; ++i) {
        const char c = text[i < 2 ? i : i + 1];
        if (c < '0' || c > '9') return std::nullopt;
        digits[i] = static_cast<unsigned>(c - '0');
    }
    const unsigned minutes = digits[2] * 10 + digits[3];
    const unsigned all = (digits[0] * 10 + digits[1]) * 60 + minutes;
    if (minutes > 59 || all > ScheduleSpec::kMinutesADay) return std::nullopt;
    return static_cast<std::uint16_t>(all);
}

std::uint8_t days_of(std::string_view text) {
    const auto day = [](std::string_view word) -> std::optional<unsigned> {
        const auto at = std::ranges::find(kDayWords, word);
        if (at == std::end(kDayWords)) return std::nullopt;
        return static_cast<unsigned>(at - std::begin(kDayWords));
    };
    const std::size_t dash = text.find('-');
    const auto first = day(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : day(text.substr(dash + 1));
    if (!first || !last) return 0;
    std::uint8_t out = 0;
    for (unsigned d = *first;; d = (d + 1) % 7) {  // also fri-mon
        out |= static_cast<std::uint8_t>(1u << d);
        if (d == *last) return out;
    }
}

void Loader::schedule(const Value& v, RuleSpec& rule) {
    ScheduleSpec& out = rule.schedule.emplace();
    Map map(v);
    read_keys(map, out);
    if (const auto days = map.get("days")) {
        out.days = 0;
        for (const Value& item : days->one_or_more()) {
            const auto text = item.scalar();
            const std::uint8_t some = text ? days_of(*text) : std::uint8_t{0};
            if (some == 0)
                item.error(
                    "expected a day (mon, tue, wed, thu, fri, sat, sun) or a range such as "
                    "mon-fri, found " +
                    item.found());
            out.days |= some;
        }
    }
    const auto time = [&](std::string_view key, std::uint16_t& to) {
        const auto given = map.get(key);
        if (!given) return;
        const auto text = given->scalar();
        const auto minutes = text ? time_of_day(*text) : std::nullopt;
        if (minutes)
            to = *minutes;
        else
            given->error("expected a time of day from 00:00 to 24:00, found " + given->found());
    };
    time("from", out.from_min);
    time("to", out.to_min);
    if (out.from_min == out.to_min || out.from_min == ScheduleSpec::kMinutesADay)
        v.error("`from` and `to` leave no time between them (a whole day is 00:00 to 24:00)");
    const auto name = map.get("timezone");
    map.finish();
    // Many rules have the same one.
    auto& zone = time_zones_[out.timezone];
    if (!zone) {
        auto loaded = TimeZone::load(out.timezone);
        if (!loaded) return (name ? *name : v).error(loaded.error().message);
        zone = std::make_shared<const TimeZone>(std::move(*loaded));
    }
    out.zone = zone;
}

}  // namespace config
}  // namespace postern
