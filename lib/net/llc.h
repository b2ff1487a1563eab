// SPDX-License-Identifier: BSD-3-Clause
// Contents of an IEEE 802.2 (LLC) header. Called by the parser for Ethernet frames that have a
// length in place of an ethertype.
#pragma once

#include <cstdint>

#include "base/drop_reason.h"

namespace postern {

/// PacketInfo::ethertype of a frame whose LLC header has no ethertype. No ethertype is as small.
namespace llc_type {
inline constexpr std::uint16_t other = 0,
                               bpdu = 1,  ///< spanning tree: IEEE 802.1D, 802.1ad, or PVST+
    cisco = 2,                            ///< CDP, VTP, DTP, PAgP, UDLD
    isis = 3;                             ///< IS-IS and ES-IS to their group addresses
}
inline constexpr std::uint16_t kMinEthertype = 0x0600;

/// Ethertypes of VLAN tags: 802.1Q, 802.1ad, and three older ones.
constexpr bool is_vlan_tag(std::uint16_t ethertype) noexcept {
    return ethertype == 0x8100 || ethertype == 0x88a8 || ethertype == 0x9100 ||
           ethertype == 0x9200 || ethertype == 0x9300;
}
/// Ethertypes before an LLC header: a length, or 0x8870 (a frame whose length no ethertype field
/// can hold).
constexpr bool is_llc(std::uint16_t ethertype) noexcept {
    return ethertype < kMinEthertype || ethertype == 0x8870;
}

inline constexpr unsigned kMaxLlcBytes = 9;  ///< read by read_llc()

/// Reads the LLC header at `p`, of which `have` bytes can be read, of a frame to `destination`.
/// With less than kMaxLlcBytes the frame ends there. `type` becomes the ethertype in a SNAP header
/// (RFC 1042), else one of llc_type. Returns `snap_ip` for IPv4, IPv6 and ARP in any wrapping that
/// a host may accept, `vlan_tags` for a tag in a SNAP header.
DropReason read_llc(const std::uint8_t* p, std::uint32_t have, const std::uint8_t* destination,
                    std::uint16_t& type) noexcept;

}  // namespace postern
