// SPDX-License-Identifier: BSD-3-Clause
// Header parsing: Ethernet, up to two VLAN tags, IPv4 (RFC 791), IPv6 (RFC 8200) with extension
// headers, TCP, UDP, ICMP, GRE version 1 and the rest. Field offsets are those of the RFCs; every
// read is preceded by a check against the bytes at hand.
#include <algorithm>
#include <array>
#include <bit>
#include <tuple>

#include "net/ipv6.h"
#include "net/options.h"
#include "net/packet.h"
#include "net/parse_plain.h"
#include "net/rss.h"

namespace postern {
namespace {

using namespace wire;

constexpr std::uint16_t kEthVlan = 0x8100, kEthQinq = 0x88a8;
constexpr std::uint16_t kGrePpp = 0x880b;
constexpr unsigned kMaxExtensionHeaders = 8;

/// Where the network and transport layers of a packet are. Also used for the packet inside an ICMP
/// error, of which only the head may be there.
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

/// `len` bytes at `ip` are contiguous; `whole` (>= len) belong to the frame. `inner`: the packet
/// may be cut short.
DropReason parse_ip(const std::uint8_t* ip, std::uint32_t len, std::uint32_t whole, Family family,
                    bool inner, Layers& out) noexcept {
    out.family = family;
    if (family == Family::ipv4) {
        if (len < 20) return DropReason::truncated_l3;
        const unsigned header = (ip[0] & 0x0fu) * 4;
        const unsigned total = be16(ip + 2);
        if (ip[0] >> 4 != 4 || header < 20 || total < header) return DropReason::bad_ip_header;
        if (header > len || (!inner && total > whole)) return DropReason::truncated_l3;
        const unsigned frag = be16(ip + 6);
        out.src = ip + 12;
        out.dst = ip + 16;
        out.protocol = ip[9];
        out.fragment = (frag & 0x3fff) != 0;
        out.later_fragment = (frag & 0x1fff) != 0;
        out.l4_off = header;
        out.total = total;
        return DropReason::none;
    }
    if (len < 40) return DropReason::truncated_l3;
    if (ip[0] >> 4 != 6) return DropReason::bad_ip_header;
    out.total = 40u + be16(ip + 4);
    if (!inner && out.total > whole) return DropReason::truncated_l3;
    out.src = ip + 8;
    out.dst = ip + 24;
    const std::uint32_t end = out.total < len ? out.total : len;
    std::uint32_t at = 40;
    std::uint8_t next = ip[6];
    bool seen_fragment = false;
    for (unsigned n = 0;; ++n) {
        // Behind a later fragment's header is payload: the chain is in the first one.
        if (out.later_fragment || !is_ipv6_extension(next)) {
            out.protocol = next;
            out.l4_off = at;
            return DropReason::none;
        }
        if (n == kMaxExtensionHeaders || end < at + 8) return DropReason::bad_ext_header;
        const unsigned size = ipv6_extension_bytes(next, ip + at);
        if (at + size > end) return DropReason::bad_ext_header;
        if (next == ipv6_next::fragment) {
            if (seen_fragment) return DropReason::bad_ext_header;
            seen_fragment = true;
            const unsigned frag = be16(ip + at + 2);
            out.fragment = (frag & 0xfff9) != 0;  // an atomic fragment (RFC 6946) is none
            out.later_fragment = (frag & 0xfff8) != 0;
        }
        next = ip[at];
        at += size;
    }
}

/// What to say of options that ended like this; `bad`: one of them cannot be right for its kind.
struct OptionReasons {
    DropReason length, cut, bad;
};
DropReason judge(OptionsEnd end, bool bad, const OptionReasons& reasons) noexcept {
    switch (end) {
        case OptionsEnd::short_length: return reasons.length;
        case OptionsEnd::cut: return reasons.cut;
        case OptionsEnd::sound: break;
    }
    return bad ? reasons.bad : DropReason::none;
}

/// The first thing wrong with the options of an IPv4 header: record route and source routes (RFC
/// 791 section 3.1: a pointer of 4 at least), timestamps (of 5), router alert (RFC 2113).
DropReason check_ip_options(const std::uint8_t* ip, unsigned header) noexcept {
    constexpr std::uint8_t kRecordRoute = 7, kTimestamps = 68, kLooseRoute = 131,
                           kStrictRoute = 137, kRouterAlert = 148;
    bool bad = false;
    const auto check = [&](std::uint8_t kind, const std::uint8_t* value, unsigned len) {
        switch (kind) {
            case kRecordRoute:
            case kLooseRoute:
            case kStrictRoute: bad |= len < 1 || value[0] < 4; break;
            case kTimestamps: bad |= len < 2 || value[0] < 5; break;
            case kRouterAlert: bad |= len != 2; break;
            default: break;
        }
    };
    const OptionsEnd end = for_each_option(ip + 20, header - 20, check);
    return judge(
        end, bad,
        {DropReason::ip_option_length, DropReason::ip_option_cut, DropReason::ip_option_bad});
}

/// Whether an option of IPv6's hop-by-hop and destination headers (RFC 8200 section 4.2) goes on
/// behind its header; what it is, is its receiver's business. `headers`: the bytes from `ip` to the
/// end of the chain of extension headers, which parse_ip() found sound.
DropReason check_ip6_options(const std::uint8_t* ip, unsigned headers) noexcept {
    constexpr std::uint8_t kPad1 = 0;  // the one without a length
    std::uint8_t protocol = ip[6];
    for (unsigned at = 40; at < headers;) {
        const unsigned end = at + ipv6_extension_bytes(protocol, ip + at);
        const std::uint8_t next = ip[at];
        if (protocol == ipv6_next::hop_by_hop || protocol == ipv6_next::destination) {
            for (at += 2; at < end;) {
                if (ip[at] == kPad1) {
                    ++at;
                    continue;
                }
                if (end - at < 2 || ip[at + 1] + 2u > end - at) return DropReason::ip6_option_cut;
                at += ip[at + 1] + 2u;
            }
        }
        protocol = next;
        at = end;
    }
    return DropReason::none;
}

/// ICMP types that ask and answer (RFC 792, RFC 4443): class and role. Class 0: none of these.
struct IcmpRole {
    std::uint8_t icmp_class;
    L4Kind kind;
};
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
            case 3:
            case 4:
            case 5:
            case 11:
            case 12: return {0, L4Kind::icmp_error};
            default: return {0, L4Kind::other};
        }
    }
    switch (type) {
        case 128: return {1, L4Kind::icmp_request};
        case 129: return {1, L4Kind::icmp_reply};
        case 139: return {2, L4Kind::icmp_request};  // node information, RFC 4620
        case 140: return {2, L4Kind::icmp_reply};
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
        default: return {0, type < 128 ? L4Kind::icmp_error : L4Kind::other};
    }
}

L4Kind kind_of_ports(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case proto::tcp: return L4Kind::tcp;
        case proto::sctp: return L4Kind::sctp;
        case proto::dccp: return L4Kind::dccp;
        default: return L4Kind::ports;
    }
}

/// RFC 2637 section 4.1: {C R K S s recur}, {A flags version}, protocol, payload length, call id.
constexpr unsigned kGreCallHeader = 8, kGreCallOffset = 6, kGreSequence = 0x10;
bool is_gre_call(const std::uint8_t* l4) noexcept {
    return (l4[1] & 7) == 1;
}

/// Whether PPTP may have sent this header; `header` is its length.
bool gre_call_valid(const std::uint8_t* l4, unsigned& header) noexcept {
    constexpr unsigned kKey = 0x20, kAcknowledgement = 0x80, kVersion = 0x01;
    header = kGreCallHeader + ((l4[0] & kGreSequence) != 0 ? 4 : 0) +
             ((l4[1] & kAcknowledgement) != 0 ? 4 : 0);
    return (l4[0] & ~kGreSequence) == kKey && (l4[1] & ~kAcknowledgement) == kVersion &&
           be16(l4 + 2) == kGrePpp;
}

/// Whether a protocol without payload that anybody reads is sound, by the length its header tells.
/// Of SCTP and DCCP only what can be read at once is looked at later: chains are not followed.
DropReason check_rare(std::uint8_t protocol, const std::uint8_t* l4, std::uint32_t have,
                      PacketInfo& info) noexcept {
    const auto header = [&](unsigned bytes) {
        if (have < bytes) return DropReason::truncated_l4;
        info.pay_off = static_cast<std::uint16_t>(info.l4_off + bytes);
        info.pay_len = static_cast<std::uint16_t>(have - bytes);
        return DropReason::none;
    };
    switch (protocol) {
        case proto::sctp: return header(12);  // RFC 9260 section 3.1
        case proto::dccp: return header(12);  // RFC 4340 section 5.1
        case proto::udplite: {
            // RFC 3828 section 3.1: the checksum covers the header at least, 0: all.
            if (have < 8) return DropReason::truncated_l4;
            const unsigned covered = be16(l4 + 4);
            if ((covered != 0 && covered < 8) || covered > info.l4_len)
                return DropReason::bad_l4_length;
            info.pay_off = static_cast<std::uint16_t>(info.l4_off + 8);
            info.pay_len = static_cast<std::uint16_t>(info.l4_len - 8);
            return DropReason::none;
        }
        case proto::gre: {
            // Less than a header of version 1 is left to who wants its key.
            if (have < kGreCallHeader || !is_gre_call(l4)) return DropReason::none;
            unsigned bytes;
            if (!gre_call_valid(l4, bytes)) return DropReason::bad_gre;
            if (header(bytes) != DropReason::none) return DropReason::truncated_l4;
            // Without a sequence number there is no payload, whatever the length says.
            const bool has_payload = (l4[0] & kGreSequence) != 0;
            return has_payload && be16(l4 + 4) > info.l4_len - bytes ? DropReason::bad_l4_length
                                                                     : DropReason::none;
        }
        default: return DropReason::none;
    }
}

/// Whether the source is the key's high end. Any total order of the ends would do; raw words are
/// compared, which is cheapest. parse_plain() has the same order.
bool source_is_high(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t sport,
                    std::uint16_t dport, Family family) noexcept {
    if (family == Family::ipv4)
        return (std::uint64_t{raw32(src)} << 16 | sport) >
               (std::uint64_t{raw32(dst)} << 16 | dport);
    return std::tuple(raw64(src + 8), raw64(src), sport) >
           std::tuple(raw64(dst + 8), raw64(dst), dport);
}

FlowKey build_key(const std::uint8_t* low, const std::uint8_t* high, std::uint16_t low_port,
                  std::uint16_t high_port, Family family, std::uint8_t protocol, std::uint16_t zone,
                  const HashSecret& secret) noexcept {
    FlowKey key;
    key.protocol = protocol;
    key.family = static_cast<std::uint8_t>(family);
    key.zone = zone;
    if (family == Family::ipv4) {
        key.words[0] = raw32(low);
        key.words[1] = raw32(high);
        key.words[2] = low_port | std::uint32_t{high_port} << 16;
        return key;
    }
    // Ends, then what else the key has.
    std::uint8_t whole[40];
    std::memcpy(whole, low, 16);
    std::memcpy(whole + 16, high, 16);
    std::memcpy(whole + 32, &low_port, 2);
    std::memcpy(whole + 34, &high_port, 2);
    constexpr std::size_t kRest = offsetof(FlowKey, protocol);
    static_assert(sizeof(FlowKey) - kRest == 4);
    std::memcpy(whole + 36, reinterpret_cast<const std::uint8_t*>(&key) + kRest, 4);
    std::array<std::uint64_t, 5> words;
    std::memcpy(words.data(), whole, sizeof whole);
    const KeyDigest digest = keyed_digest(words, secret);
    std::memcpy(&key.words[0], &digest.rest, 8);
    key.words[2] = digest.hash;
    return key;
}

/// The canonical key of one direction's ends. Ports are raw (network order).
FlowKey key_from(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t sport,
                 std::uint16_t dport, Family family, std::uint8_t protocol, std::uint16_t zone,
                 const HashSecret& secret, bool& swapped) noexcept {
    swapped = source_is_high(src, dst, sport, dport, family);
    return swapped ? build_key(dst, src, dport, sport, family, protocol, zone, secret)
                   : build_key(src, dst, sport, dport, family, protocol, zone, secret);
}

/// An ICMP query's key has, for ports, the identifier and {class, whether the high end asks}: two
/// hosts that ping each other with one identifier have two connections, as they should.
FlowKey icmp_key(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t id, IcmpRole role,
                 Family family, std::uint8_t protocol, std::uint16_t zone, const HashSecret& secret,
                 bool& swapped) noexcept {
    swapped = source_is_high(src, dst, 0, 0, family);
    const bool high_asks = swapped == (role.kind == L4Kind::icmp_request);
    const auto tag = static_cast<std::uint16_t>(role.icmp_class << 1 | (high_asks ? 1 : 0));
    return swapped ? build_key(dst, src, id, tag, family, protocol, zone, secret)
                   : build_key(src, dst, id, tag, family, protocol, zone, secret);
}

/// GRE version 1 carries the receiver's call id only, so its key is of one direction: the id, and
/// {2, whether the high end receives}. The tag keeps it apart from GRE without calls, which has 0.
FlowKey gre_key(const std::uint8_t* src, const std::uint8_t* dst, std::uint16_t call, Family family,
                std::uint16_t zone, const HashSecret& secret, bool& swapped) noexcept {
    swapped = source_is_high(src, dst, 0, 0, family);
    const std::uint16_t tag = swapped ? 2 : 3;
    return swapped ? build_key(dst, src, call, tag, family, proto::gre, zone, secret)
                   : build_key(src, dst, call, tag, family, proto::gre, zone, secret);
}

/// Keys the packet by its transport header at `l4`, of which `have` bytes can be read.
/// False when the header is not all there.
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
        if (have < 8) return false;
        IcmpRole role = icmp_role(ip.family, l4[0]);
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
            // Of what the packet itself is, whichever way is asked for: it has no other.
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

std::uint32_t rss_of(const Layers& ip, const std::uint8_t* ports) noexcept {
    const unsigned n = address_bytes(ip.family);
    std::uint16_t folded = fold16(ip.src, n) ^ fold16(ip.dst, n);
    if (ports != nullptr) folded ^= fold16(ports, 4);
    return symmetric_toeplitz(folded);
}

/// The general way: any frame at all. Apart from the plain one, which keeps that in registers.
[[gnu::noinline]] void parse_any(const std::uint8_t* data, std::uint32_t len,
                                 std::uint32_t frame_len, const ParseContext& port,
                                 PacketInfo& info) noexcept {
    ParseContext context = port;
    const PortIndex in_port = info.in_port;
    info = PacketInfo{};
    info.in_port = in_port;
    info.rule = kNoRule;
    info.ct = CtState::invalid;
    info.kind = L4Kind::other;

    std::uint32_t at = 14;
    if (len < at) {
        info.why = DropReason::truncated_l2;
        return;
    }
    std::uint16_t type = be16(data + 12);
    for (int tags = 0; (type == kEthVlan || type == kEthQinq) && tags < 2; ++tags) {
        if (len < at + 4) {
            info.why = DropReason::truncated_l2;
            return;
        }
        if (tags == 0) {
            info.vlan = be16(data + at);
            if (port.vlan_zones != nullptr) context.ct_zone = port.vlan_zones[vlan_id(info.vlan)];
        }
        type = be16(data + at + 2);
        at += 4;
    }
    info.ethertype = type;
    info.l3_off = static_cast<std::uint8_t>(at);
    const Family family = type == kEthIpv4   ? Family::ipv4
                          : type == kEthIpv6 ? Family::ipv6
                                             : Family::none;
    if (family == Family::none) return;

    Layers ip;
    info.family = family;
    info.why = parse_ip(data + at, len - at, frame_len - at, family, false, ip);
    if (info.why != DropReason::none) return;
    info.protocol = ip.protocol;
    info.fragment = ip.fragment;
    info.l4_off = static_cast<std::uint16_t>(at + ip.l4_off);
    info.l4_len = static_cast<std::uint16_t>(ip.total - ip.l4_off);
    info.pay_off = info.l4_off;
    info.pay_len = info.l4_len;

    const std::uint8_t* l4 = data + info.l4_off;
    // The contiguous part may be shorter than the datagram (chained buffers, cut captures).
    const std::uint32_t contiguous = len > info.l4_off ? len - info.l4_off : 0;
    const std::uint32_t have = info.l4_len < contiguous ? info.l4_len : contiguous;

    if (ip.fragment) {
        info.rss = rss_of(ip, nullptr);
        info.key = key_from(ip.src, ip.dst, 0, 0, family, ip.protocol, context.ct_zone,
                            *context.secret, info.swapped);
        info.hash = hash_of(info.key, *context.secret);
        return;
    }

    switch (ip.protocol) {
        case proto::tcp: {
            if (have < 20) {
                info.why = DropReason::truncated_l4;
                return;
            }
            const unsigned header = (l4[12] >> 4) * 4u;
            if (header < 20 || header > info.l4_len) {
                info.why = DropReason::bad_l4_length;
                return;
            }
            if (header > have) {
                info.why = DropReason::truncated_l4;
                return;
            }
            info.tcp_flags = l4[13];
            info.pay_off = static_cast<std::uint16_t>(info.l4_off + header);
            info.pay_len = static_cast<std::uint16_t>(info.l4_len - header);
            info.why = read_tcp_options(l4, header, info.tcp_options);
            if (!tcp_flags_valid(l4[13])) info.why = DropReason::bad_tcp_flags;
            break;
        }
        case proto::udp: {
            if (have < 8) {
                info.why = DropReason::truncated_l4;
                return;
            }
            const unsigned udp_len = be16(l4 + 4);
            if (udp_len < 8 || udp_len > info.l4_len) {
                info.why = DropReason::bad_l4_length;
                return;
            }
            info.pay_off = static_cast<std::uint16_t>(info.l4_off + 8);
            info.pay_len = static_cast<std::uint16_t>(udp_len - 8);
            break;
        }
        default:
            info.why = check_rare(ip.protocol, l4, have, info);
            if (info.why != DropReason::none) return;
    }

    if (!key_by_transport(ip, l4, have, context, info.kind, info.key, info.swapped, false)) {
        info.why = DropReason::truncated_l4;
        return;
    }
    info.rss = rss_of(ip, has_ports(ip.protocol) ? l4 : nullptr);
    if (info.kind == L4Kind::icmp_request || info.kind == L4Kind::icmp_reply)
        info.key_class = icmp_role(family, l4[0]).icmp_class;
    if (info.kind == L4Kind::gre_call) info.key_class = kGreCall;

    if (info.kind == L4Kind::icmp_error) {
        // RFC 792, RFC 4443 section 3: eight bytes, then the head of the packet that caused it.
        Layers in;
        L4Kind in_kind;
        const std::uint8_t* inner = l4 + 8;
        const std::uint32_t inner_have = have - 8;
        const DropReason why = parse_ip(inner, inner_have, inner_have, family, true, in);
        if (why != DropReason::none || in.later_fragment) {
            info.why = why != DropReason::none ? why : DropReason::fragment;
            return;
        }
        const std::uint32_t head = inner_have > in.l4_off ? inner_have - in.l4_off : 0;
        if (!key_by_transport(in, inner + in.l4_off, head, context, in_kind, info.key, info.swapped,
                              true) ||
            in_kind == L4Kind::icmp_error) {
            info.why = DropReason::truncated_l4;
            return;
        }
        // Whoever sends it: it goes to the one whose packet could not be delivered.
        if (std::memcmp(ip.dst, in.src, address_bytes(family)) != 0) {
            info.why = DropReason::bad_icmp_error;
            return;
        }
        info.pay_off = static_cast<std::uint16_t>(info.l4_off + 8);  // where tuple_of() looks
        info.rss = rss_of(in, has_ports(in.protocol) ? inner + in.l4_off : nullptr);
    } else if (has_ports(ip.protocol)) {
        if (std::memcmp(ip.src, ip.dst, address_bytes(family)) == 0 && raw16(l4) == raw16(l4 + 2) &&
            info.why == DropReason::none)
            info.why = DropReason::land;
    }
    info.hash = hash_of(info.key, *context.secret);
}

/// The tuple of the IP packet at `ip` with its transport header at `l4`; without ports if `bare`.
Tuple tuple_at(const std::uint8_t* ip, const std::uint8_t* l4, Family family, std::uint8_t protocol,
               bool bare) noexcept {
    Tuple t = bare_tuple(ip, family, protocol);
    const bool v4 = family == Family::ipv4;
    if (bare) return t;
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

Tuple tuple_of_error(const std::uint8_t* inner, Family family) noexcept {
    Layers in;
    (void)parse_ip(inner, 0xffff, 0xffff, family, true, in);
    return tuple_at(inner, inner + in.l4_off, family, in.protocol, false).reversed();
}

}  // namespace

DropReason read_tcp_options(const std::uint8_t* l4, unsigned header, std::uint8_t& found) noexcept {
    bool bad = false;
    std::uint8_t offers = 0, edge_at = 0;
    std::uint32_t highest = be32(l4 + 8);
    const auto read = [&](std::uint8_t kind, const std::uint8_t* value, unsigned len) {
        switch (kind) {
            case tcp_option::mss: bad |= len != 2; break;
            case tcp_option::window_scale:
                if (len != 1) {
                    bad = true;
                    break;
                }
                offers &= static_cast<std::uint8_t>(~tcp_offer::scale);  // the last one counts
                offers |= tcp_offer::window_scale;
                offers |= std::min(value[0], kMaxWindowScale);
                if (value[0] > kMaxWindowScale) offers |= tcp_offer::limited;
                break;
            case tcp_option::sack_permitted:
                bad |= len != 0;
                offers |= tcp_offer::sack;
                break;
            case tcp_option::sack:
                bad |= len == 0 || len % 8 != 0;
                for (unsigned at = 4; at + 4 <= len; at += 8) {  // each block's right edge
                    const std::uint32_t edge = be32(value + at);
                    if (!seq_after(edge, highest)) continue;
                    highest = edge;
                    edge_at = static_cast<std::uint8_t>(value + at - l4);
                }
                break;
            case tcp_option::timestamps: bad |= len != 8; break;
            default: break;
        }
    };
    const OptionsEnd end = for_each_option(l4 + 20, header - 20, read);
    found = (l4[13] & tcp_flag::syn) != 0 ? offers : edge_at;
    // RFC 9293 section 3.1 wants hosts to be prepared for illegal lengths.
    return judge(
        end, bad,
        {DropReason::tcp_option_length, DropReason::tcp_option_cut, DropReason::tcp_option_bad});
}

bool tcp_options_plain(const std::uint8_t* l4, unsigned header, PacketInfo& info) noexcept {
    return header >= 20 && read_tcp_options(l4, header, info.tcp_options) == DropReason::none &&
           (info.tcp_options & tcp_offer::limited) == 0;
}

void parse_packet(const std::uint8_t* data, std::uint32_t len, std::uint32_t frame_len,
                  const ParseContext& context, PacketInfo& info) noexcept {
    if (parse_plain(data, len, context, info)) return;
    parse_any(data, len, frame_len, context, info);
    if (info.why != DropReason::none || info.family == Family::none) return;
    const std::uint8_t* ip = data + info.l3_off;
    const unsigned headers = info.l4_off - info.l3_off;
    info.why = info.family == Family::ipv4 ? check_ip_options(ip, headers)
                                           : check_ip6_options(ip, headers);
}

Tuple special_tuple_of(const std::uint8_t* data, const PacketInfo& info) noexcept {
    return info.kind == L4Kind::icmp_error ? tuple_of_error(data + info.pay_off, info.family)
                                           : tuple_at(data + info.l3_off, data + info.l4_off,
                                                      info.family, info.protocol, info.fragment);
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

}  // namespace postern
