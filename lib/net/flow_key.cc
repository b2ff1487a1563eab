// SPDX-License-Identifier: BSD-3-Clause
#include "net/flow_key.h"

#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <tuple>

#include "net/bytes.h"
#include "net/keyed_hash.h"
#include "net/rss.h"

namespace postern {
namespace {

using namespace wire;

L4Kind kind_of_ports(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case proto::tcp: return L4Kind::tcp;
        case proto::sctp: return L4Kind::sctp;
        case proto::dccp: return L4Kind::dccp;
        default: return L4Kind::ports;
    }
}

/// Whether the source is the key's high end. Any total order of the ends suffices; comparing raw
/// words is cheapest. parse_plain() has the same order.
bool source_is_high(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t sport,
                    std::uint16_t dport, Family family) noexcept {
    if (family == Family::ipv4)
        return (std::uint64_t{raw32(src)} << 16 | sport) >
               (std::uint64_t{raw32(dst)} << 16 | dport);
    return std::tuple(raw64(src + 8), raw64(src), sport) >
           std::tuple(raw64(dst + 8), raw64(dst), dport);
}

std::uint64_t word_of(std::uint32_t low, std::uint32_t high) noexcept {
    return low | std::uint64_t{high} << 32;
}
/// A key in two words, as it lies in memory: `rest` is all that follows FlowKey::words.
FlowKey key_of_words(std::uint32_t first, std::uint32_t second, std::uint32_t third,
                     std::uint32_t rest) noexcept {
    static_assert(offsetof(FlowKey, protocol) == 12 && offsetof(FlowKey, family) == 13 &&
                  offsetof(FlowKey, ct_zone) == 14);
    return std::bit_cast<FlowKey>(std::array{word_of(first, second), word_of(third, rest)});
}

FlowKey build_key(const std::uint8_t* low, const std::uint8_t* high, std::uint16_t low_port,
                  std::uint16_t high_port, Family family, std::uint8_t protocol, CtZone ct_zone,
                  const HashSecret& secret) noexcept {
    // By words, not by fields: bytes would have to reach memory before they are read as words.
    const std::uint32_t ports = low_port | std::uint32_t{high_port} << 16;
    const std::uint32_t rest = protocol | std::uint32_t{static_cast<std::uint8_t>(family)} << 8 |
                               std::uint32_t{ct_zone.number()} << 16;
    if (family == Family::ipv4) return key_of_words(raw32(low), raw32(high), ports, rest);
    const std::array<std::uint64_t, 5> words{raw64(low), raw64(low + 8), raw64(high),
                                             raw64(high + 8), word_of(ports, rest)};
    const KeyDigest digest = keyed_digest(words, secret);
    return key_of_words(static_cast<std::uint32_t>(digest.rest),
                        static_cast<std::uint32_t>(digest.rest >> 32), digest.hash, rest);
}

/// An ICMP query's key has, in place of ports, the identifier and {class, whether the high end
/// sends the query}: two hosts that ping each other with one identifier have two connections.
FlowKey icmp_key(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t id, IcmpRole role,
                 Family family, std::uint8_t protocol, CtZone ct_zone, const HashSecret& secret,
                 bool& swapped) noexcept {
    swapped = source_is_high(src, dst, 0, 0, family);
    const bool high_asks = swapped == (role.kind == L4Kind::icmp_request);
    const auto tag = static_cast<std::uint16_t>(role.icmp_class << 1 | (high_asks ? 1 : 0));
    return swapped ? build_key(dst, src, id, tag, family, protocol, ct_zone, secret)
                   : build_key(src, dst, id, tag, family, protocol, ct_zone, secret);
}

/// GRE version 1 contains the receiver's call id only, so its key is of one direction: the id, and
/// {2, whether the high end receives}. The tag separates it from GRE without calls, which has 0.
FlowKey gre_key(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t call, Family family,
                CtZone ct_zone, const HashSecret& secret, bool& swapped) noexcept {
    swapped = source_is_high(src, dst, 0, 0, family);
    const std::uint16_t tag = swapped ? 2 : 3;
    return swapped ? build_key(dst, src, call, tag, family, proto::gre, ct_zone, secret)
                   : build_key(src, dst, call, tag, family, proto::gre, ct_zone, secret);
}

/// The keyed hash of two addresses, for any protocol. Fragments of a datagram meet by it: those of
/// IPv6 may even differ in the protocol.
std::uint32_t hash_of_addresses(const std::uint8_t* src, const std::uint8_t* dst, Family family,
                                const ParseContext& context) noexcept {
    bool swapped;
    return hash_of(key_from(src, dst, 0, 0, family, 0, context.ct_zone, *context.secret, swapped),
                   *context.secret);
}

/// The tuple of the IP packet at `ip` with its transport header at `l4`, whose ends or ids have
/// been read.
Tuple tuple_at(const std::uint8_t* ip, const std::uint8_t* l4, Family family,
               std::uint8_t protocol) noexcept {
    Tuple t = bare_tuple(ip, family, protocol);
    const bool v4 = family == Family::ipv4;
    if (has_ports(protocol)) {
        t.sport = Be16::from_raw(raw16(l4));
        t.dport = Be16::from_raw(raw16(l4 + 2));
    } else if (protocol == (v4 ? proto::icmp : proto::icmpv6) &&
               icmp_role(family, l4[0]).icmp_class != 0) {
        t.sport = t.dport = Be16::from_raw(raw16(l4 + 4));
    } else if (protocol == proto::gre && is_gre_call(l4)) {
        t.dport = Be16::from_raw(raw16(l4 + kGreCallOffset));
    }
    return t;
}

}  // namespace

std::uint8_t icmp_question(Family family, std::uint8_t icmp_class) noexcept {
    for (unsigned type = 0; type < 256; ++type) {
        const IcmpRole role = icmp_role(family, static_cast<std::uint8_t>(type));
        if (role.icmp_class == icmp_class && role.kind == L4Kind::icmp_request)
            return static_cast<std::uint8_t>(type);
    }
    return 0;
}

IcmpRole icmp_role(Family family, std::uint8_t type) noexcept {
    if (family == Family::ipv4) {
        switch (type) {
            case 8: return {1, L4Kind::icmp_request};
            case 0: return {1, L4Kind::icmp_reply};
            case 13: return {2, L4Kind::icmp_request};
            case 14: return {2, L4Kind::icmp_reply};
            case 15: return {3, L4Kind::icmp_request};
            case 16: return {3, L4Kind::icmp_reply};
            case 17: return {4, L4Kind::icmp_request};
            case 18: return {4, L4Kind::icmp_reply};
            case 37: return {5, L4Kind::icmp_request};
            case 38: return {5, L4Kind::icmp_reply};
            case 42: return {6, L4Kind::icmp_request};
            case 43: return {6, L4Kind::icmp_reply};
            // Redirects (5) and source quench (4) quote a packet as errors do, but a connection
            // does not justify them: RFC 1122 section 3.2.2.2, RFC 6633.
            case 3:
            case 11:
            case 12: return {0, L4Kind::icmp_error};
            default: return {0, L4Kind::icmp_message};
        }
    }
    switch (type) {
        case 128: return {1, L4Kind::icmp_request};
        case 129: return {1, L4Kind::icmp_reply};
        case 139: return {2, L4Kind::icmp_request};
        case 140: return {2, L4Kind::icmp_reply};
        case 144: return {3, L4Kind::icmp_request};
        case 145: return {3, L4Kind::icmp_reply};
        case 146: return {4, L4Kind::icmp_request};
        case 147: return {4, L4Kind::icmp_reply};
        case 160: return {5, L4Kind::icmp_request};
        case 161: return {5, L4Kind::icmp_reply};
        // Neighbour discovery (RFC 4861) and multicast listeners (RFC 2710, 3810) are link-local
        // housekeeping, not connections.
        case 130:
        case 131:
        case 132:
        case 133:
        case 134:
        case 135:
        case 136:
        case 137:
        case 143: return {0, L4Kind::icmp_nd};
        default: return {0, type < 128 ? L4Kind::icmp_error : L4Kind::icmp_message};
    }
}

FlowKey key_from(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t sport,
                 std::uint16_t dport, Family family, std::uint8_t protocol, CtZone ct_zone,
                 const HashSecret& secret, bool& swapped) noexcept {
    swapped = source_is_high(src, dst, sport, dport, family);
    return swapped ? build_key(dst, src, dport, sport, family, protocol, ct_zone, secret)
                   : build_key(src, dst, sport, dport, family, protocol, ct_zone, secret);
}

bool key_by_transport(const Layers& ip, const std::uint8_t* l4, std::uint32_t have,
                      const ParseContext& context, L4Kind& kind, FlowKey& key, bool& swapped,
                      bool reversed) noexcept {
    const std::uint8_t* src = reversed ? ip.dst : ip.src;
    const std::uint8_t* dst = reversed ? ip.src : ip.dst;
    if (has_ports(ip.protocol)) {
        if (have < 4) return false;
        const std::uint16_t sp = raw16(l4), dp = raw16(l4 + 2);
        key = key_from(src, dst, reversed ? dp : sp, reversed ? sp : dp, ip.family, ip.protocol,
                       context.ct_zone, *context.secret, swapped);
        kind = kind_of_ports(ip.protocol);
        return true;
    }
    if (ip.protocol == (ip.family == Family::ipv4 ? proto::icmp : proto::icmpv6)) {
        // The shortest end with the checksum (RFC 4286 section 4); others of less than 8 have no
        // fields that are read.
        if (have < 4) return false;
        IcmpRole role = icmp_role(ip.family, l4[0]);
        // A kind states what can be read: tuple_of() relies on it.
        if (have < 8 && role.kind != L4Kind::icmp_message) return false;
        kind = role.kind;
        if (role.icmp_class != 0) {
            if (reversed)
                role.kind =
                    role.kind == L4Kind::icmp_request ? L4Kind::icmp_reply : L4Kind::icmp_request;
            key = icmp_key(src, dst, raw16(l4 + 4), role, ip.family, ip.protocol, context.ct_zone,
                           *context.secret, swapped);
            return true;
        }
    } else if (ip.protocol == proto::gre) {
        if (have < 4) return false;
        if (is_gre_call(l4)) {
            if (have < kGreCallHeader) return false;
            kind = L4Kind::gre_call;
            // The packet's own tuple, for either direction: it has no other.
            key = gre_key(ip.src, ip.dst, raw16(l4 + kGreCallOffset), ip.family, context.ct_zone,
                          *context.secret, swapped);
            swapped ^= reversed;
            return true;
        }
        kind = L4Kind::other;
    } else {
        kind = L4Kind::other;
    }
    key =
        key_from(src, dst, 0, 0, ip.family, ip.protocol, context.ct_zone, *context.secret, swapped);
    return true;
}

namespace {

/// Whether devices hash the ports of this protocol. DPDK has no hash type for UDP-Lite and DCCP:
/// devices hash those by addresses, and they have to be at home where they arrive.
constexpr bool devices_hash_ports(std::uint8_t protocol, const SymmetricRss& rss) noexcept {
    return protocol == proto::tcp || protocol == proto::udp ||
           (protocol == proto::sctp && rss.sctp_ports);
}

}  // namespace

std::uint32_t rss_of(const Layers& ip, const std::uint8_t* ports, const FlowKey* key,
                     const ParseContext& context) noexcept {
    if (context.rss == nullptr) {
        if (key != nullptr && ip.protocol != proto::gre) return hash_of(*key, *context.secret);
        return hash_of_addresses(ip.src, ip.dst, ip.family, context);
    }
    const unsigned n = address_bytes(ip.family);
    std::uint16_t folded = fold16(ip.src, n) ^ fold16(ip.dst, n);
    if (ports != nullptr && devices_hash_ports(ip.protocol, *context.rss))
        folded ^= fold16(ports, 4);
    return context.rss->hash(folded);
}

std::optional<Tuple> special_tuple_of(const std::uint8_t* data, const PacketInfo& info) noexcept {
    const std::uint8_t* ip = data + info.l3_off;
    switch (info.kind) {
        case L4Kind::unparsed: return std::nullopt;
        case L4Kind::other:
        case L4Kind::icmp_nd:
        case L4Kind::icmp_message: return bare_tuple(ip, info.family, info.protocol);
        case L4Kind::icmp_error:
            return tuple_at(data + info.pay_off, data + info.quoted_l4_off, info.family,
                            info.quoted_protocol)
                .reversed();
        default: return tuple_at(ip, data + info.l4_off, info.family, info.protocol);
    }
}

FlowKey make_key(const Tuple& t, CtZone ct_zone, const HashSecret& secret, bool& swapped,
                 std::uint8_t key_class, bool request) noexcept {
    if (key_class == kGreCall && t.protocol == proto::gre)
        return gre_key(t.src.bytes.data(), t.dst.bytes.data(), t.dport.raw(), t.src.family, ct_zone,
                       secret, swapped);
    if (key_class != 0)
        return icmp_key(t.src.bytes.data(), t.dst.bytes.data(), t.sport.raw(),
                        {key_class, request ? L4Kind::icmp_request : L4Kind::icmp_reply},
                        t.src.family, t.protocol, ct_zone, secret, swapped);
    return key_from(t.src.bytes.data(), t.dst.bytes.data(), t.sport.raw(), t.dport.raw(),
                    t.src.family, t.protocol, ct_zone, secret, swapped);
}

std::uint32_t steering_hash(const Tuple& t, std::uint8_t key_class,
                            const ParseContext& context) noexcept {
    const std::uint8_t *src = t.src.bytes.data(), *dst = t.dst.bytes.data();
    if (context.rss != nullptr) {
        const unsigned n = address_bytes(t.src.family);
        const unsigned ports =
            devices_hash_ports(t.protocol, *context.rss) ? t.sport.host() ^ t.dport.host() : 0u;
        return context.rss->hash(
            static_cast<std::uint16_t>(fold16(src, n) ^ fold16(dst, n) ^ ports));
    }
    if (t.protocol == proto::gre) return hash_of_addresses(src, dst, t.src.family, context);
    bool swapped;
    return hash_of(make_key(t, context.ct_zone, *context.secret, swapped, key_class),
                   *context.secret);
}

}  // namespace postern
