// SPDX-License-Identifier: BSD-3-Clause
// IPv6 extension headers and their lengths, for all code that walks a chain of them.
#pragma once

#include <cstdint>

namespace postern {

/// Protocol numbers of extension headers. Mobility (135), HIP (139) and Shim6 (140) are not among
/// them: they end the chain, so that rules can name them like any other protocol.
namespace ipv6_next {
inline constexpr std::uint8_t hop_by_hop = 0, routing = 43, fragment = 44, authentication = 51,
                              destination = 60;
}

/// Types of routing headers (byte 2 of one; byte 3 counts the segments left, RFC 8200 section 4.4).
namespace ipv6_routing {
inline constexpr std::uint8_t source_route = 0,  ///< deprecated by RFC 5095
    mobile = 2,                                  ///< a home address, RFC 6275 section 6.4
    segments = 4;                                ///< SRH, RFC 8754

/// The bit of a type in ParseContext::routing_headers; 0: a type that cannot be allowed.
constexpr std::uint8_t bit(std::uint8_t type) noexcept {
    return type == mobile || type == segments ? static_cast<std::uint8_t>(1 << type) : 0;
}
}  // namespace ipv6_routing

constexpr bool is_ipv6_extension(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case ipv6_next::hop_by_hop:
        case ipv6_next::routing:
        case ipv6_next::fragment:
        case ipv6_next::authentication:
        case ipv6_next::destination: return true;
        default: return false;
    }
}

/// The length of the extension header at `p`, of which two bytes can be read.
inline unsigned ipv6_extension_bytes(std::uint8_t protocol, const std::uint8_t* p) noexcept {
    switch (protocol) {
        case ipv6_next::fragment: return 8;                      // RFC 8200 section 4.5
        case ipv6_next::authentication: return (p[1] + 2u) * 4;  // RFC 4302 section 2.2
        default: return (p[1] + 1u) * 8;                         // RFC 8200 section 4
    }
}

/// Position of the address that the packet's transport checksum covers as the source, if it is not
/// the header's: the home address of a mobile node, in a destination option (RFC 6275 section 6.3).
/// `headers`: as below.
inline const std::uint8_t* ipv6_first_source(const std::uint8_t* ip, unsigned headers) noexcept {
    constexpr std::uint8_t kPad1 = 0, kHomeAddress = 201;
    std::uint8_t protocol = ip[6];
    for (unsigned at = 40; at < headers;) {
        const unsigned end = at + ipv6_extension_bytes(protocol, ip + at);
        if (protocol == ipv6_next::destination)
            for (unsigned option = at + 2; option + 2 <= end;) {
                const std::uint8_t* o = ip + option;
                if (o[0] == kPad1) {
                    ++option;
                    continue;
                }
                if (o[0] == kHomeAddress && o[1] == 16 && option + 18 <= end) return o + 2;
                option += 2u + o[1];
            }
        protocol = ip[at];
        at = end;
    }
    return ip + 8;
}

/// Position of the address of the packet's final destination, which its transport checksum covers
/// (RFC 8200 section 8.1), if it is not the header's: in the routing header while segments are
/// left. In both types that a bridge can allow it is at offset 8 (RFC 8754 section 2: segments are
/// listed last first). `headers`: the bytes to the end of the chain, which parse_packet() found
/// well-formed.
inline const std::uint8_t* ipv6_last_destination(const std::uint8_t* ip,
                                                 unsigned headers) noexcept {
    std::uint8_t protocol = ip[6];
    for (unsigned at = 40; at < headers;) {
        const unsigned bytes = ipv6_extension_bytes(protocol, ip + at);
        if (protocol == ipv6_next::routing && ip[at + 3] != 0 && bytes >= 24) return ip + at + 8;
        protocol = ip[at];
        at += bytes;
    }
    return ip + 24;
}

}  // namespace postern
