// SPDX-License-Identifier: BSD-3-Clause
#include "sip/sdp.h"

#include <string_view>

#include "helper/text.h"

namespace postern::sip {
namespace {

constexpr bool is_space(std::uint8_t b) noexcept {
    return b == ' ';
}
Bytes take_word(Cursor& c) noexcept {
    const Bytes word = take_until(c, is_space);
    take(c, ' ');
    return word;
}

/// "IN IP4 192.0.2.1" (section 5.7). Family none: a name. Nothing: not an address of this form, as
/// one with a time to live, which only multicast has.
std::optional<IpAddr> take_connection(Cursor& c) noexcept {
    if (!same_word(take_word(c), "IN")) return std::nullopt;
    const Bytes type = take_word(c);
    const bool v4 = same_word(type, "IP4");
    if (!v4 && !same_word(type, "IP6")) return std::nullopt;
    const Bytes text = take_word(c);
    if (text.empty() || !c.at_end()) return std::nullopt;
    for (const std::uint8_t b : text)
        if (b == '/') return std::nullopt;
    const auto address = read_address(text);
    if (!address) return IpAddr{};
    if (address->family != (v4 ? Family::ipv4 : Family::ipv6)) return std::nullopt;
    return *address;
}

/// "audio 49170 RTP/AVP 0" (section 5.14); "/2" after the port means further ports, which are not
/// read.
std::optional<Media> read_media(Bytes value) noexcept {
    Cursor c{value};
    Media m;
    const Bytes kind = take_word(c);
    if (same_word(kind, "audio"))
        m.kind = MediaKind::audio;
    else if (same_word(kind, "video"))
        m.kind = MediaKind::video;
    else if (same_word(kind, "image"))
        m.kind = MediaKind::image;
    const auto port = take_number(c, 5, 65535);
    if (!port) return std::nullopt;
    if (take(c, '/') && !take_number(c, 5, 65535)) return std::nullopt;
    if (!take(c, ' ')) return std::nullopt;
    m.port = Be16::from_host(static_cast<std::uint16_t>(*port));
    m.rtcp_port = Be16::from_host(static_cast<std::uint16_t>(*port + 1));
    const Bytes transport = take_word(c);
    for (const std::string_view rtp :
         {"RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"})
        m.rtcp |= same_word(transport, rtp);
    m.udp = m.rtcp || same_word(transport, "udptl") || same_word(transport, "UDP/TLS/UDPTL");
    return m;
}

/// "rtcp:53020" or "rtcp:53020 IN IP4 126.16.64.4" (RFC 3605 section 2.1), and the two of rtcp-mux.
bool read_attribute(Bytes value, Media& m, bool& has_rtcp_host) noexcept {
    Cursor c{value};
    const Bytes name = take_until(c, [](std::uint8_t b) { return b == ':'; });
    if (same_word(name, "rtcp-mux")) {
        m.mux = true;
    } else if (same_word(name, "rtcp-mux-only")) {
        m.rtcp = false;
    } else if (same_word(name, "rtcp") && take(c, ':')) {
        const auto port = take_number(c, 5, 65535);
        if (!port) return false;
        m.rtcp_port = Be16::from_host(static_cast<std::uint16_t>(*port));
        if (c.at_end()) return true;
        const auto host = take(c, ' ') ? take_connection(c) : std::nullopt;
        if (!host) return false;
        m.rtcp_host = *host;
        has_rtcp_host = true;
    }
    return true;
}

}  // namespace

std::optional<Session> read_session(Bytes text) noexcept {
    Session s;
    std::optional<IpAddr> session_host;
    bool has_host = false;  // the medium that is being read
    bool has_rtcp_host = false;
    Media* m = nullptr;
    const auto finish = [&] {
        if (m == nullptr) return true;
        if (!has_host && !session_host) return false;
        if (!has_host) m->host = *session_host;
        if (!has_rtcp_host) m->rtcp_host = m->host;
        return true;
    };
    bool first = true;
    for (Cursor c{text}; !c.at_end();) {
        const Bytes line =
            without_line_end(take_until(c, [](std::uint8_t b) { return b == '\n'; }));
        c.skip(1);
        if (line.empty()) break;
        if (line.size() < 2 || line[1] != '=') return std::nullopt;
        const Bytes value = line.subspan(2);
        if (first && (line[0] != 'v' || !same_word(value, "0"))) return std::nullopt;
        first = false;
        if (line[0] == 'c') {
            Cursor v{value};
            const auto host = take_connection(v);
            if (!host) return std::nullopt;
            if (m == nullptr)
                session_host = host;
            else if (!has_host)
                m->host = *host;
            has_host = m != nullptr;
        } else if (line[0] == 'm') {
            if (!finish()) return std::nullopt;
            const auto media = read_media(value);
            if (!media) return std::nullopt;
            if (s.count == Session::kMaxMedia) {
                s.more = true;
                return s;
            }
            m = &s.media[s.count++];
            *m = *media;
            has_host = has_rtcp_host = false;
        } else if (line[0] == 'a' && m != nullptr) {
            if (!read_attribute(value, *m, has_rtcp_host)) return std::nullopt;
        }
    }
    if (first || !finish()) return std::nullopt;
    return s;
}

}  // namespace postern::sip
