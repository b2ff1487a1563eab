// SPDX-License-Identifier: BSD-3-Clause
// Frame: the headers before a packet's transport header, Ethernet to IPv6's extension headers.
//
// Private to lib/net, for parse.cc. Every read is behind a check against the available bytes.
#pragma once

#include <cstdint>

#include "base/drop_reason.h"
#include "net/packet.h"

namespace postern {

/// Positions of a packet's network and transport layers. Also used for the packet that an ICMP
/// error quotes, of which only the head may be available.
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

/// Parses Ethernet (tags, LLC) of a frame with `len` bytes at `data`, `frame_len` in all. Sets
/// ethertype, vlan and l3_off of `info`, and `ct_zone` if `port` has one for the VLAN. True: IP may
/// follow; else `info.why` is the error, if any.
bool parse_link(const std::uint8_t* data, std::uint32_t len, std::uint32_t frame_len,
                const ParseContext& port, PacketInfo& info, CtZone& ct_zone) noexcept;

/// `len` bytes at `ip` are contiguous; `whole` (>= len) belong to the frame. `quoted`: by an ICMP
/// error. A quotation may be cut short, and some hosts alter or byte-swap lengths in it, so those
/// are ignored.
DropReason parse_ip(const std::uint8_t* ip, std::uint32_t len, std::uint32_t whole, Family family,
                    bool quoted, Layers& out) noexcept;

}  // namespace postern
