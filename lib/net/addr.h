// SPDX-License-Identifier: BSD-3-Clause
// IP addresses, prefixes and connection tuples, as plain values. No DPDK, no allocation.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace postern {

enum class Family : std::uint8_t {
    none = 0,
    ipv4 = 4,
    ipv6 = 6
};
constexpr const char* to_string(Family f) noexcept {
    return f == Family::ipv4 ? "ipv4" : f == Family::ipv6 ? "ipv6" : "none";
}
constexpr unsigned address_bytes(Family f) noexcept {
    return f == Family::ipv4 ? 4 : f == Family::ipv6 ? 16 : 0;
}

/// IP protocol numbers that the code names (IANA).
namespace proto {
inline constexpr std::uint8_t icmp = 1, tcp = 6, udp = 17, dccp = 33, gre = 47, icmpv6 = 58,
                              sctp = 132, udplite = 136;
}
/// Whether its header begins with two ports.
constexpr bool has_ports(std::uint8_t protocol) noexcept {
    return protocol == proto::udp || protocol == proto::tcp || protocol == proto::sctp ||
           protocol == proto::dccp || protocol == proto::udplite;
}
/// "tcp", "udp", …, or the number.
std::string protocol_name(std::uint8_t protocol);
/// The reverse of protocol_name(); numbers 0..255 are accepted too.
std::optional<std::uint8_t> parse_protocol(std::string_view text);

/// An IPv4 or IPv6 address. IPv4 lives in the first four bytes, the rest is zero, so that equality
/// and hashing work on the whole value.
struct IpAddr {
    std::array<std::uint8_t, 16> bytes{};
    Family family = Family::none;

    static IpAddr v4(const void* four_bytes) noexcept {
        IpAddr a;
        a.family = Family::ipv4;
        a.set_v4(four_bytes);
        return a;
    }
    static constexpr IpAddr v4(std::uint8_t a, std::uint8_t b, std::uint8_t c,
                               std::uint8_t d) noexcept {
        return IpAddr{{a, b, c, d}, Family::ipv4};
    }
    static IpAddr v6(const void* sixteen_bytes) noexcept {
        IpAddr a;
        a.family = Family::ipv6;
        std::memcpy(a.bytes.data(), sixteen_bytes, 16);
        return a;
    }
    /// Sets the bytes, in one store of the whole: who reads them soon need not wait for two.
    void set_v4(const void* four_bytes) noexcept {
        using Words = std::uint32_t __attribute__((vector_size(16)));
        std::uint32_t four;
        std::memcpy(&four, four_bytes, sizeof four);
        const Words all{four};
        std::memcpy(bytes.data(), &all, sizeof all);
    }
    /// The bytes as two words, for hashing.
    constexpr std::array<std::uint64_t, 2> halves() const noexcept {
        return std::bit_cast<std::array<std::uint64_t, 2>>(bytes);
    }
    /// Text as in RFC 5952 or a dotted quad; nothing for anything else (no names, no ports).
    static std::optional<IpAddr> parse(std::string_view text);
    std::string to_string() const;

    friend constexpr bool operator==(const IpAddr& a, const IpAddr& b) noexcept {
        const auto x = a.halves(), y = b.halves();
        return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0 && a.family == b.family;
    }
    friend constexpr auto operator<=>(const IpAddr&, const IpAddr&) = default;
};

/// An address and the number of its leading bits that matter.
struct Prefix {
    IpAddr address;
    std::uint8_t length = 0;  ///< bits

    /// "192.0.2.0/24", "2001:db8::/32"; a bare address is its own full-length prefix. Bits beyond
    /// the length must be zero.
    static std::optional<Prefix> parse(std::string_view text);
    std::string to_string() const;
    bool contains(const IpAddr& a) const noexcept;
    /// This address alone.
    static Prefix exact(const IpAddr& a) noexcept {
        return Prefix{a, static_cast<std::uint8_t>(address_bytes(a.family) * 8)};
    }

    friend constexpr bool operator==(const Prefix&, const Prefix&) = default;
};

/// One direction of a connection. Ports are 0 for protocols without; ICMP echo puts its identifier
/// in both, as conntrack does.
struct Tuple {
    IpAddr src;
    IpAddr dst;
    Be16 sport;
    Be16 dport;
    std::uint8_t protocol = 0;

    Tuple reversed() const noexcept { return Tuple{dst, src, dport, sport, protocol}; }
    /// "tcp 192.0.2.1:1024 > 198.51.100.2:21"; IPv6 addresses in brackets.
    std::string to_string() const;
    friend constexpr bool operator==(const Tuple&, const Tuple&) = default;
};

}  // namespace postern
