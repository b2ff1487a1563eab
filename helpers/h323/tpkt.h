// SPDX-License-Identifier: BSD-3-Clause
// TPKT (RFC 1006 section 6): the framing of call signalling and H.245 in a TCP stream.
#pragma once

#include <cstdint>
#include <span>

#include "helper/descriptor.h"
#include "net/cursor.h"

namespace postern::h323 {

inline constexpr std::int32_t kTpktHeader = 4;
/// A Setup with user data and dozens of fast start proposals has some KiB.
inline constexpr std::uint16_t kLongest = 16384;

/// Version 3, a reserved octet of zero, the length with these four octets.
inline Measured measure_tpkt(Direction, Bytes bytes, Progress& /*progress*/,
                             std::span<const std::uint8_t, kPrivateBytes>) noexcept {
    Cursor c{bytes};
    const auto version = c.u8();
    const auto reserved = c.u8();
    if ((version && *version != 3) || (reserved && *reserved != 0)) return -1;
    const auto length = c.u16_be();
    if (!length) return 0;
    return *length < kTpktHeader ? -1 : std::int32_t{*length};
}

/// Contents of a whole message; nothing for a keep-alive.
inline Bytes tpkt_content(Bytes message) noexcept {
    return message.subspan(kTpktHeader);
}

}  // namespace postern::h323
