// SPDX-License-Identifier: BSD-3-Clause
// parse_packet(): from a frame's bytes to everything that later stages need from its headers.
//
// Called by the parse stage, once a packet; no other code parses again. Reads each header through
// explicit length checks, writes one PacketInfo (one cache line). No allocation, no DPDK type.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "base/drop_reason.h"
#include "base/types.h"
#include "net/addr.h"
#include "net/keyed_hash.h"

namespace postern {

class SymmetricRss;

/// Canonical key of a connection: the same for both directions. IPv4 is exact: {low address, high
/// address, low port, high port, protocol, 4, ct_zone}, where the end with the smaller (address,
/// port) comes first. IPv6 is a 96-bit keyed digest of all the same fields, of which the last word
/// is its hash, then protocol, 6, ct_zone; a match is compared by the full tuple once more, unless
/// the packet is TCP's next in order (ConnTable::lookup()).
///
/// The exception is GRE version 1, whose packets contain the receiver's call id but not the
/// sender's: there the key is of one direction, {..., call id, which end receives, ...}. A
/// connection of which both ids are known has two keys (ConnTable::pair()).
struct FlowKey {
    std::uint32_t words[3];
    std::uint8_t protocol;
    std::uint8_t family;
    CtZone ct_zone;

    friend bool operator==(const FlowKey& a, const FlowKey& b) noexcept {
        return std::memcmp(&a, &b, sizeof a) == 0;
    }
};
static_assert(sizeof(FlowKey) == 16 && std::has_unique_object_representations_v<FlowKey>);

enum class L4Kind : std::uint8_t {
    unparsed,  ///< not even addresses were read
    other,     ///< tracked by addresses only
    ports,     ///< UDP, UDP-Lite: ports, no state of its own
    tcp,
    sctp,
    dccp,
    icmp_request,  ///< echo, timestamp, …: may start a connection
    icmp_reply,
    icmp_error,    ///< quotes the head of a packet, and has that packet's key
    icmp_nd,       ///< IPv6 neighbour discovery and multicast listeners: not tracked
    icmp_message,  ///< any other ICMP: belongs to no connection
    gre_call,      ///< GRE version 1 (PPTP): contains the receiver's call id only
};

namespace tcp_flag {
inline constexpr std::uint8_t fin = 0x01, syn = 0x02, rst = 0x04, psh = 0x08, ack = 0x10,
                              urg = 0x20;
}

// Serial number arithmetic (RFC 1982, RFC 9293 section 3.4).
constexpr bool seq_before(std::uint32_t a, std::uint32_t b) noexcept {
    return static_cast<std::int32_t>(a - b) < 0;
}
constexpr bool seq_after(std::uint32_t a, std::uint32_t b) noexcept {
    return seq_before(b, a);
}

/// PacketInfo::tcp_options of a SYN: its offers. In other segments it is an offset below 60, so
/// that `limited` can be tested in any.
namespace tcp_offer {
inline constexpr std::uint8_t scale = 0x0f,  ///< these bits: the window scale, at most 14
    window_scale = 0x10,                     ///< it has one
    sack = 0x20,                             ///< selective acknowledgements are permitted
    limited = 0x40;                          ///< it requested a scale above 14
}  // namespace tcp_offer

/// Input and output side of a packet, known from its port and VLAN before any look-up. A connection
/// stores that of its first packet and compares.
struct ZonePair {
    // Short tags, so that most connections need only their first line of memory: two packets of one
    // key have the same tag if and only if they travel between the same sides, in the same or the
    // opposite direction. A tag is a number in the high four bits; the low ones are 0.
    static constexpr unsigned kTagShift = 4;
    static constexpr std::uint8_t kNumbers = 14;      ///< 0 to this - 1; a pair of sides has two
    static constexpr std::uint8_t kNoTag = 0xe0;      ///< a packet's: equals no connection's
    static constexpr std::uint8_t kFurtherOn = 0xf0;  ///< a connection's: compare its edges

    EdgeId from, to;
    /// By PacketInfo::swapped. The reverse pair has them exchanged; if both edges are of one side
    /// they are equal.
    std::uint8_t tags[2] = {kNoTag, kNoTag};
};
static_assert(sizeof(ZonePair) == 4);

/// The VLAN id in a tag's control information; the rest is the priority.
constexpr std::uint16_t vlan_id(std::uint16_t tci) noexcept {
    return tci & 0x0fff;
}

/// The parsed properties of one packet. Filled by parse_packet(); the fields of the last block
/// belong to later stages.
struct alignas(64) PacketInfo {
    FlowKey key;
    std::uint32_t hash;  ///< keyed hash of `key`, for the tables
    std::uint32_t rss;   ///< selects the home worker: steering_hash() of its connection
    std::uint16_t l4_off;
    std::uint16_t l4_len;  ///< bytes from l4_off to the end of the IP datagram
    std::uint16_t pay_off;
    std::uint16_t pay_len;  ///< may be more than is contiguous, except for SCTP, DCCP, ICMP errors
    std::uint16_t vlan;     ///< the outermost tag's TCI that has an id; 0 when untagged
    std::uint16_t ethertype;  ///< innermost, host order; of an LLC frame see net/llc.h
    std::uint8_t l3_off;
    std::uint8_t protocol;
    Family family;
    L4Kind kind;
    std::uint8_t tcp_flags;
    bool swapped;   ///< the sender is the key's high end
    bool fragment;  ///< a fragment (not a whole datagram)
    PortId in_port;

    PortId out_port;
    DropReason why;
    CtState ct;
    Direction dir;
    std::uint32_t conn;  ///< slot of its connection, 0 if none; before the look-up a guess
    /// ICMP errors: where in the frame the transport header of the packet lies that they quote; its
    /// IP header is at pay_off.
    std::uint16_t quoted_l4_off;
    /// Part of the key if ends do not suffice. ICMP query: its class. GRE version 1: kGreCall. Else
    /// 0.
    std::uint8_t key_class;
    /// TCP options, for the tracker. In a SYN: bits of tcp_offer. In another segment: the offset in
    /// its header of the highest edge that it acknowledges selectively (RFC 2018 section 3), 0 if
    /// none is beyond its acknowledgement.
    std::uint8_t tcp_options;
    ZonePair zones;                            ///< set by the parse stage, by port and VLAN
    std::uint8_t quoted_protocol;              ///< of ICMP errors, like quoted_l4_off
    std::uint8_t zone_tag = ZonePair::kNoTag;  ///< the one of `zones.tags` for its direction

    /// Call after `swapped` is known.
    void set_zones(const ZonePair& pair) noexcept {
        zones = pair;
        zone_tag = pair.tags[swapped ? 1 : 0];
    }
};
static_assert(sizeof(PacketInfo) == 64);

/// Fields common to plain packets of one port, so that parse_plain() copies them at once: [0] of
/// IPv4, [1] of IPv6. Of the key: family and conntrack zone.
using PlainImages = std::array<PacketInfo, 2>;
PlainImages plain_images(PortId in_port, CtZone ct_zone, const ZonePair& zones) noexcept;

inline constexpr std::uint8_t kGreCall = 1;
inline constexpr std::uint8_t kIcmpQueries = 6;  ///< classes, 1 to this

struct ParseContext {
    const HashSecret* secret;
    CtZone ct_zone;  ///< of untagged frames, and of VLANs without one of their own
    const CtZone* vlan_zones = nullptr;  ///< by VLAN id of the outermost tag; null: as ct_zone
    /// The hash by which devices select the worker. Null: info.rss is keyed, for whole packets
    /// `hash` itself.
    const SymmetricRss* rss = nullptr;
    std::uint8_t routing_headers = 0;  ///< IPv6: types that may pass, ipv6_routing::bit() of each
    /// Of the port's untagged frames. parse_plain() needs them; parse_packet() makes its own if
    /// there are none.
    const PlainImages* plain = nullptr;
};

/// Parses the frame of `frame_len` bytes of which the first `len` are contiguous at `data`. Sets
/// every field except in_port. For a malformed packet `why` is the reason, and `kind` states what
/// was read nevertheless. For a packet that is not IP, `family` is `none` and `why` is `none`.
void parse_packet(const std::uint8_t* data, std::uint32_t len, std::uint32_t frame_len,
                  const ParseContext& context, PacketInfo& info) noexcept;

/// Returns the first error in the options of a TCP header of `header` bytes (at least 20) at `l4`,
/// and sets `found` to PacketInfo::tcp_options. The only walk over them.
DropReason read_tcp_options(const std::uint8_t* l4, unsigned header, std::uint8_t& found) noexcept;

/// Whether the packet's tuple is that of its own headers: two addresses, two ports.
inline bool has_plain_ends(const PacketInfo& info) noexcept {
    return (info.kind == L4Kind::tcp || info.kind == L4Kind::ports) && !info.fragment;
}

/// Position of the addresses in the IP header at `ip`: the source's, then the destination's.
inline const std::uint8_t* addresses_in(const std::uint8_t* ip, Family family) noexcept {
    return ip + (family == Family::ipv4 ? 12 : 8);
}
/// The six bits of the differentiated services field (RFC 2474) in the IP header at `ip`.
inline std::uint8_t dscp_in(const std::uint8_t* ip, Family family) noexcept {
    const unsigned traffic_class =
        family == Family::ipv4 ? ip[1] : (ip[0] & 0x0f) << 4 | ip[1] >> 4;
    return static_cast<std::uint8_t>(traffic_class >> 2);
}
/// Sets the ends of `t` to the addresses in the IP header at `ip`.
inline void read_addresses(Tuple& t, const std::uint8_t* ip, Family family) noexcept {
    t.src.family = t.dst.family = family;
    const std::uint8_t* const src = addresses_in(ip, family);
    // Two constant lengths, rather than a variable one, which would be a call.
    if (family == Family::ipv4) {
        t.src.set_v4(src);
        t.dst.set_v4(src + 4);
    } else {
        std::memcpy(t.src.bytes.data(), src, 16);
        std::memcpy(t.dst.bytes.data(), src + 16, 16);
    }
}
/// The tuple of the IP packet at `ip`, without ports.
inline Tuple bare_tuple(const std::uint8_t* ip, Family family, std::uint8_t protocol) noexcept {
    Tuple t;
    t.protocol = protocol;
    read_addresses(t, ip, family);
    return t;
}
/// tuple_of() for packets that has_plain_ends(). Built in its place: a copy of a tuple that has
/// just been written costs more than writing it.
inline std::optional<Tuple> plain_tuple_of(const std::uint8_t* data,
                                           const PacketInfo& info) noexcept {
    std::optional<Tuple> t(std::in_place);
    read_addresses(*t, data + info.l3_off, info.family);
    t->protocol = info.protocol;
    std::uint16_t ports[2];
    std::memcpy(ports, data + info.l4_off, sizeof ports);
    t->sport = Be16::from_raw(ports[0]);
    t->dport = Be16::from_raw(ports[1]);
    return t;
}
/// tuple_of() for packets whose own headers are not enough, or do not contain the tuple: ICMP,
/// protocols without ports, fragments.
std::optional<Tuple> special_tuple_of(const std::uint8_t* data, const PacketInfo& info) noexcept;

/// The tuple of a packet in its own direction (for ICMP errors: of the quoted packet, reversed, so
/// that it has the direction in which the error travels), as far as parse_packet() has read it from
/// the frame at `data`: for a malformed packet possibly the addresses only, or nothing. GRE version
/// 1: dport is the receiver's call id; the sender's, sport, is not in the packet and is 0.
///
/// Stages call it for packets that parse_packet() found well-formed: those have one.
inline std::optional<Tuple> tuple_of(const std::uint8_t* data, const PacketInfo& info) noexcept {
    return has_plain_ends(info) ? plain_tuple_of(data, info) : special_tuple_of(data, info);
}

/// The key of a tuple, as parse_packet() builds it; sets `swapped` if src is the high end.
/// `key_class` as in PacketInfo. `request` matters for ICMP only: whether the tuple's source sends
/// the query. With kGreCall it is the key of packets to the tuple's destination, whose call is
/// dport.
FlowKey make_key(const Tuple& tuple, CtZone ct_zone, const HashSecret& secret, bool& swapped,
                 std::uint8_t key_class = 0, bool request = true) noexcept;

/// PacketInfo::rss of the packets of a connection, in both directions, and of ICMP errors about it.
/// `key_class` as in PacketInfo. GRE, whose calls have a key a direction, is hashed by addresses.
std::uint32_t steering_hash(const Tuple& tuple, std::uint8_t key_class,
                            const ParseContext& context) noexcept;

inline std::uint32_t hash_of(const FlowKey& key, const HashSecret& secret) noexcept {
    if (static_cast<Family>(key.family) == Family::ipv6) return key.words[2];
    std::array<std::uint64_t, 2> words;
    std::memcpy(words.data(), &key, sizeof key);
    return keyed_hash32(words, secret);
}

}  // namespace postern
