// SPDX-License-Identifier: BSD-3-Clause
// CRC32C of bytes at any alignment: rte_hash_crc() reads words where they lie. Of SCTP packets, and
// of saved connections. Any thread; pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <rte_hash_crc.h>

namespace postern {

/// Continues `crc`, which is not inverted at either end.
inline std::uint32_t crc32c(const void* bytes, std::size_t n, std::uint32_t crc) noexcept {
    const auto* p = static_cast<const std::uint8_t*>(bytes);
    for (; n >= 8; n -= 8, p += 8) {
        std::uint64_t word;
        std::memcpy(&word, p, sizeof word);
        crc = rte_hash_crc_8byte(word, crc);
    }
    for (; n != 0; --n)
        crc = rte_hash_crc_1byte(*p++, crc);
    return crc;
}

}  // namespace postern
