// SPDX-License-Identifier: BSD-3-Clause
#include "value_text.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <ctime>

#include <arpa/inet.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <netdb.h>

namespace postern {
namespace {

char lower(char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

/// Digits at the beginning of `text`, which are removed from it.
std::optional<std::uint64_t> take_digits(std::string_view& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{}) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return value;
}

}  // namespace

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out)
        c = lower(c);
    return out;
}

bool same_word(std::string_view a, std::string_view b) {
    return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

std::optional<std::uint64_t> number_of(std::string_view text, std::uint64_t max) {
    const auto value = take_digits(text);
    if (!value) return std::nullopt;
    unsigned shift = 0;
    if (!text.empty()) {
        const auto unit = std::string_view("kmg").find(lower(text[0]));
        if (text.size() != 1 || unit == std::string_view::npos) return std::nullopt;
        shift = 10 * (static_cast<unsigned>(unit) + 1);
    }
    if (*value > max >> shift) return std::nullopt;
    return *value << shift;
}

std::optional<std::uint32_t> seconds_of(std::string_view text) {
    std::uint64_t sum = 0, last_unit = UINT64_MAX;
    if (text.empty()) return std::nullopt;
    while (!text.empty()) {
        const auto value = take_digits(text);
        if (!value || *value > UINT32_MAX) return std::nullopt;
        std::uint64_t unit = 1;
        if (!text.empty()) {
            switch (lower(text[0])) {
                case 's': unit = 1; break;
                case 'm': unit = 60; break;
                case 'h': unit = 3600; break;
                case 'd': unit = 86400; break;
                default: return std::nullopt;
            }
            text.remove_prefix(1);
        }
        // 1h30m, not 30m1h.
        if (unit >= last_unit) return std::nullopt;
        last_unit = unit;
        sum += *value * unit;
        if (sum > UINT32_MAX) return std::nullopt;
    }
    return static_cast<std::uint32_t>(sum);
}

std::optional<std::uint16_t> port_of(std::string_view text) {
    if (const auto n = number_of(text, 65535); n && text.back() >= '0' && text.back() <= '9')
        return static_cast<std::uint16_t>(*n);
    if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return std::nullopt;
    const servent* const found = ::getservbyname(lower(text).c_str(), nullptr);
    if (found == nullptr) return std::nullopt;
    return ntohs(static_cast<std::uint16_t>(found->s_port));
}

std::optional<Interval> range_of(
    std::string_view text,
    const std::function<std::optional<std::uint64_t>(std::string_view)>& one) {
    if (const auto value = one(text)) return Interval::of(*value);
    for (auto dash = text.find('-'); dash != std::string_view::npos;
         dash = text.find('-', dash + 1)) {
        if (text.size() == 1) break;
        Interval range;
        const auto before = text.substr(0, dash), after = text.substr(dash + 1);
        if (!before.empty()) {
            const auto least = one(before);
            if (!least) continue;
            range.least = *least;
        }
        if (!after.empty()) {
            const auto most = one(after);
            if (!most) continue;
            range.most = *most;
        }
        if (range.least <= range.most) return range;
    }
    return std::nullopt;
}

std::string local_time(std::int64_t ms) {
    const std::tm local = fmt::localtime(static_cast<std::time_t>(ms / 1000));
    return fmt::format("{:%FT%T}.{:03}{:%z}", local, ms % 1000, local);
}

}  // namespace postern
