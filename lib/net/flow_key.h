// SPDX-License-Identifier: BSD-3-Clause
// Flow key: the identity of a packet's connection, in both directions; its tuple; its home worker.
//
// Private to lib/net, for parse.cc; the rest of the firewall uses make_key(), tuple_of() and
// steering_hash() of packet.h.
#pragma once

#include <cstdint>

#include "net/frame.h"
#include "net/packet.h"

namespace postern {

/// ICMP types of queries and answers: class and role. Class 0: none of these. All have their
/// identifier after the checksum: RFC 792, 950, 1788 (domain names), 8335 (extended echo); RFC
/// 4443, 4620 (node information), 6275 (home agents, mobile prefixes).
struct IcmpRole {
    std::uint8_t icmp_class;
    L4Kind kind;
};
IcmpRole icmp_role(Family family, std::uint8_t type) noexcept;
/// The type of a class's questions, the other way round.
std::uint8_t icmp_question(Family family, std::uint8_t icmp_class) noexcept;

/// RFC 2637 section 4.1: {C R K S s recur}, {A flags version}, protocol, payload length, call id.
inline constexpr unsigned kGreCallHeader = 8, kGreCallOffset = 6, kGreSequence = 0x10;
inline bool is_gre_call(const std::uint8_t* l4) noexcept {
    return (l4[1] & 7) == 1;
}

/// The canonical key of one direction's ends. Ports are raw (network order).
FlowKey key_from(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t sport,
                 std::uint16_t dport, Family family, std::uint8_t protocol, CtZone ct_zone,
                 const HashSecret& secret, bool& swapped) noexcept;

/// Sets the packet's key from its transport header at `l4`, of which `have` bytes can be read.
/// False if the header is incomplete.
bool key_by_transport(const Layers& ip, const std::uint8_t* l4, std::uint32_t have,
                      const ParseContext& context, L4Kind& kind, FlowKey& key, bool& swapped,
                      bool reversed) noexcept;

/// Selects the home worker of packets between the addresses of `ip`. `ports`: of its transport
/// header, null if it has none. `key` is its connection's; null for a fragment.
std::uint32_t rss_of(const Layers& ip, const std::uint8_t* ports, const FlowKey* key,
                     const ParseContext& context) noexcept;

}  // namespace postern
