// SPDX-License-Identifier: BSD-3-Clause
// The symmetric Toeplitz hash, in software, with the same result as a NIC that was given
// kSymmetricRssKey.
//
// With a key that repeats every 16 bits, the 32-bit window under input bit i depends on i mod 16
// only. So the Toeplitz hash of any input is a function of the XOR of its 16-bit words, and
// swapping source and destination cannot change it. Two table look-ups, whatever the length.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace postern {

/// 52 bytes serve every NIC that DPDK 22.11 knows (40 is the common size; use its first bytes).
inline constexpr std::array<std::uint8_t, 52> kSymmetricRssKey = [] {
    std::array<std::uint8_t, 52> key{};
    for (std::size_t i = 0; i < key.size(); ++i)
        key[i] = i % 2 == 0 ? 0x6d : 0x5a;
    return key;
}();

namespace rss_detail {
constexpr std::uint16_t rotate(std::uint16_t v, unsigned by) {
    by %= 16;
    return static_cast<std::uint16_t>(v << by | v >> (16 - by) % 16);
}
constexpr std::array<std::array<std::uint16_t, 256>, 2> make_tables() {
    std::array<std::array<std::uint16_t, 256>, 2> t{};
    for (unsigned half = 0; half < 2; ++half)
        for (unsigned value = 0; value < 256; ++value)
            for (unsigned bit = 0; bit < 8; ++bit)
                if (value & (0x80u >> bit)) t[half][value] ^= rotate(0x6d5a, half * 8 + bit);
    return t;
}
inline constexpr auto kTables = make_tables();
}  // namespace rss_detail

/// `folded` is the XOR of the input's 16-bit words in network order, read as a big-endian number.
constexpr std::uint32_t symmetric_toeplitz(std::uint16_t folded) noexcept {
    const std::uint32_t half =
        std::uint32_t{rss_detail::kTables[0][folded >> 8]} ^ rss_detail::kTables[1][folded & 0xff];
    return half << 16 | half;
}

/// XOR of `bytes` / 2 network-order words at `p`, in host order; `bytes` is a multiple of 4.
inline std::uint16_t fold16(const std::uint8_t* p, unsigned bytes) noexcept {
    std::uint32_t x = 0;
    for (unsigned i = 0; i < bytes; i += 4) {
        std::uint32_t w;
        std::memcpy(&w, p + i, 4);
        x ^= w;
    }
    return __builtin_bswap16(static_cast<std::uint16_t>(x ^ x >> 16));
}

}  // namespace postern
