// SPDX-License-Identifier: BSD-3-Clause
// The Internet checksum (RFC 1071), for packets that are written here. lib/pipeline verifies those
// of received packets, with the device's help.
#pragma once

#include <cstddef>
#include <cstdint>

#include "net/bytes.h"

namespace postern {

/// Adds `bytes` bytes to an unfolded one's complement sum. At most 64 KiB together.
inline std::uint32_t add_to_sum(std::uint32_t sum, const std::uint8_t* p,
                                std::size_t bytes) noexcept {
    for (; bytes > 1; p += 2, bytes -= 2)
        sum += wire::raw16(p);
    const std::uint8_t last[2] = {bytes != 0 ? *p : std::uint8_t{0}, 0};
    return sum + wire::raw16(last);
}
/// The checksum to be stored, in network order.
inline std::uint16_t finish_sum(std::uint32_t sum) noexcept {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

}  // namespace postern
