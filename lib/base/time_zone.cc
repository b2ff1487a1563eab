// SPDX-License-Identifier: BSD-3-Clause
#include "base/time_zone.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace postern {
namespace {

constexpr const char* kFolder = "/usr/share/zoneinfo/";
constexpr const char* kOwn = "/etc/localtime";
constexpr std::size_t kMaxBytes = 1u << 20;
constexpr std::int64_t kDay = 86'400;
constexpr std::int32_t kMostOffset = 26 * 3600;  // RFC 9636 section 3.2

std::int64_t big_endian(const std::uint8_t* p, unsigned bytes) {
    std::uint64_t n = (p[0] & 0x80) != 0 ? ~std::uint64_t{0} : 0;
    for (unsigned i = 0; i < bytes; ++i)
        n = n << 8 | p[i];
    return static_cast<std::int64_t>(n);
}

std::int64_t days_to(int year, unsigned month, unsigned day) {
    using namespace std::chrono;
    return sys_days(std::chrono::year(year) / static_cast<int>(month) / static_cast<int>(day))
        .time_since_epoch()
        .count();
}
bool is_leap(int year) {
    return std::chrono::year(year).is_leap();
}
/// 0 is Sunday.
unsigned weekday_of(std::int64_t day) {
    return static_cast<unsigned>(((day % 7) + 7 + 4) % 7);  // 1970 began on a Thursday
}

}  // namespace

/// The last line of a file: `CET-1CEST,M3.5.0,M10.5.0/3` (POSIX, TZ).
struct TimeZone::RuleReader {
    std::string_view text;
    bool ok = true;

    bool take(char c) {
        if (text.empty() || text.front() != c) return false;
        text.remove_prefix(1);
        return true;
    }
    unsigned number(unsigned most) {
        unsigned n = 0, digits = 0;
        for (; !text.empty() && text.front() >= '0' && text.front() <= '9' && digits < 4;
             ++digits) {
            n = n * 10 + static_cast<unsigned>(text.front() - '0');
            text.remove_prefix(1);
        }
        ok &= digits != 0 && n <= most;
        return n;
    }
    void name() {
        std::size_t end = 0;
        if (take('<')) {
            end = text.find('>');
            if (end == std::string_view::npos) return void(ok = false);
            text.remove_prefix(end + 1);
            return;
        }
        while (end < text.size() &&
               ((text[end] >= 'A' && text[end] <= 'Z') || (text[end] >= 'a' && text[end] <= 'z')))
            ++end;
        ok &= end >= 3;
        text.remove_prefix(end);
    }
    std::int32_t time(unsigned most_hours) {
        const bool negative = take('-');
        if (!negative) (void)take('+');
        unsigned seconds = number(most_hours) * 3600;
        if (take(':')) seconds += number(59) * 60;
        if (take(':')) seconds += number(59);
        return negative ? -static_cast<std::int32_t>(seconds) : static_cast<std::int32_t>(seconds);
    }
    Change change() {
        Change c;
        ok &= take(',');
        if (take('M')) {
            c.month = static_cast<std::uint8_t>(number(12));
            ok &= take('.');
            c.week = static_cast<std::uint8_t>(number(5));
            ok &= take('.') && c.month != 0 && c.week != 0;
            c.day = static_cast<std::uint16_t>(number(6));
        } else if (take('J')) {
            c.kind = Change::Kind::day;
            c.day = static_cast<std::uint16_t>(number(365));
            ok &= c.day != 0;
        } else {
            c.kind = Change::Kind::day_or_leap;
            c.day = static_cast<std::uint16_t>(number(365));
        }
        c.time_s = take('/') ? time(167) : 2 * 3600;
        return c;
    }
    Rule rule() {
        Rule r;
        name();
        r.standard_s = r.summer_s = -time(24);
        if (!ok || text.empty()) return r;
        r.has_summer = true;
        name();
        r.summer_s = !text.empty() && text.front() != ',' ? -time(24) : r.standard_s + 3600;
        r.begin = change();
        r.end = change();
        ok &= text.empty();
        return r;
    }
};

std::int64_t TimeZone::Change::in_year(int year) const {
    std::int64_t at = 0;
    switch (kind) {
        case Kind::day:
            at = days_to(year, 1, 1) + day - 1 + (is_leap(year) && day >= 60 ? 1 : 0);
            break;
        case Kind::day_or_leap: at = days_to(year, 1, 1) + day; break;
        case Kind::weekday: {
            const std::int64_t first = days_to(year, month, 1);
            const std::int64_t next =
                month == 12 ? days_to(year + 1, 1, 1) : days_to(year, month + 1u, 1);
            at = first + (day + 7 - weekday_of(first)) % 7 + 7 * (week - 1);
            if (at >= next) at -= 7;  // the fifth is the last
            break;
        }
    }
    return at * kDay + time_s;
}

std::int32_t TimeZone::offset_at(std::int64_t when) const {
    // Within what a calendar can say.
    constexpr std::int64_t kMost = 10'000'000 * kDay;
    const std::int64_t t = std::clamp(when, -kMost, kMost);
    if (!transitions_.empty() && t < transitions_.back().at) {
        const auto next =
            std::ranges::upper_bound(transitions_, t, {}, [](const Transition& x) { return x.at; });
        return next == transitions_.begin() ? first_s_ : (next - 1)->offset_s;
    }
    if (!rule_) return transitions_.empty() ? first_s_ : transitions_.back().offset_s;
    if (!rule_->has_summer) return rule_->standard_s;
    using namespace std::chrono;
    const std::int64_t day = (t + rule_->standard_s) / kDay;
    const int year = static_cast<int>(year_month_day(sys_days(days(static_cast<int>(day)))).year());
    const std::int64_t begin = rule_->begin.in_year(year) - rule_->standard_s;
    const std::int64_t end = rule_->end.in_year(year) - rule_->summer_s;
    const bool summer = begin < end ? t >= begin && t < end : t >= begin || t < end;
    return summer ? rule_->summer_s : rule_->standard_s;
}

Result<TimeZone> TimeZone::parse(std::span<const std::uint8_t> file) {
    const Error wrong{"is no file of a time zone"};
    struct Counts {
        std::size_t is_ut, is_standard, leap, times, types, chars;
    };
    std::size_t at = 0;
    const auto header = [&]() -> std::optional<Counts> {
        constexpr std::size_t kHeader = 44;
        if (file.size() - at < kHeader || std::memcmp(file.data() + at, "TZif", 4) != 0)
            return std::nullopt;
        std::array<std::size_t, 6> n{};
        for (unsigned i = 0; i < n.size(); ++i) {
            n[i] = static_cast<std::size_t>(big_endian(file.data() + at + 20 + 4 * i, 4));
            if (n[i] > kMaxBytes) return std::nullopt;
        }
        at += kHeader;
        return Counts{n[0], n[1], n[2], n[3], n[4], n[5]};
    };
    const auto bytes_of = [](const Counts& c, std::size_t of_time) {
        return c.times * (of_time + 1) + c.types * 6 + c.chars + c.leap * (of_time + 4) +
               c.is_standard + c.is_ut;
    };
    const auto old = header();
    if (!old) return wrong;
    // The first part has 32 bits a time, for old programs.
    if (file[4] < '2') return Error{"is a file of a time zone of the first version (expected 2)"};
    if (bytes_of(*old, 4) > file.size() - at) return wrong;
    at += bytes_of(*old, 4);
    const auto counts = header();
    if (!counts || counts->types == 0 || bytes_of(*counts, 8) > file.size() - at) return wrong;
    if (counts->leap != 0) return Error{"counts leap seconds, unlike the system's clock"};
    const std::uint8_t* const times = file.data() + at;
    const std::uint8_t* const kinds = times + counts->times * 8;
    const std::uint8_t* const types = kinds + counts->times;
    const auto offset_of = [&](std::size_t type) {
        return static_cast<std::int32_t>(big_endian(types + 6 * type, 4));
    };
    for (std::size_t i = 0; i < counts->types; ++i)
        if (offset_of(i) < -kMostOffset || offset_of(i) > kMostOffset) return wrong;
    TimeZone out;
    out.first_s_ = offset_of(0);
    for (std::size_t i = 0; i < counts->times; ++i) {
        const std::int64_t when = big_endian(times + 8 * i, 8);
        if (kinds[i] >= counts->types ||
            (!out.transitions_.empty() && when <= out.transitions_.back().at))
            return wrong;
        out.transitions_.push_back({when, offset_of(kinds[i])});
    }
    at += bytes_of(*counts, 8);
    std::string_view rest(reinterpret_cast<const char*>(file.data()) + at, file.size() - at);
    if (rest.size() < 2 || rest.front() != '\n') return wrong;
    rest.remove_prefix(1);
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) return wrong;
    if (end == 0) return out;
    RuleReader reader{rest.substr(0, end)};
    const Rule rule = reader.rule();
    if (!reader.ok) return wrong;
    out.rule_ = rule;
    return out;
}

Result<TimeZone> TimeZone::load(std::string_view name) {
    if (name.empty() && ::access(kOwn, F_OK) != 0) return TimeZone();
    const auto is_part = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '+' || c == '-' || c == '/';
    };
    const Error unknown{"\"" + std::string(name) +
                        "\" is not a time zone (expected a name such as Europe/Berlin or UTC, of a "
                        "file below " +
                        kFolder + ")"};
    // No dot, so no way out of the folder.
    if (name.size() > 64 || name.starts_with('/') || !std::ranges::all_of(name, is_part))
        return unknown;
    const std::string path = name.empty() ? kOwn : kFolder + std::string(name);
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat about {};
    if (fd.get() < 0 || ::fstat(fd.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
        if (name == "UTC") return TimeZone();  // without the data base, too
        return name.empty() ? Error{std::string(kOwn) + " cannot be read"} : unknown;
    }
    std::vector<std::uint8_t> bytes(kMaxBytes);
    std::size_t n = 0;
    for (ssize_t got = 1; got > 0 && n < bytes.size(); n += static_cast<std::size_t>(got)) {
        got = ::read(fd.get(), bytes.data() + n, bytes.size() - n);
        if (got < 0) return Error{path + " cannot be read: " + std::strerror(errno)};
    }
    auto zone = parse(std::span(bytes).first(n));
    if (!zone) return Error{path + " " + zone.error().message};
    return zone;
}

}  // namespace postern
