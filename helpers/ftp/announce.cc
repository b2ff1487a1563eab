// SPDX-License-Identifier: BSD-3-Clause
#include "ftp/announce.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "helper/text.h"

namespace postern::ftp {
namespace {

/// Whether blanks may surround the commas. Clients accept such replies, servers no such commands.
enum class Blanks : bool {
    none,
    allowed
};

bool take_comma(Cursor& c, Blanks blanks) noexcept {
    if (blanks == Blanks::allowed) skip_blanks(c);
    if (!take(c, ',')) return false;
    if (blanks == Blanks::allowed) skip_blanks(c);
    return true;
}

/// "h1,h2,h3,h4,p1,p2" (RFC 959 section 4.1.2).
std::optional<HostPort> take_host_port(Cursor& c, Blanks blanks) noexcept {
    Cursor at = c;  // in registers
    std::array<std::uint8_t, 6> n{};
    for (std::size_t i = 0; i < n.size(); ++i) {
        if (i != 0 && !take_comma(at, blanks)) return std::nullopt;
        const auto v = take_number(at, 3, 255);
        if (!v) return std::nullopt;
        n[i] = static_cast<std::uint8_t>(*v);
    }
    c = at;
    const unsigned port = unsigned{n[4]} << 8 | n[5];
    return HostPort{IpAddr::v4(n[0], n[1], n[2], n[3]),
                    Be16::from_host(static_cast<std::uint16_t>(port))};
}

/// "af,hal,h1,…,hn,pal,p1,p2" (RFC 1639 section 3): the address family as IP's version number, and
/// lengths of address and port.
std::optional<HostPort> take_long_host_port(Cursor& c) noexcept {
    const auto version = take_number(c, 1, 6);
    if (!version || (*version != 4 && *version != 6) || !take(c, ',')) return std::nullopt;
    const std::uint32_t length = *version == 4 ? 4 : 16;
    if (take_number(c, 2, 16) != length) return std::nullopt;
    std::array<std::uint8_t, 16> host{};
    for (std::size_t i = 0; i < length; ++i) {
        const auto v = take(c, ',') ? take_number(c, 3, 255) : std::nullopt;
        if (!v) return std::nullopt;
        host[i] = static_cast<std::uint8_t>(*v);
    }
    if (!take(c, ',') || take_number(c, 1, 2) != 2u) return std::nullopt;
    std::uint32_t port = 0;
    for (unsigned i = 0; i < 2; ++i) {
        const auto v = take(c, ',') ? take_number(c, 3, 255) : std::nullopt;
        if (!v) return std::nullopt;
        port = port << 8 | *v;
    }
    return HostPort{*version == 4 ? IpAddr::v4(host.data()) : IpAddr::v6(host.data()),
                    Be16::from_host(static_cast<std::uint16_t>(port))};
}

/// Whether a list of numbers in a reply ends here: at the end of the line, at a closing bracket or
/// quotation mark, or at the end of a sentence. Not at a seventh number, nor in a word.
bool ends_list(Cursor c) noexcept {
    const auto next = c.peek();
    if (!next) return true;
    if (is_blank(*next)) {
        skip_blanks(c);
        return c.peek() != std::uint8_t{','};
    }
    constexpr std::string_view kEnds = ")>]}\"'`.;";
    return kEnds.find(static_cast<char>(*next)) != std::string_view::npos;
}

/// The position after a parenthesis, and blanks, before a digit.
bool find_number_in_parenthesis(Cursor& c) noexcept {
    while (!c.at_end()) {
        take_until(c, [](std::uint8_t b) { return b == '('; });
        if (!c.skip(1)) return false;
        skip_blanks(c);
        if (c.peek() && is_digit(*c.peek())) return true;
    }
    return false;
}

}  // namespace

std::optional<HostPort> read_port(Bytes argument) noexcept {
    Cursor c{argument};
    const auto found = take_host_port(c, Blanks::none);
    return c.at_end() ? found : std::nullopt;
}

/// "|1|192.0.2.1|6275|", any printable delimiter (RFC 2428 section 2).
std::optional<HostPort> read_eprt(Bytes argument) noexcept {
    Cursor c{argument};
    const auto d = c.u8();
    if (!d || *d < 33 || *d > 126 || is_digit(*d)) return std::nullopt;
    const auto protocol = take_number(c, 1, 2);
    if (!protocol || *protocol == 0 || !take(c, *d)) return std::nullopt;
    const auto host = read_address(take_until(c, [&](std::uint8_t b) { return b == *d; }));
    if (!host || host->family != (*protocol == 1 ? Family::ipv4 : Family::ipv6))
        return std::nullopt;
    if (!take(c, *d)) return std::nullopt;
    const auto port = take_number(c, 5, 65535);
    if (!port || !take(c, *d) || !c.at_end()) return std::nullopt;
    return HostPort{*host, Be16::from_host(static_cast<std::uint16_t>(*port))};
}

std::optional<HostPort> read_lprt(Bytes argument) noexcept {
    Cursor c{argument};
    const auto found = take_long_host_port(c);
    return c.at_end() ? found : std::nullopt;
}

std::optional<HostPort> find_227(Bytes text) noexcept {
    Cursor c{text};
    if (find_number_in_parenthesis(c)) {
        const auto found = take_host_port(c, Blanks::allowed);
        return found && ends_list(c) ? found : std::nullopt;
    }
    c = Cursor{text};
    while (const auto b = c.peek()) {
        if (!is_digit(*b)) {
            c.skip(1);
            continue;
        }
        if (Cursor run = c; const auto found = take_host_port(run, Blanks::allowed))
            return ends_list(run) ? found : std::nullopt;
        while (c.peek() && is_digit(*c.peek()))
            c.skip(1);
        // A list that is not six numbers up to 255 is ambiguous.
        if (c.peek() == std::uint8_t{','} && c.peek(1) && is_digit(*c.peek(1))) return std::nullopt;
    }
    return std::nullopt;
}

std::optional<HostPort> find_228(Bytes text) noexcept {
    Cursor c{text};
    if (!find_number_in_parenthesis(c)) return std::nullopt;
    const auto found = take_long_host_port(c);
    return found && ends_list(c) ? found : std::nullopt;
}

std::optional<Be16> find_229(Bytes text) noexcept {
    for (Cursor c{text}; !c.at_end();) {
        const auto bracket = c.u8();
        if (bracket != '(' && bracket != '[' && bracket != '<' && bracket != '{') continue;
        const auto d = c.peek();
        if (!d || *d < 33 || *d > 126 || is_digit(*d)) continue;
        if (c.peek(1) != d || c.peek(2) != d) continue;
        c.skip(3);
        const auto port = take_number(c, 5, 65535);
        if (!port || !take(c, *d)) return std::nullopt;
        const std::uint8_t close = bracket == '(' ? ')' : static_cast<std::uint8_t>(*bracket + 2);
        if (!c.at_end() && !take(c, close)) return std::nullopt;
        return Be16::from_host(static_cast<std::uint16_t>(*port));
    }
    return std::nullopt;
}

}  // namespace postern::ftp
