// SPDX-License-Identifier: BSD-3-Clause
// Keyed hashing for tables that an attacker can fill.
//
// CRC with a secret seed gives no protection: CRC is linear, so keys that collide under one seed
// collide under all. This is NH (Black et al., "UMAC", CRYPTO '99), a universal family, over 64-bit
// words: for two different keys of the same length the chance over the secret that their sums are
// equal is 2^-63, for any choice of the attacker. The sum's 128 bits are folded by a multiplication
// with further words of the secret, so that 32 bits of hash collide with a chance of 2^-30 at most.
// It costs one wide multiplication for 16 bytes, and a narrow one at the end; no alternative is as
// cheap and proven.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace postern {

/// Secret of one process, drawn at start.
struct HashSecret {
    static constexpr std::size_t kKeys = 12;  ///< for sums: keys of up to 80 bytes, in two lanes
    static constexpr std::size_t kFolds = 4;
    std::array<std::uint64_t, kKeys + kFolds> words{};

    /// From the kernel's random source; never fails on a booted system.
    static HashSecret random();
    /// A fixed secret for tests and for replay, where results must not change from run to run.
    static HashSecret from_seed(std::uint64_t seed) noexcept;
};

__extension__ using Word128 = unsigned __int128;

/// NH over 64-bit words (at most 10): 128 bits, which are equal for two keys with a chance of
/// 2^-63. `kLane` selects another member of the family. The lower and the upper halves of the
/// products are added without a carry between them, which would tie two registers together; that
/// costs one bit of the chance.
template <unsigned kLane, std::size_t kWords>
inline Word128 nh_sum(const std::array<std::uint64_t, kWords>& words,
                      const HashSecret& secret) noexcept {
    static_assert(kWords + kWords % 2 + 2 * kLane <= HashSecret::kKeys);
    const std::uint64_t* k = secret.words.data() + 2 * kLane;
    const auto product = [&](std::size_t i) noexcept {
        const std::uint64_t second = i + 1 < kWords ? words[i + 1] : 0;
        return static_cast<Word128>(words[i] + k[i]) * (second + k[i + 1]);
    };
    if constexpr (kWords <= 2) return product(0);
    std::uint64_t low = 0, high = 0;
#pragma GCC unroll 5
    for (std::size_t i = 0; i < kWords; i += 2) {
        const Word128 p = product(i);
        low += static_cast<std::uint64_t>(p);
        high += static_cast<std::uint64_t>(p >> 64);
    }
    return static_cast<Word128>(high) << 64 | low;
}

/// 32 bits of such a sum; `n` (0 or 1) selects one of two independent ones. For two sums in whose
/// differences 2^t is the largest divisor of both halves it is equal with a chance of 2^-31, or
/// 2^(t - 64) if t is above 33: the difference of two products is (low - low') k[1] + (high -
/// high') k[0] plus a term that depends on no secret, as in multiply-shift (Dietzfelbinger et al.,
/// J. Algorithms 25, 1997) for two words. It is not linear: keys in arithmetic progression do not
/// stay in one.
inline std::uint32_t nh_fold(Word128 sum, unsigned n, const HashSecret& secret) noexcept {
    const std::uint64_t* k = secret.words.data() + HashSecret::kKeys + 2 * n;
    const std::uint64_t folded =
        (static_cast<std::uint64_t>(sum) + k[0]) * (static_cast<std::uint64_t>(sum >> 64) + k[1]);
    return static_cast<std::uint32_t>(folded >> 32);
}

/// The low half of keyed_hash<0>(), if that suffices.
template <std::size_t kWords>
inline std::uint32_t keyed_hash32(const std::array<std::uint64_t, kWords>& words,
                                  const HashSecret& secret) noexcept {
    return nh_fold(nh_sum<0>(words, secret), 0, secret);
}

/// Hash of 64-bit words. Either half may be used alone.
template <unsigned kLane = 0, std::size_t kWords>
inline std::uint64_t keyed_hash(const std::array<std::uint64_t, kWords>& words,
                                const HashSecret& secret) noexcept {
    const auto sum = nh_sum<kLane>(words, secret);
    return std::uint64_t{nh_fold(sum, 1, secret)} << 32 | nh_fold(sum, 0, secret);
}

/// Digest of a longer key. Two keys have the same hash with a chance of 2^-30, and the same hash
/// and rest with one of 2^-57 at most. For then their sums are the same (2^-63), or 2^t divides the
/// differences of both halves, which has a chance of 2^(65 - 2 t); `rest` is then the same with a
/// chance of 2^(t - 64), and `hash` as for nh_fold(), with a secret of its own.
struct KeyDigest {
    std::uint64_t rest;
    std::uint32_t hash;
};
template <std::size_t kWords>
inline KeyDigest keyed_digest(const std::array<std::uint64_t, kWords>& words,
                              const HashSecret& secret) noexcept {
    const auto sum = nh_sum<0>(words, secret);
    const std::uint64_t of_high = secret.words[HashSecret::kKeys + 2];
    return {static_cast<std::uint64_t>(sum) + static_cast<std::uint64_t>(sum >> 64) * of_high,
            nh_fold(sum, 0, secret)};
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
