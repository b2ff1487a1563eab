// SPDX-License-Identifier: BSD-3-Clause
#include "net/addr.h"

#include <charconv>

#include <arpa/inet.h>

namespace postern {
namespace {

struct NamedProtocol {
    std::string_view name;
    std::uint8_t number;
};
constexpr NamedProtocol kProtocols[] = {
    {"icmp", proto::icmp}, {"tcp", proto::tcp},         {"udp", proto::udp},
    {"dccp", proto::dccp}, {"gre", proto::gre},         {"icmpv6", proto::icmpv6},
    {"sctp", proto::sctp}, {"udplite", proto::udplite},
};

std::optional<unsigned> parse_number(std::string_view text, unsigned max) {
    unsigned v = 0;
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (ec != std::errc{} || end != text.data() + text.size() || text.empty() || v > max)
        return std::nullopt;
    return v;
}

}  // namespace

std::string protocol_name(std::uint8_t protocol) {
    for (const auto& p : kProtocols)
        if (p.number == protocol) return std::string(p.name);
    return std::to_string(protocol);
}

std::optional<std::uint8_t> parse_protocol(std::string_view text) {
    for (const auto& p : kProtocols)
        if (p.name == text) return p.number;
    if (auto n = parse_number(text, 255)) return static_cast<std::uint8_t>(*n);
    return std::nullopt;
}

std::optional<IpAddr> IpAddr::parse(std::string_view text) {
    char buf[INET6_ADDRSTRLEN + 1];
    if (text.empty() || text.size() >= sizeof buf) return std::nullopt;
    std::memcpy(buf, text.data(), text.size());
    buf[text.size()] = 0;
    IpAddr a;
    if (inet_pton(AF_INET, buf, a.bytes.data()) == 1) {
        a.family = Family::ipv4;
        return a;
    }
    if (inet_pton(AF_INET6, buf, a.bytes.data()) == 1) {
        a.family = Family::ipv6;
        return a;
    }
    return std::nullopt;
}

std::string IpAddr::to_string() const {
    char buf[INET6_ADDRSTRLEN];
    if (family == Family::none) return "none";
    inet_ntop(family == Family::ipv4 ? AF_INET : AF_INET6, bytes.data(), buf, sizeof buf);
    return buf;
}

std::optional<Prefix> Prefix::parse(std::string_view text) {
    const auto slash = text.find('/');
    auto address = IpAddr::parse(text.substr(0, slash));
    if (!address) return std::nullopt;
    const unsigned max = address_bytes(address->family) * 8;
    Prefix p{*address, static_cast<std::uint8_t>(max)};
    if (slash != std::string_view::npos) {
        auto n = parse_number(text.substr(slash + 1), max);
        if (!n) return std::nullopt;
        p.length = static_cast<std::uint8_t>(*n);
    }
    for (unsigned bit = p.length; bit < max; ++bit)
        if (p.address.bytes[bit / 8] & (0x80u >> (bit % 8))) return std::nullopt;
    return p;
}

std::string Prefix::to_string() const {
    return address.to_string() + "/" + std::to_string(length);
}

bool Prefix::contains(const IpAddr& a) const noexcept {
    if (a.family != address.family) return false;
    const unsigned whole = length / 8, rest = length % 8;
    if (std::memcmp(a.bytes.data(), address.bytes.data(), whole) != 0) return false;
    if (rest == 0) return true;
    const unsigned mask = (0xff00u >> rest) & 0xffu;
    return ((a.bytes[whole] ^ address.bytes[whole]) & mask) == 0;
}

std::string Tuple::to_string() const {
    auto end = [](const IpAddr& a, Be16 port) {
        const bool v6 = a.family == Family::ipv6;
        return (v6 ? "[" : "") + a.to_string() + (v6 ? "]" : "") + ":" +
               std::to_string(port.host());
    };
    return protocol_name(protocol) + " " + end(src, sport) + " > " + end(dst, dport);
}

}  // namespace postern
