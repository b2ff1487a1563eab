// SPDX-License-Identifier: BSD-3-Clause
// IPv6 extension headers: which there are, and how long each is. For everybody who walks a chain of
// them.
#pragma once

#include <cstdint>

namespace postern {

/// What follows a header, by its protocol number.
namespace ipv6_next {
inline constexpr std::uint8_t hop_by_hop = 0, routing = 43, fragment = 44, authentication = 51,
                              destination = 60, mobility = 135, host_identity = 139, shim6 = 140;
}

constexpr bool is_ipv6_extension(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case ipv6_next::hop_by_hop:
        case ipv6_next::routing:
        case ipv6_next::fragment:
        case ipv6_next::authentication:
        case ipv6_next::destination:
        case ipv6_next::mobility:
        case ipv6_next::host_identity:
        case ipv6_next::shim6: return true;
        default: return false;
    }
}

/// The length of the extension header at `p`, of which two bytes can be read.
inline unsigned ipv6_extension_bytes(std::uint8_t protocol, const std::uint8_t* p) noexcept {
    switch (protocol) {
        case ipv6_next::fragment: return 8;                      // RFC 8200 section 4.5
        case ipv6_next::authentication: return (p[1] + 2u) * 4;  // RFC 4302 section 2.2
        default: return (p[1] + 1u) * 8;                         // RFC 8200, 6275, 7401, 5533
    }
}

}  // namespace postern
