// SPDX-License-Identifier: BSD-3-Clause
#include "sip/sdp.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "helper/text.h"

namespace postern::sip {
namespace {

constexpr bool is_line_end(std::uint8_t b) noexcept {
    return b == '\r' || b == '\n';
}
/// Senders append all of these to a line, NUL after the last one.
constexpr bool is_filler(std::uint8_t b) noexcept {
    return is_blank(b) || b == 0;
}
Bytes trimmed(Bytes b) noexcept {
    while (!b.empty() && is_filler(b.front()))
        b = b.subspan(1);
    while (!b.empty() && is_filler(b.back()))
        b = b.first(b.size() - 1);
    return b;
}
Bytes take_word(Cursor& c) noexcept {
    skip_blanks(c);
    return take_until(c, is_blank);
}

bool is_group(const IpAddr& a) noexcept {
    return a.family == Family::ipv4 ? (a.bytes[0] & 0xf0) == 0xe0 : a.bytes[0] == 0xff;
}

/// Result of parsing an address.
struct Host {
    bool said = false;
    bool readable = false;
    IpAddr address;  ///< family none: a name
};

/// Parses "IN IP4 192.0.2.1" (RFC 8866 section 5.7). A slash is for multicast, which opens nothing:
/// not readable. Some senders write a TTL behind a host's address, too, or an IPv6 address in
/// brackets.
Host take_connection(Cursor& c) noexcept {
    Host h{.said = true};
    if (!same_word(take_word(c), "IN")) return h;
    const Bytes type = take_word(c);
    const bool v4 = same_word(type, "IP4");
    if (!v4 && !same_word(type, "IP6")) return h;
    Bytes text = take_word(c);
    if (text.size() > 2 && text.front() == '[' && text.back() == ']')
        text = text.subspan(1, text.size() - 2);
    Cursor parts{text};
    const Bytes host = take_until(parts, [](std::uint8_t b) { return b == '/'; });
    if (host.empty()) return h;
    const auto address = read_address(host);
    if (take(parts, '/') &&
        (!address || is_group(*address) || !take_number(parts, 3, 255) || !parts.at_end()))
        return h;
    if (address && address->family != (v4 ? Family::ipv4 : Family::ipv6)) return h;
    h.readable = true;
    if (address) h.address = *address;
    return h;
}

/// A medium while it is parsed.
struct Section {
    Media media;
    bool readable = false;      ///< its m= line
    bool wanted = false;        ///< known, and over UDP
    bool unclear_rtcp = false;  ///< RTCP's port is unknown
    Host host, rtcp_host;
};

/// Parses "audio 49170 RTP/AVP 0" (section 5.14); "/2" after the port means further ports, which
/// are ignored. A refused one (port 0: RFC 3264 section 6) may end after its port.
Section read_media(Bytes value) noexcept {
    Cursor c{value};
    Section s;
    const Bytes kind = take_word(c);
    if (same_word(kind, "audio"))
        s.media.kind = MediaKind::audio;
    else if (same_word(kind, "video"))
        s.media.kind = MediaKind::video;
    else if (same_word(kind, "image"))
        s.media.kind = MediaKind::image;
    skip_blanks(c);
    const auto port = take_number(c, 5, 65535);
    if (!port || (take(c, '/') && !take_number(c, 5, 65535))) return s;
    if (!c.at_end() && !is_blank(*c.peek())) return s;
    const Bytes transport = take_word(c);
    if (*port != 0 && transport.empty()) return s;
    s.readable = true;
    s.media.port = Be16::from_host(static_cast<std::uint16_t>(*port));
    s.media.rtcp_port = Be16::from_host(static_cast<std::uint16_t>(*port + 1));
    for (const std::string_view rtp :
         {"RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})
        s.media.rtcp |= same_word(transport, rtp);
    s.wanted = s.media.kind != MediaKind::other && (s.media.rtcp || same_word(transport, "udptl") ||
                                                    same_word(transport, "UDP/TLS/UDPTL"));
    return s;
}

/// Parses "rtcp:53020" or "rtcp:53020 IN IP4 126.16.64.4" (RFC 3605 section 2.1), and the two of
/// rtcp-mux. False if it is malformed: RTCP's port is then unknown.
bool read_attribute(Bytes value, Section& s) noexcept {
    Cursor c{value};
    const Bytes name = trimmed(take_until(c, [](std::uint8_t b) { return b == ':'; }));
    if (same_word(name, "rtcp-mux")) {
        s.media.mux = true;
    } else if (same_word(name, "rtcp-mux-only")) {
        s.media.rtcp = false;
    } else if (same_word(name, "rtcp")) {
        s.media.rtcp_port = Be16{};
        if (!take(c, ':')) return false;
        skip_blanks(c);
        const auto port = take_number(c, 5, 65535);
        if (!port || (!c.at_end() && !is_blank(*c.peek()))) return false;
        skip_blanks(c);
        if (!c.at_end()) {
            const Host host = take_connection(c);
            if (!host.readable) return false;
            s.rtcp_host = host;
        }
        s.media.rtcp_port = Be16::from_host(static_cast<std::uint16_t>(*port));
    }
    return true;
}

/// Port 0: refused (RFC 3264 section 6). The unspecified address: on hold (section 8.4).
bool is_received(const Section& s, const Host& host) noexcept {
    const bool on_hold = host.readable && host.address.family != Family::none &&
                         host.address == IpAddr{{}, host.address.family};
    return s.media.port.host() != 0 && !on_hold;
}

/// The whole section is parsed: its own address has precedence over the session's.
void finish(Session& out, const Section& s, const Host& session_host) noexcept {
    if (!s.readable) {
        out.unclear = true;
        return;
    }
    const Host& host = s.host.said ? s.host : session_host;
    if (!is_received(s, host)) return;
    if (!s.wanted) {
        ++out.other;
        return;
    }
    if (!host.readable) {
        out.unclear = true;
        return;
    }
    if (out.count == Session::kMaxMedia) {
        out.more = true;
        return;
    }
    out.unclear |= s.unclear_rtcp;
    Media& m = out.media[out.count++] = s.media;
    m.host = host.address;
    m.rtcp_host = s.rtcp_host.said ? s.rtcp_host.address : host.address;
}

}  // namespace

std::optional<Session> read_session(Bytes text) noexcept {
    Session out;
    Host session_host;
    std::optional<Section> section;
    bool first = true;
    constexpr std::array<std::uint8_t, 3> kByteOrderMark{0xef, 0xbb, 0xbf};
    if (text.size() > kByteOrderMark.size() &&
        std::equal(kByteOrderMark.begin(), kByteOrderMark.end(), text.begin()))
        text = text.subspan(kByteOrderMark.size());
    for (Cursor c{text}; !c.at_end();) {
        const Bytes line = trimmed(take_until(c, is_line_end));
        c.skip(1);
        if (line.empty()) continue;
        const bool is_field = line.size() >= 2 && line[1] == '=';
        const Bytes value = is_field ? trimmed(line.subspan(2)) : Bytes{};
        if (first && (!is_field || line[0] != 'v' || !same_word(value, "0"))) return std::nullopt;
        first = false;
        if (!is_field) continue;
        if (line[0] == 'c') {
            Cursor v{value};
            Host& host = section ? section->host : session_host;
            if (!host.said) host = take_connection(v);
        } else if (line[0] == 'm') {
            if (section) finish(out, *section, session_host);
            section = read_media(value);
        } else if (line[0] == 'a' && section) {
            section->unclear_rtcp |= !read_attribute(value, *section);
        }
    }
    if (first) return std::nullopt;
    if (section) finish(out, *section, session_host);
    return out;
}

}  // namespace postern::sip
