// SPDX-License-Identifier: BSD-3-Clause
// Whether a neighbour discovery (RFC 4861) or multicast listener (RFC 2710, 3810) message is one
// that a node of the same link sends. `pass: nd` accepts these without policy, so the check has to
// be strict.
#pragma once

#include <cstdint>

#include "base/drop_reason.h"

namespace postern {

/// The largest solicitation or neighbour advertisement, in bytes from its ICMP header on: room for
/// the options of SEND (RFC 3971) with a key of 2048 bits.
inline constexpr unsigned kMaxSolicitation = 768;
/// The largest router advertisement or redirect: what fits into 1280 bytes of IPv6 (RFC 4861
/// section 4.6.3 of the redirected header).
inline constexpr unsigned kMaxAdvertisement = 1240;

/// `ip` is an IPv6 header whose chain of extension headers parse_ip() found well-formed; at
/// `headers` bytes from it begins an ICMPv6 message of `bytes` bytes (at least 8), of which the
/// first `have` can be read. Returns `nd_invalid` for a message that its receivers have to ignore,
/// or that is longer than the above together with its extension headers; `fragment_bad` for one
/// with a fragment header (RFC 6980).
DropReason check_neighbour(const std::uint8_t* ip, unsigned headers, unsigned bytes,
                           unsigned have) noexcept;

}  // namespace postern
