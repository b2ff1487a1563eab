// SPDX-License-Identifier: BSD-3-Clause
// Header parsing, the general path: the frame (frame.h), the transport header, the flow key
// (flow_key.h), options (options.h). Each part returns the reason for which a packet is malformed,
// or none. The fast path is parse_plain.h.
#include <cstring>

#include "net/bytes.h"
#include "net/flow_key.h"
#include "net/frame.h"
#include "net/neighbour.h"
#include "net/options.h"
#include "net/packet.h"
#include "net/parse_plain.h"

namespace postern {
namespace {

using namespace wire;

constexpr std::uint16_t kGrePpp = 0x880b;

/// Whether PPTP may send this header; `header` is its length.
bool gre_call_valid(const std::uint8_t* l4, unsigned& header) noexcept {
    constexpr unsigned kKey = 0x20, kAcknowledgement = 0x80, kVersion = 0x01;
    header = kGreCallHeader + ((l4[0] & kGreSequence) != 0 ? 4 : 0) +
             ((l4[1] & kAcknowledgement) != 0 ? 4 : 0);
    return (l4[0] & ~kGreSequence) == kKey && (l4[1] & ~kAcknowledgement) == kVersion &&
           be16(l4 + 2) == kGrePpp;
}

/// Whether a protocol whose payload is not read is well-formed, by the length in its header. For
/// SCTP and DCCP only the contiguous part is read later: chains are not followed.
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
            // RFC 3828 section 3.1: the checksum covers at least the header, 0: all. It is
            // mandatory.
            if (have < 8) return DropReason::truncated_l4;
            if (be16(l4 + 6) == 0) return DropReason::bad_l4_checksum;
            const unsigned covered = be16(l4 + 4);
            if ((covered != 0 && covered < 8) || covered > info.l4_len)
                return DropReason::bad_l4_length;
            info.pay_off = static_cast<std::uint16_t>(info.l4_off + 8);
            info.pay_len = static_cast<std::uint16_t>(info.l4_len - 8);
            return DropReason::none;
        }
        case proto::gre: {
            // A header shorter than version 1's is left to the code that needs its key.
            if (have < kGreCallHeader || !is_gre_call(l4)) return DropReason::none;
            unsigned bytes;
            if (!gre_call_valid(l4, bytes)) return DropReason::bad_gre;
            if (header(bytes) != DropReason::none) return DropReason::truncated_l4;
            // Without a sequence number there is no payload, whatever the length.
            const bool has_payload = (l4[0] & kGreSequence) != 0;
            return has_payload && be16(l4 + 4) > info.l4_len - bytes ? DropReason::bad_l4_length
                                                                     : DropReason::none;
        }
        default: return DropReason::none;
    }
}

DropReason read_tcp(const std::uint8_t* l4, std::uint32_t have, PacketInfo& info,
                    DropReason& odd) noexcept {
    if (have < 20) return DropReason::truncated_l4;
    const unsigned header = (l4[12] >> 4) * 4u;
    if (header < 20 || header > info.l4_len) return DropReason::bad_l4_length;
    if (header > have) return DropReason::truncated_l4;
    info.tcp_flags = l4[13];
    info.pay_off = static_cast<std::uint16_t>(info.l4_off + header);
    info.pay_len = static_cast<std::uint16_t>(info.l4_len - header);
    odd = read_tcp_options(l4, header, info.tcp_options);
    if (!tcp_flags_valid(l4[13])) odd = DropReason::bad_tcp_flags;
    return DropReason::none;
}

DropReason read_udp(const std::uint8_t* l4, std::uint32_t have, PacketInfo& info) noexcept {
    if (have < 8) return DropReason::truncated_l4;
    const unsigned udp_len = be16(l4 + 4);
    if (udp_len < 8 || udp_len > info.l4_len) return DropReason::bad_l4_length;
    info.pay_off = static_cast<std::uint16_t>(info.l4_off + 8);
    info.pay_len = static_cast<std::uint16_t>(udp_len - 8);
    return DropReason::none;
}

/// Parses the transport header at `l4`, of which `have` bytes can be read, to find the payload.
/// `odd`: the error of a complete header. Such a packet has a key all the same.
DropReason read_transport(std::uint8_t protocol, const std::uint8_t* l4, std::uint32_t have,
                          PacketInfo& info, DropReason& odd) noexcept {
    switch (protocol) {
        case proto::tcp: return read_tcp(l4, have, info, odd);
        case proto::udp: return read_udp(l4, have, info);
        default: return check_rare(protocol, l4, have, info);
    }
}

/// Parses the packet that an ICMP error quotes (RFC 792, RFC 4443 section 3: after eight bytes), of
/// which `have` bytes can be read; `outer` is the error's own. The error gets its key.
DropReason parse_quoted(const Layers& outer, const std::uint8_t* data, std::uint32_t have,
                        const ParseContext& context, PacketInfo& info) noexcept {
    const unsigned at = info.l4_off + 8u;
    const std::uint8_t* ip = data + at;
    Layers in;
    const DropReason why = parse_ip(ip, have, have, outer.family, true, in);
    if (why != DropReason::none) return why;
    if (in.later_fragment) return DropReason::fragment;
    const std::uint8_t* l4 = ip + in.l4_off;
    L4Kind kind;
    if (!key_by_transport(in, l4, have - in.l4_off, context, kind, info.key, info.swapped, true) ||
        kind == L4Kind::icmp_error)
        return DropReason::truncated_l4;
    info.kind = L4Kind::icmp_error;
    info.pay_off = static_cast<std::uint16_t>(at);
    info.pay_len = static_cast<std::uint16_t>(have);
    info.quoted_l4_off = static_cast<std::uint16_t>(at + in.l4_off);
    info.quoted_protocol = in.protocol;
    // Whatever its sender: it goes to the sender of the packet that could not be delivered.
    if (std::memcmp(outer.dst, in.src, address_bytes(outer.family)) != 0)
        return DropReason::bad_icmp_error;
    info.rss = rss_of(in, has_ports(in.protocol) ? l4 : nullptr, &info.key, context);
    return DropReason::none;
}

/// ICMPv6 types up to this are defined errors. Of higher ones below 128 only the class is known
/// (RFC 4443 section 2.1): they are errors if they quote a packet, as they should.
constexpr std::uint8_t kLastIcmpv6Error = 4;

/// An unknown ICMPv6 error without a quotation is a message like others: undoes parse_quoted().
void be_message(PacketInfo& info, const Layers& ip, const ParseContext& context) noexcept {
    info.kind = L4Kind::icmp_message;
    info.why = DropReason::none;
    info.pay_off = info.l4_off;
    info.pay_len = info.l4_len;
    info.quoted_l4_off = 0;
    info.quoted_protocol = 0;
    info.key = key_from(ip.src, ip.dst, 0, 0, ip.family, ip.protocol, context.ct_zone,
                        *context.secret, info.swapped);
}

/// The general path, for any frame. Separate from the fast one, so that the latter stays in
/// registers.
[[gnu::noinline]] void parse_any(const std::uint8_t* data, std::uint32_t len,
                                 std::uint32_t frame_len, const ParseContext& port,
                                 PacketInfo& info) noexcept {
    ParseContext context = port;
    const PortId in_port = info.in_port;
    info = PacketInfo{};
    info.in_port = in_port;
    info.ct = CtState::invalid;

    if (!parse_link(data, len, frame_len, port, info, context.ct_zone)) return;
    const std::uint32_t at = info.l3_off;
    const Family family = info.ethertype == kEthIpv4   ? Family::ipv4
                          : info.ethertype == kEthIpv6 ? Family::ipv6
                                                       : Family::none;
    if (family == Family::none) return;

    Layers ip;
    info.family = family;
    info.why = parse_ip(data + at, len - at, frame_len - at, family, false, ip);
    if (info.why != DropReason::none) return;
    info.kind = L4Kind::other;
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
        info.rss = rss_of(ip, nullptr, nullptr, context);
        info.key = key_from(ip.src, ip.dst, 0, 0, family, ip.protocol, context.ct_zone,
                            *context.secret, info.swapped);
        info.hash = hash_of(info.key, *context.secret);
        return;
    }

    DropReason odd = DropReason::none;
    info.why = read_transport(ip.protocol, l4, have, info, odd);
    if (info.why != DropReason::none) return;
    info.why = odd;

    if (!key_by_transport(ip, l4, have, context, info.kind, info.key, info.swapped, false)) {
        info.why = DropReason::truncated_l4;
        return;
    }
    info.rss = rss_of(ip, has_ports(ip.protocol) ? l4 : nullptr, &info.key, context);
    if (info.kind == L4Kind::icmp_request || info.kind == L4Kind::icmp_reply)
        info.key_class = icmp_role(family, l4[0]).icmp_class;
    if (info.kind == L4Kind::gre_call) info.key_class = kGreCall;
    if (info.kind == L4Kind::icmp_nd)
        info.why = check_neighbour(data + at, ip.l4_off, info.l4_len, have);

    if (info.kind == L4Kind::icmp_error) {
        info.kind = L4Kind::other;
        info.why = parse_quoted(ip, data, have - 8, context, info);
        if (info.why != DropReason::none) {
            if (family == Family::ipv4 || l4[0] <= kLastIcmpv6Error) return;
            be_message(info, ip, context);
        }
    } else if (has_ports(ip.protocol)) {
        if (std::memcmp(ip.src, ip.dst, address_bytes(family)) == 0 && raw16(l4) == raw16(l4 + 2) &&
            info.why == DropReason::none)
            info.why = DropReason::land;
    }
    info.hash = hash_of(info.key, *context.secret);
}

}  // namespace

PlainImages plain_images(PortId in_port, CtZone ct_zone, const ZonePair& zones) noexcept {
    PlainImages out{};
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        PacketInfo& info = out[family == Family::ipv4 ? 0 : 1];
        info.key.family = static_cast<std::uint8_t>(family);
        info.key.ct_zone = ct_zone;
        info.ethertype = family == Family::ipv4 ? kEthIpv4 : kEthIpv6;
        info.l3_off = 14;
        info.family = family;
        info.in_port = in_port;
        info.ct = CtState::invalid;
        info.set_zones(zones);
    }
    return out;
}

void parse_packet(const std::uint8_t* data, std::uint32_t len, std::uint32_t frame_len,
                  const ParseContext& context, PacketInfo& info) noexcept {
    if (context.plain == nullptr) {
        const PlainImages images = plain_images(info.in_port, context.ct_zone, {});
        ParseContext own = context;
        own.plain = &images;
        return parse_packet(data, len, frame_len, own, info);
    }
    if (parse_plain(data, len, context, info)) return;
    parse_any(data, len, frame_len, context, info);
    if (info.why != DropReason::none || info.family == Family::none) return;
    const std::uint8_t* ip = data + info.l3_off;
    const unsigned headers = info.l4_off - info.l3_off;
    info.why = info.family == Family::ipv4
                   ? check_ip_options(ip, headers)
                   : check_ip6_extensions(ip, headers, context.routing_headers);
}

}  // namespace postern
