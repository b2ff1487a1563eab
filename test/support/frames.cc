// SPDX-License-Identifier: BSD-3-Clause
#include "support/frames.h"

#include <algorithm>
#include <cstring>

namespace postern::frames {
namespace {

void put16(Frame& f, std::size_t at, unsigned v) {
    f[at] = static_cast<std::uint8_t>(v >> 8);
    f[at + 1] = static_cast<std::uint8_t>(v);
}
void put32(Frame& f, std::size_t at, std::uint32_t v) {
    put16(f, at, v >> 16);
    put16(f, at + 2, v & 0xffff);
}
unsigned get16(const Frame& f, std::size_t at) {
    return f[at] * 256u + f[at + 1];
}
std::uint16_t fold(std::uint32_t sum) {
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

}  // namespace

std::string from_hex(std::string_view digits) {
    std::string out;
    for (std::size_t i = 0; i < digits.size(); i += 2)
        out += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
    return out;
}

std::uint32_t ones_sum(const std::uint8_t* p, std::size_t n, std::uint32_t sum) {
    for (std::size_t i = 0; i < n; ++i) {
        sum += i % 2 == 0 ? p[i] * 256u : p[i];
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

std::uint16_t l4_sum(const IpAddr& src, const IpAddr& dst, std::uint8_t protocol,
                     const std::uint8_t* l4, std::size_t n) {
    const unsigned bytes = address_bytes(src.family);
    std::uint32_t sum = ones_sum(src.bytes.data(), bytes);
    sum = ones_sum(dst.bytes.data(), bytes, sum);
    sum += protocol + static_cast<std::uint32_t>(n);
    return fold(ones_sum(l4, n, sum));
}

Frame ip(const IpAddr& src, const IpAddr& dst, std::uint8_t protocol, const Frame& l4) {
    const bool v4 = src.family == Family::ipv4;
    Frame f{0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01};
    f.resize(kEth + (v4 ? 20u : 40u));
    put16(f, 12, v4 ? 0x0800 : 0x86dd);
    if (v4) {
        f[14] = 0x45;
        put16(f, 16, static_cast<unsigned>(20 + l4.size()));
        f[22] = 64;
        f[23] = protocol;
        std::copy_n(src.bytes.begin(), 4, f.begin() + 26);
        std::copy_n(dst.bytes.begin(), 4, f.begin() + 30);
        put16(f, 24, fold(ones_sum(&f[14], 20)));
    } else {
        f[14] = 0x60;
        put16(f, 18, static_cast<unsigned>(l4.size()));
        f[20] = protocol;
        f[21] = 64;
        std::copy_n(src.bytes.begin(), 16, f.begin() + 22);
        std::copy_n(dst.bytes.begin(), 16, f.begin() + 38);
    }
    f.insert(f.end(), l4.begin(), l4.end());
    return f;
}

Frame tcp(const Flow& f, const TcpFields& t) {
    Frame l4(20);
    put16(l4, 0, f.sport);
    put16(l4, 2, f.dport);
    put32(l4, 4, t.seq);
    put32(l4, 8, t.ack);
    l4.insert(l4.end(), t.options.begin(), t.options.end());
    l4.resize((l4.size() + 3) / 4 * 4);
    l4[12] = static_cast<std::uint8_t>(l4.size() / 4 << 4);
    l4[13] = t.flags;
    put16(l4, 14, t.win);
    l4.insert(l4.end(), t.payload.begin(), t.payload.end());
    put16(l4, 16, l4_sum(f.src, f.dst, proto::tcp, l4.data(), l4.size()));
    return ip(f.src, f.dst, proto::tcp, l4);
}

Frame udp(const Flow& f, std::string_view payload) {
    Frame l4(8);
    put16(l4, 0, f.sport);
    put16(l4, 2, f.dport);
    l4.insert(l4.end(), payload.begin(), payload.end());
    put16(l4, 4, static_cast<unsigned>(l4.size()));
    put16(l4, 6, l4_sum(f.src, f.dst, proto::udp, l4.data(), l4.size()));
    return ip(f.src, f.dst, proto::udp, l4);
}

Frame icmp(const IpAddr& src, const IpAddr& dst, std::uint8_t type, std::uint8_t code,
           const Frame& rest) {
    const bool v4 = src.family == Family::ipv4;
    Frame l4{type, code, 0, 0};
    l4.insert(l4.end(), rest.begin(), rest.end());
    put16(l4, 2,
          v4 ? fold(ones_sum(l4.data(), l4.size()))
             : l4_sum(src, dst, proto::icmpv6, l4.data(), l4.size()));
    return ip(src, dst, v4 ? proto::icmp : proto::icmpv6, l4);
}

Frame gre_call(const IpAddr& src, const IpAddr& dst, std::uint16_t call_id,
               std::string_view payload) {
    Frame l4{0x30, 0x81, 0x88, 0x0b, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2};  // with both numbers
    put16(l4, 4, static_cast<unsigned>(payload.size()));
    put16(l4, 6, call_id);
    l4.insert(l4.end(), payload.begin(), payload.end());
    return ip(src, dst, proto::gre, l4);
}

Frame echo(const Flow& f, bool request, std::uint16_t id) {
    Frame rest(4);
    put16(rest, 0, id);
    put16(rest, 2, 1);
    const bool v4 = f.src.family == Family::ipv4;
    const unsigned type = v4 ? (request ? 8 : 0) : (request ? 128 : 129);
    return icmp(f.src, f.dst, static_cast<std::uint8_t>(type), 0, rest);
}

Frame unreachable(const IpAddr& src, const IpAddr& dst, const Frame& about, std::size_t head) {
    Frame rest(4);
    const std::size_t n = std::min(head, about.size() - kEth);
    rest.insert(rest.end(), about.begin() + kEth, about.begin() + kEth + static_cast<long>(n));
    const bool v4 = src.family == Family::ipv4;
    return icmp(src, dst, v4 ? 3 : 1, v4 ? 3 : 4, rest);
}

Frame wrap_vlan(const Frame& frame, std::uint16_t tci, std::uint16_t ethertype) {
    Frame f = frame;
    f.insert(f.begin() + 12, 4, 0);
    put16(f, 12, ethertype);
    put16(f, 14, tci);
    return f;
}

Frame wrap_extensions(const Frame& frame, const std::vector<Extension>& extensions) {
    Frame f(frame.begin(), frame.begin() + kEth + 40);
    const std::uint8_t last = f[20];
    std::size_t next_at = 20;
    for (const Extension& e : extensions) {
        f[next_at] = e.protocol;
        next_at = f.size();
        f.insert(f.end(), e.bytes.begin(), e.bytes.end());
    }
    f[next_at] = last;
    f.insert(f.end(), frame.begin() + kEth + 40, frame.end());
    put16(f, 18, static_cast<unsigned>(f.size() - kEth - 40));
    return f;
}

Frame fragment(const Frame& frame, unsigned offset, unsigned bytes, bool more, std::uint32_t id) {
    const bool v4 = get16(frame, 12) == 0x0800;
    const std::size_t header = kEth + (v4 ? 20u : 40u);
    Frame f(frame.begin(), frame.begin() + static_cast<long>(header));
    if (v4) {
        put16(f, 16, 20 + bytes);
        put16(f, 18, id & 0xffff);
        put16(f, 20, offset / 8 | (more ? 0x2000u : 0u));
        put16(f, 24, 0);
        put16(f, 24, fold(ones_sum(&f[14], 20)));
    } else {
        f.resize(header + 8);
        f[header] = f[20];
        f[20] = 44;
        put16(f, 18, 8 + bytes);
        put16(f, header + 2, offset | (more ? 1u : 0u));
        put32(f, header + 4, id);
    }
    for (unsigned i = 0; i < bytes; ++i) {
        const std::size_t at = header + offset + i;
        f.push_back(at < frame.size() ? frame[at] : std::uint8_t{0});
    }
    return f;
}

std::vector<Frame> fragments(const Frame& frame, unsigned bytes, std::uint32_t id) {
    const bool v4 = get16(frame, 12) == 0x0800;
    const auto whole = static_cast<unsigned>(frame.size() - kEth - (v4 ? 20 : 40));
    std::vector<Frame> out;
    for (unsigned at = 0; at < whole; at += bytes) {
        const unsigned n = std::min(bytes, whole - at);
        out.push_back(fragment(frame, at, n, at + n < whole, id));
    }
    return out;
}

bool checksums_right(const Frame& f) {
    const bool v4 = get16(f, 12) == 0x0800;
    const std::uint8_t* ip = f.data() + kEth;
    const std::size_t header = v4 ? (ip[0] & 15u) * 4 : 40;
    const std::size_t total = v4 ? get16(f, kEth + 2) : 40 + get16(f, kEth + 4);
    if (kEth + total > f.size()) return false;
    if (v4 && fold(ones_sum(ip, header)) != 0) return false;
    const std::uint8_t protocol = v4 ? ip[9] : ip[6];
    const IpAddr src = v4 ? IpAddr::v4(ip + 12) : IpAddr::v6(ip + 8);
    const IpAddr dst = v4 ? IpAddr::v4(ip + 16) : IpAddr::v6(ip + 24);
    if (protocol == proto::icmp) return fold(ones_sum(ip + header, total - header)) == 0;
    return l4_sum(src, dst, protocol, ip + header, total - header) == 0;
}

}  // namespace postern::frames
