// SPDX-License-Identifier: BSD-3-Clause
// The conditions of a rule as sets of numbers, a set a field. Control thread.
#pragma once

#include <cstdint>
#include <vector>

#include "net/ranges.h"
#include "policy/rule.h"

namespace postern {

/// Destination ports of a protocol are a stretch of the services.
constexpr std::uint32_t service_of(std::uint8_t protocol, std::uint16_t dport) noexcept {
    return std::uint32_t{protocol} << 16 | dport;
}

template <class T, class Ranges>
NumberSet<T> numbers_of(const Ranges& ranges) {
    std::vector<NumberRange<T>> out;
    for (const PolicyRange& r : ranges)
        out.push_back({static_cast<T>(r.first), static_cast<T>(r.last)});
    return set_of(std::move(out));
}
NumberSet<std::uint8_t> zones_of(const std::vector<ZoneId>& zones);
NumberSet<std::uint8_t> origins_of(const PolicyRule& r);
/// Whether the rule names ports, or ICMP types in their place.
bool names_ports(const PolicyRule& r);
NumberSet<std::uint32_t> services_of(const PolicyRule& r);
/// The values of a byte of set bits that the condition accepts.
NumberSet<std::uint8_t> set_bytes(const PolicySets& sets, unsigned byte);
NumberSet<std::uint8_t> masked_bytes(std::uint8_t value, std::uint8_t mask);

}  // namespace postern
