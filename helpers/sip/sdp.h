// SPDX-License-Identifier: BSD-3-Clause
// A session description (SDP, RFC 8866): the address and port of each medium.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "net/addr.h"
#include "net/cursor.h"

namespace postern::sip {

enum class MediaKind : std::uint8_t {
    audio,
    video,
    image,
    other
};

/// One medium with a receiving address: RTP or T.38 over UDP, at a port.
struct Media {
    MediaKind kind = MediaKind::other;
    bool rtcp = false;  ///< has RTCP: RTP, unless one port is certain (rtcp-mux-only)
    bool mux = false;   ///< a=rtcp-mux: both on one port if the other side agrees (RFC 5761)
    IpAddr host;        ///< family none: a name
    Be16 port;
    IpAddr rtcp_host;
    Be16 rtcp_port;  ///< from a=rtcp (RFC 3605), else the one after `port`; 0: none
};

struct Session {
    static constexpr unsigned kMaxMedia = 16;
    std::array<Media, kMaxMedia> media;
    unsigned count = 0;
    bool more = false;     ///< there were more than that
    unsigned other = 0;    ///< media of another kind or transport
    bool unclear = false;  ///< a relevant part could not be parsed: it is not in `media`
};

/// Parses the relevant parts only. Omits a medium without a readable address, port or transport,
/// and refused or held ones; the others count. Nothing if the text is no session description.
std::optional<Session> read_session(Bytes text) noexcept;

}  // namespace postern::sip
