// SPDX-License-Identifier: BSD-3-Clause
// Numbers of packets: read from and written to bytes, at any alignment. The
// caller has checked that the bytes are there; helpers read payload through
// Cursor instead.
#pragma once

#include <cstdint>
#include <cstring>

namespace postern {

/// `raw` in their stored order, `be` in host order.
namespace wire {
inline std::uint16_t raw16(const std::uint8_t* p) noexcept {
    std::uint16_t v;
    std::memcpy(&v, p, 2);
    return v;
}
inline std::uint32_t raw32(const std::uint8_t* p) noexcept {
    std::uint32_t v;
    std::memcpy(&v, p, 4);
    return v;
}
inline std::uint64_t raw64(const std::uint8_t* p) noexcept {
    std::uint64_t v;
    std::memcpy(&v, p, 8);
    return v;
}
inline std::uint16_t be16(const std::uint8_t* p) noexcept {
    return __builtin_bswap16(raw16(p));
}
inline std::uint32_t be32(const std::uint8_t* p) noexcept {
    return __builtin_bswap32(raw32(p));
}
/// Stores `v`, which is in network order already.
inline void put_raw16(std::uint8_t* p, std::uint16_t v) noexcept {
    std::memcpy(p, &v, 2);
}
/// The low 16 bits of `v`, in network order.
inline void put16(std::uint8_t* p, unsigned v) noexcept {
    put_raw16(p, __builtin_bswap16(static_cast<std::uint16_t>(v)));
}
inline void put32(std::uint8_t* p, std::uint32_t v) noexcept {
    v = __builtin_bswap32(v);
    std::memcpy(p, &v, 4);
}
}  // namespace wire

}  // namespace postern
