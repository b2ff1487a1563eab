// SPDX-License-Identifier: BSD-3-Clause
// Headers as generators write them: whole, with right checksums.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace postern::bench {

inline void put16(std::uint8_t* p, unsigned v) {
    p[0] = static_cast<std::uint8_t>(v >> 8);
    p[1] = static_cast<std::uint8_t>(v);
}
inline void put32(std::uint8_t* p, std::uint32_t v) {
    v = __builtin_bswap32(v);
    std::memcpy(p, &v, 4);
}
inline std::uint16_t get16(const std::uint8_t* p) {
    return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}
inline std::uint32_t get32(const std::uint8_t* p) {
    std::uint32_t v;
    std::memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}

/// One's complement sum (RFC 1071) in the bytes' own order, not folded.
inline std::uint64_t ones_sum(const std::uint8_t* p, unsigned n, std::uint64_t sum = 0) {
    for (; n >= 4; p += 4, n -= 4) {
        std::uint32_t v;
        std::memcpy(&v, p, 4);
        sum += v;
    }
    std::uint32_t rest = 0;
    std::memcpy(&rest, p, n);
    return sum + rest;
}
/// The checksum itself, in the bytes' own order.
inline std::uint16_t finish_sum(std::uint64_t sum) {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

inline void write_ethernet(std::uint8_t* p, const std::array<std::uint8_t, 6>& to) {
    constexpr std::uint8_t kRest[] = {2, 0, 0, 0, 0, 9, 0x08, 0x00};  // source, IPv4
    std::memcpy(p, to.data(), 6);
    std::memcpy(p + 6, kRest, sizeof kRest);
}

/// An IPv4 header without options; returns what follows it.
inline std::uint8_t* write_ipv4(std::uint8_t* ip, std::uint8_t protocol, std::uint32_t src,
                                std::uint32_t dst, unsigned l4_length) {
    std::memset(ip, 0, 20);
    ip[0] = 0x45;
    put16(ip + 2, 20 + l4_length);
    ip[6] = 0x40;  // do not fragment
    ip[8] = 64;
    ip[9] = protocol;
    put32(ip + 12, src);
    put32(ip + 16, dst);
    const std::uint16_t sum = finish_sum(ones_sum(ip, 20));
    std::memcpy(ip + 10, &sum, 2);
    return ip + 20;
}

/// TCP's or UDP's checksum over `length` bytes at `l4`, into `field`.
inline void set_l4_checksum(const std::uint8_t* ip, const std::uint8_t* l4, unsigned length,
                            std::uint8_t* field) {
    std::memset(field, 0, 2);
    std::uint8_t pseudo[4] = {0, ip[9], static_cast<std::uint8_t>(length >> 8),
                              static_cast<std::uint8_t>(length)};
    const std::uint16_t sum =
        finish_sum(ones_sum(l4, length, ones_sum(ip + 12, 8, ones_sum(pseudo, 4))));
    std::memcpy(field, &sum, 2);
}

}  // namespace postern::bench
