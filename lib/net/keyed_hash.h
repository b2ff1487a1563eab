// SPDX-License-Identifier: BSD-3-Clause
// Keyed hashing for tables that an attacker can fill.
//
// CRC with a secret seed is no defence: CRC is linear, so keys that collide under one seed collide
// under all. This is NH (Black et al., "UMAC", CRYPTO '99), a universal family: for two different
// keys of the same length the chance over the secret that they collide is 2^-32, whatever the
// attacker chose. Two multiplications a 16 bytes; nothing else is as cheap and proven.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace postern {

/// Secret of one process, drawn at start. 12 words serve keys of up to 80 bytes.
struct HashSecret {
    std::array<std::uint64_t, 12> words{};

    /// From the kernel's random source; never fails on a booted system.
    static HashSecret random();
    /// A fixed secret for tests and for replay, where answers must not change from run to run.
    static HashSecret from_seed(std::uint64_t seed) noexcept;
};

/// Hash of 64-bit words (at most 10). `kLane` picks an independent member of the family; two lanes
/// together make a 128-bit digest.
template <unsigned kLane = 0, std::size_t kWords>
inline std::uint64_t keyed_hash(const std::array<std::uint64_t, kWords>& words,
                                const HashSecret& secret) noexcept {
    static_assert(kWords + kLane + 1 <= 12);
    std::uint64_t sum = 0;
#pragma GCC unroll 10
    for (std::size_t i = 0; i < kWords; ++i) {
        const std::uint64_t word = words[i], k = secret.words[i + kLane];
        const auto low = static_cast<std::uint32_t>(word) + static_cast<std::uint32_t>(k);
        const auto high =
            static_cast<std::uint32_t>(word >> 32) + static_cast<std::uint32_t>(k >> 32);
        sum += std::uint64_t{low} * high;
    }
    // NH promises few collisions of the whole word, not of its low bits: spread it once more.
    __extension__ const auto product =
        static_cast<unsigned __int128>(sum) * (secret.words[11 - kLane] | 1);
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

/// Hash of `kBytes` bytes at `key` (a multiple of 8, at most 80).
template <std::size_t kBytes, unsigned kLane = 0>
inline std::uint64_t keyed_hash(const void* key, const HashSecret& secret) noexcept {
    static_assert(kBytes % 8 == 0);
    std::array<std::uint64_t, kBytes / 8> words;
    std::memcpy(words.data(), key, kBytes);
    return keyed_hash<kLane>(words, secret);
}

}  // namespace postern
