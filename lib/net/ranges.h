// SPDX-License-Identifier: BSD-3-Clause
// Ranges of numbers, and sets of numbers as lists of ranges. Plain values; control thread.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <limits>
#include <vector>

namespace postern {

/// A number of 128 bits: an IPv6 address.
struct Wide {
    std::uint64_t high = 0, low = 0;
    friend constexpr auto operator<=>(const Wide&, const Wide&) = default;
};

template <class T>
struct NumberLimits {
    static constexpr T kMax = std::numeric_limits<T>::max();
};
template <>
struct NumberLimits<Wide> {
    static constexpr Wide kMax{UINT64_MAX, UINT64_MAX};
};

/// The next and the previous number; both wrap around.
template <class T>
constexpr T number_after(T n) noexcept {
    return static_cast<T>(n + 1);
}
constexpr Wide number_after(Wide n) noexcept {
    return {n.high + (n.low == UINT64_MAX ? 1 : 0), n.low + 1};
}
template <class T>
constexpr T number_before(T n) noexcept {
    return static_cast<T>(n - 1);
}
constexpr Wide number_before(Wide n) noexcept {
    return {n.high - (n.low == 0 ? 1 : 0), n.low - 1};
}

/// First and last number, both included.
template <class T>
struct NumberRange {
    T first{};
    T last{};
    friend constexpr auto operator<=>(const NumberRange&, const NumberRange&) = default;
};

/// A set: ascending ranges that neither overlap nor touch.
template <class T>
using NumberSet = std::vector<NumberRange<T>>;

/// The set of the numbers in these ranges, which may overlap and have any order.
template <class T>
NumberSet<T> set_of(std::vector<NumberRange<T>> ranges) {
    std::sort(ranges.begin(), ranges.end());
    NumberSet<T> out;
    for (const auto& r : ranges) {
        if (!out.empty() &&
            (r.first <= out.back().last || r.first == number_after(out.back().last)))
            out.back().last = std::max(out.back().last, r.last);
        else
            out.push_back(r);
    }
    return out;
}

/// All numbers that are not in `set`.
template <class T>
NumberSet<T> complement(const NumberSet<T>& set) {
    NumberSet<T> out;
    T next{};
    for (const auto& r : set) {
        if (r.first != next) out.push_back({next, number_before(r.first)});
        if (r.last == NumberLimits<T>::kMax) return out;
        next = number_after(r.last);
    }
    out.push_back({next, NumberLimits<T>::kMax});
    return out;
}

template <class T>
NumberSet<T> intersection(const NumberSet<T>& a, const NumberSet<T>& b) {
    NumberSet<T> out;
    for (auto x = a.begin(), y = b.begin(); x != a.end() && y != b.end();) {
        const T first = std::max(x->first, y->first), last = std::min(x->last, y->last);
        if (first <= last) out.push_back({first, last});
        x->last < y->last ? void(++x) : void(++y);
    }
    return out;
}

/// Whether all of `part` is in `set`.
template <class T>
bool includes(const NumberSet<T>& set, const NumberSet<T>& part) {
    auto at = set.begin();
    for (const auto& r : part) {
        while (at != set.end() && at->last < r.first)
            ++at;
        if (at == set.end() || at->first > r.first || at->last < r.last) return false;
    }
    return true;
}

template <class T>
bool contains(const NumberSet<T>& set, T n) {
    const auto at = std::lower_bound(set.begin(), set.end(), n,
                                     [](const NumberRange<T>& r, T v) { return r.last < v; });
    return at != set.end() && at->first <= n;
}

}  // namespace postern
