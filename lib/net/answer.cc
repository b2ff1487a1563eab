// SPDX-License-Identifier: BSD-3-Clause
#include "net/answer.h"

#include <algorithm>
#include <cstring>

#include "net/bytes.h"
#include "net/checksum.h"

namespace postern {
namespace {

using namespace wire;

constexpr std::uint8_t kHopLimit = 64;
constexpr unsigned kTcpHeader = 20, kIcmpHeader = 8;
constexpr unsigned kQuotedMinimumMtu = 1232;  ///< 1280 bytes without the headers of the error

unsigned ip_header_bytes(Family family) noexcept {
    return family == Family::ipv4 ? 20 : 40;
}

/// An IP header at `ip` that goes from `src` to `dst` with `payload` bytes after it.
void write_ip(std::uint8_t* ip, Family family, const IpAddr& src, const IpAddr& dst,
              std::uint8_t protocol, unsigned payload) noexcept {
    std::memset(ip, 0, ip_header_bytes(family));
    if (family == Family::ipv4) {
        ip[0] = 0x45;
        put16(ip + 2, 20 + payload);
        put16(ip + 6, 0x4000);  // do not fragment
        ip[8] = kHopLimit;
        ip[9] = protocol;
        std::memcpy(ip + 12, src.bytes.data(), 4);
        std::memcpy(ip + 16, dst.bytes.data(), 4);
        put_raw16(ip + 10, finish_sum(add_to_sum(0, ip, 20)));
        return;
    }
    ip[0] = 0x60;
    put16(ip + 4, payload);
    ip[6] = protocol;
    ip[7] = kHopLimit;
    std::memcpy(ip + 8, src.bytes.data(), 16);
    std::memcpy(ip + 24, dst.bytes.data(), 16);
}

/// The sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
std::uint32_t pseudo_sum(const std::uint8_t* ip, Family family, std::uint8_t protocol,
                         unsigned payload) noexcept {
    std::uint8_t rest[4] = {0, protocol, 0, 0};
    put16(rest + 2, payload);
    const std::uint32_t sum = add_to_sum(0, rest, sizeof rest);
    return family == Family::ipv4 ? add_to_sum(sum, ip + 12, 8) : add_to_sum(sum, ip + 8, 32);
}

}  // namespace

bool is_host(const IpAddr& a) noexcept {
    // "This" network, loopback; multicast, class E, broadcast (RFC 1122 section 3.2.1.3).
    if (a.family == Family::ipv4) return a.bytes[0] != 0 && a.bytes[0] != 127 && a.bytes[0] < 224;
    // Multicast; unspecified, loopback, and addresses with an embedded IPv4 address (RFC 4291
    // section 2.5).
    return a.bytes[0] != 0xff &&
           std::any_of(a.bytes.begin(), a.bytes.begin() + 10, [](auto byte) { return byte != 0; });
}

bool is_answerable(const PacketInfo& info, const std::uint8_t* frame) noexcept {
    // A group's hardware address, as destination or, against the standard, as source.
    if (((frame[0] | frame[6]) & 1) != 0) return false;
    switch (info.kind) {
        case L4Kind::tcp: return (info.tcp_flags & tcp_flag::rst) == 0;
        case L4Kind::icmp_error:
        case L4Kind::icmp_nd: return false;
        // ICMP of an unknown type may be an error.
        case L4Kind::other: return info.protocol != proto::icmp && info.protocol != proto::icmpv6;
        default: return true;
    }
}

void swap_macs(std::uint8_t* frame) noexcept {
    std::swap_ranges(frame, frame + 6, frame + 6);
}

unsigned reset_bytes(const PacketInfo& info) noexcept {
    return info.l3_off + ip_header_bytes(info.family) + kTcpHeader;
}

void write_reset(std::uint8_t* frame, const PacketInfo& info, const Tuple& t) noexcept {
    const std::uint8_t* tcp = frame + info.l4_off;
    const std::uint32_t seq = be32(tcp + 4), ack = be32(tcp + 8);
    const bool had_ack = (info.tcp_flags & tcp_flag::ack) != 0;
    const std::uint32_t end = seq + info.pay_len + ((info.tcp_flags & tcp_flag::syn) != 0 ? 1 : 0) +
                              ((info.tcp_flags & tcp_flag::fin) != 0 ? 1 : 0);
    std::uint8_t* ip = frame + info.l3_off;
    write_ip(ip, info.family, t.dst, t.src, proto::tcp, kTcpHeader);
    std::uint8_t* out = ip + ip_header_bytes(info.family);
    std::memset(out, 0, kTcpHeader);
    put_raw16(out, t.dport.raw());
    put_raw16(out + 2, t.sport.raw());
    if (had_ack)
        put32(out + 4, ack);
    else
        put32(out + 8, end);
    out[12] = (kTcpHeader / 4) << 4;
    out[13] = had_ack ? tcp_flag::rst : tcp_flag::rst | tcp_flag::ack;
    put_raw16(out + 16, finish_sum(add_to_sum(pseudo_sum(ip, info.family, proto::tcp, kTcpHeader),
                                              out, kTcpHeader)));
}

IcmpLayout icmp_layout(const PacketInfo& info, unsigned frame_bytes) noexcept {
    const bool v4 = info.family == Family::ipv4;
    const unsigned whole = std::min(info.l4_off + info.l4_len + 0u, frame_bytes) - info.l3_off;
    const unsigned most = v4 ? info.l4_off - info.l3_off + 8u : kQuotedMinimumMtu;
    return {ip_header_bytes(info.family) + kIcmpHeader, std::min(whole, most)};
}

void write_icmp_error(std::uint8_t* frame, const PacketInfo& info, const Tuple& t,
                      const IcmpLayout& layout, IcmpError error) noexcept {
    const bool v4 = info.family == Family::ipv4;
    const std::uint8_t protocol = v4 ? proto::icmp : proto::icmpv6;
    const unsigned payload = kIcmpHeader + layout.quoted;
    std::uint8_t* ip = frame + info.l3_off;
    std::uint8_t* icmp = ip + ip_header_bytes(info.family);
    write_ip(ip, info.family, t.dst, t.src, protocol, payload);
    std::memset(icmp, 0, kIcmpHeader);
    icmp[0] = error.type;
    icmp[1] = error.code;
    // ICMP's checksum has no pseudo-header, ICMPv6's has one (RFC 4443 section 2.3).
    const std::uint32_t sum = v4 ? 0 : pseudo_sum(ip, info.family, protocol, payload);
    put_raw16(icmp + 2, finish_sum(add_to_sum(sum, icmp, payload)));
}

}  // namespace postern
