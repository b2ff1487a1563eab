// SPDX-License-Identifier: BSD-3-Clause
// Frames for tests: whole, with right lengths and checksums, from a few words. Everything is a
// value; wrap_*() make a new frame of an old one.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "net/addr.h"

namespace postern::frames {

using Frame = std::vector<std::uint8_t>;

inline constexpr unsigned kEth = 14;  ///< where IP starts in an untagged frame

/// The two ends of a conversation, seen by the sender.
struct Flow {
    IpAddr src, dst;
    std::uint16_t sport = 0, dport = 0;

    Flow back() const { return {dst, src, dport, sport}; }
};
inline Flow flow(std::string_view src, unsigned sport, std::string_view dst, unsigned dport) {
    return {*IpAddr::parse(src), *IpAddr::parse(dst), static_cast<std::uint16_t>(sport),
            static_cast<std::uint16_t>(dport)};
}

/// The bytes that pairs of hexadecimal digits mean, as payload.
std::string from_hex(std::string_view digits);

/// One's complement sum over the bytes (RFC 1071), not yet inverted.
std::uint32_t ones_sum(const std::uint8_t* p, std::size_t n, std::uint32_t sum = 0);
/// The checksum of a transport header and payload with its pseudo-header, over whatever its
/// checksum field holds: 0 when the field is right.
std::uint16_t l4_sum(const IpAddr& src, const IpAddr& dst, std::uint8_t protocol,
                     const std::uint8_t* l4, std::size_t n);

/// An Ethernet frame with one IP packet; `l4` is transport header and payload, as is.
Frame ip(const IpAddr& src, const IpAddr& dst, std::uint8_t protocol, const Frame& l4);

struct TcpFields {
    std::uint8_t flags = 0;
    std::uint32_t seq = 0, ack = 0;
    std::uint16_t win = 65535;
    Frame options;  ///< padded with zeros to a multiple of four
    std::string_view payload = {};
};
Frame tcp(const Flow& f, const TcpFields& t);
Frame udp(const Flow& f, std::string_view payload = {});
/// ICMP or ICMPv6, by the addresses' family; `rest` follows type, code and checksum.
Frame icmp(const IpAddr& src, const IpAddr& dst, std::uint8_t type, std::uint8_t code,
           const Frame& rest);
Frame echo(const Flow& f, bool request, std::uint16_t id);
/// A packet of a PPTP call, which names its receiver's id: GRE version 1, RFC 2637 section 4.1.
Frame gre_call(const IpAddr& src, const IpAddr& dst, std::uint16_t call_id,
               std::string_view payload = "ppp");
/// A "port unreachable" about `about`, with at most `head` bytes of its packet.
Frame unreachable(const IpAddr& src, const IpAddr& dst, const Frame& about,
                  std::size_t head = 2000);

/// One more tag, outside of what is there.
Frame wrap_vlan(const Frame& frame, std::uint16_t tci, std::uint16_t ethertype = 0x8100);
/// IPv6 extension headers between the IPv6 header and what followed: {protocol, bytes} each; the
/// first byte of each is set to what comes next.
struct Extension {
    std::uint8_t protocol;
    Frame bytes;
};
Frame wrap_extensions(const Frame& frame, const std::vector<Extension>& extensions);

/// A part of an untagged frame's IP packet, as a fragment of it: `bytes` of what follows the IP
/// header, from `offset` (a multiple of eight) on. May reach over the end: zeros.
Frame fragment(const Frame& frame, unsigned offset, unsigned bytes, bool more, std::uint32_t id);
/// The whole of it in fragments of at most `bytes` of payload.
std::vector<Frame> fragments(const Frame& frame, unsigned bytes, std::uint32_t id);

/// Whether all checksums of an untagged frame's IP packet are right.
bool checksums_right(const Frame& frame);

}  // namespace postern::frames
