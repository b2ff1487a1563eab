// SPDX-License-Identifier: BSD-3-Clause
#include "rtsp/transport.h"

#include <algorithm>
#include <utility>

namespace postern::rtsp {
namespace {

constexpr bool is_space_or_line_end(std::uint8_t b) noexcept {
    return is_blank(b) || b == '\r' || b == '\n';
}

/// The text between quotes or brackets, if there are any.
Bytes unwrapped(Bytes text) noexcept {
    for (const auto& [open, close] : {std::pair{'"', '"'}, std::pair{'[', ']'}})
        if (text.size() >= 2 && text.front() == open && text.back() == close)
            text = text.subspan(1, text.size() - 2);
    return text;
}

/// "3456" or "3456-3457".
std::optional<Ports> read_ports(Bytes text) noexcept {
    Cursor c{unwrapped(text)};
    skip_blanks(c);
    const auto first = take_number(c, 5, 65535);
    if (!first || *first == 0) return std::nullopt;
    Ports ports{static_cast<std::uint16_t>(*first), 0};
    skip_blanks(c);
    if (take(c, '-')) {
        skip_blanks(c);
        const auto second = take_number(c, 5, 65535);
        if (!second) return std::nullopt;
        if (*second != *first) ports.second = static_cast<std::uint16_t>(*second);
        skip_blanks(c);
    }
    return c.at_end() ? std::optional{ports} : std::nullopt;
}

/// "", "0" or "0-0": without ports.
bool names_no_ports(Bytes text) noexcept {
    Cursor c{unwrapped(text)};
    skip_blanks(c);
    return c.at_end() || take_number(c, 5, 65535) == std::uint32_t{0};
}

std::optional<IpAddr> read_host(Bytes text) noexcept {
    const auto host = read_address(unwrapped(text));
    const bool specified = host && std::any_of(host->bytes.begin(), host->bytes.end(),
                                               [](std::uint8_t b) { return b != 0; });
    return specified ? host : std::nullopt;
}

}  // namespace

Bytes trimmed(Bytes text) noexcept {
    while (!text.empty() && is_space_or_line_end(text.front()))
        text = text.subspan(1);
    while (!text.empty() && is_space_or_line_end(text.back()))
        text = text.first(text.size() - 1);
    return text;
}

Bytes take_transport(Cursor& list) noexcept {
    bool quoted = false;
    return take_until(list, [&quoted](std::uint8_t b) {
        if (b == '"') quoted = !quoted;
        return b == ',' && !quoted;
    });
}

Transport read_transport(Bytes spec) noexcept {
    Transport t;
    Cursor c{spec};
    do {
        Cursor param{trimmed(take_until(c, [](std::uint8_t b) { return b == ';'; }))};
        const Bytes name = trimmed(take_until(param, [](std::uint8_t b) { return b == '='; }));
        const bool has_value = take(param, '=');
        const Bytes value = trimmed(param.rest());
        // "RTP/AVP", "RTP/AVP/UDP", "RTP/AVP/TCP".
        if (!has_value && name.size() >= 4 && same_word(name.last(4), "/TCP")) t.tcp = true;
        if (same_word(name, "multicast")) t.multicast = true;
        if (same_word(name, "interleaved")) t.tcp = true;
        if (same_word(name, "client_port"))
            t.broken |= !(t.client = read_ports(value)) && !names_no_ports(value);
        if (same_word(name, "port")) t.broken |= !(t.group = read_ports(value));
        // These open nothing towards the client, so an unreadable one counts as none.
        if (same_word(name, "server_port")) t.server = read_ports(value);
        if (same_word(name, "source")) t.source = read_host(value);
        if (same_word(name, "destination")) t.destination = read_host(value);
    } while (take(c, ';'));
    return t;
}

}  // namespace postern::rtsp
