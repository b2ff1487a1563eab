// SPDX-License-Identifier: BSD-3-Clause
// The symmetric Toeplitz hash, in software, with the same result as a NIC that was given its key.
//
// The key is one 16-bit word, repeated. So the 32-bit window under input bit i depends on i mod 16
// only, the hash of any input is a function of the XOR of its 16-bit words, and swapping source and
// destination cannot change it. Two table look-ups, whatever the length.
//
// The word is drawn at start, so that an outsider cannot compute in advance which addresses and
// ports fall on one worker. But inputs whose words have the same XOR have the same hash under every
// such key (docs/security.md, "Choice of the worker").
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace postern {

class SymmetricRss {
  public:
    /// 52 bytes suffice for every NIC of DPDK 22.11 (40 is the common size; use its first bytes).
    static constexpr std::size_t kKeyBytes = 52;
    /// Bits of the hash that choose among the 128 entries of an indirection table.
    static constexpr unsigned kUsedBits = 7;

    /// With a key that repeats `word`.
    constexpr explicit SymmetricRss(std::uint16_t word) noexcept : word_(word) {
        for (unsigned half = 0; half < 2; ++half)
            for (unsigned value = 0; value < 256; ++value)
                for (unsigned bit = 0; bit < 8; ++bit)
                    if (value & (0x80u >> bit))
                        tables_[half][value] ^= std::rotl(word, static_cast<int>(half * 8 + bit));
    }

    /// With a word drawn uniformly from those that mix well.
    static constexpr SymmetricRss draw(std::uint64_t random) noexcept {
        for (;; random += 0x9e3779b97f4a7c15u) {  // splitmix64
            std::uint64_t z = random;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            const auto word = static_cast<std::uint16_t>(z >> 48);
            if (mixes_well(word)) return SymmetricRss(word);
        }
    }

    /// Words of odd weight, which lose nothing of the input (their circulant matrix has full rank),
    /// and under which any XOR of the bits in use depends on at least four bits of the input. A
    /// word with simpler sums sends a scan of neighbouring ports or addresses to few workers.
    static constexpr bool mixes_well(std::uint16_t word) noexcept {
        if (std::popcount(word) % 2 == 0) return false;
        std::array<std::uint16_t, kUsedBits>
            taps{};  // of output bit j: the input bits that it sums
        for (unsigned i = 0; i < 16; ++i)
            for (unsigned j = 0; j < kUsedBits; ++j)
                if ((std::rotl(word, static_cast<int>(i)) >> j & 1) != 0)
                    taps[j] = static_cast<std::uint16_t>(taps[j] | 1u << i);
        std::uint16_t sum = 0;
        for (unsigned n = 1; n < 1u << kUsedBits; ++n) {  // each combination once: a Gray code
            sum ^= taps[static_cast<unsigned>(std::countr_zero(n))];
            if (std::popcount(sum) < 4) return false;
        }
        return true;
    }

    constexpr std::array<std::uint8_t, kKeyBytes> key() const noexcept {
        std::array<std::uint8_t, kKeyBytes> key{};
        for (std::size_t i = 0; i < key.size(); ++i)
            key[i] = static_cast<std::uint8_t>(i % 2 == 0 ? word_ >> 8 : word_ & 0xff);
        return key;
    }

    /// Whether devices hash the ports of SCTP as well; some know it by its addresses only.
    bool sctp_ports = true;

    /// `folded` is the XOR of the input's 16-bit words in network order, as a big-endian number.
    constexpr std::uint32_t hash(std::uint16_t folded) const noexcept {
        const std::uint32_t half =
            std::uint32_t{tables_[0][folded >> 8]} ^ tables_[1][folded & 0xff];
        return half << 16 | half;
    }

  private:
    std::array<std::array<std::uint16_t, 256>, 2> tables_{};
    std::uint16_t word_;
};

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
