// SPDX-License-Identifier: BSD-3-Clause
// Frame: what stands before a packet's transport header, Ethernet to IPv6's
// extension headers.
//
// Private to lib/net, for parse.cc. Every read is behind a check against the
// bytes at hand.
#pragma once

#include <cstdint>

#include "base/drop_reason.h"
#include "net/packet.h"

namespace postern {

/// Where the network and transport layers of a packet are. Also used for the packet that an ICMP
/// error quotes, of which only the head may be there.
struct Layers {
    const std::uint8_t* src = nullptr;
    const std::uint8_t* dst = nullptr;
    Family family = Family::none;
    std::uint8_t protocol = 0;
    bool fragment = false;        ///< any fragment
    bool later_fragment = false;  ///< not the first: no transport header
    std::uint32_t l4_off = 0;     ///< from the start of the IP header
    std::uint32_t total = 0;      ///< the datagram's length by its header
};

/// Ethernet (tags, LLC) of a frame with `len` bytes at `data`, `frame_len` in all. Sets ethertype,
/// vlan and l3_off of `info`, and `ct_zone` where `port` has one for the VLAN. True: IP may follow;
/// else `info.why` is what is wrong, if anything.
bool parse_link(const std::uint8_t* data, std::uint32_t len, std::uint32_t frame_len,
                const ParseContext& port, PacketInfo& info, CtZone& ct_zone) noexcept;

/// `len` bytes at `ip` are contiguous; `whole` (>= len) belong to the frame. `quoted`: by an ICMP
/// error. That is what its sender remembers of a packet: it may be cut short, and hosts are known
/// to put lengths into it that they have altered or turned around, so those are not looked at.
DropReason parse_ip(const std::uint8_t* ip, std::uint32_t len, std::uint32_t whole, Family family,
                    bool quoted, Layers& out) noexcept;

}  // namespace postern
