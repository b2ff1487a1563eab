// SPDX-License-Identifier: BSD-3-Clause
// The addressees of a datagram to a broadcast address. For helpers of protocols whose clients find
// a server this way: its answer comes from an address to which nothing was sent.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "net/addr.h"

namespace postern {

/// An IPv4 address with its bits from `bits` on cleared, or set.
constexpr IpAddr with_host_part(IpAddr a, unsigned bits, bool set) noexcept {
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned here = std::min(bits - std::min(bits, i * 8), 8u);
        const auto host = static_cast<std::uint8_t>(0xffu >> here);
        a.bytes[i] = static_cast<std::uint8_t>(set ? a.bytes[i] | host : a.bytes[i] & ~host);
    }
    return a;
}

/// The subnet of this address, `bits` long. Of length 0: every host.
constexpr Prefix subnet_of(const IpAddr& a, unsigned bits) noexcept {
    return {with_host_part(a, bits, false), static_cast<std::uint8_t>(bits)};
}

/// RFC 919 section 7: the sender's subnet, or the one with this last address. Nothing: the datagram
/// went to one host. A bridge has no address and so no netmask: `bits` is from the configuration.
constexpr std::optional<Prefix> asked_subnet(const Tuple& asked, unsigned bits) noexcept {
    if (asked.dst.family != Family::ipv4) return std::nullopt;  // IPv6 has no broadcast
    if (asked.dst == IpAddr::v4(255, 255, 255, 255)) return subnet_of(asked.src, bits);
    if (asked.dst == with_host_part(asked.dst, bits, true)) return subnet_of(asked.dst, bits);
    return std::nullopt;
}

}  // namespace postern
