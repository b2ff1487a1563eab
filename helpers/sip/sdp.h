// SPDX-License-Identifier: BSD-3-Clause
// A session description (SDP, RFC 8866): where each medium is to be received.
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

/// One medium that is to be received somewhere: RTP or T.38 over UDP, at a port.
struct Media {
    MediaKind kind = MediaKind::other;
    bool rtcp = false;  ///< has RTCP: RTP, and not on one port for certain (rtcp-mux-only)
    bool mux = false;   ///< a=rtcp-mux: both on one port if the other side agrees (RFC 5761)
    IpAddr host;        ///< family none: a name
    Be16 port;
    IpAddr rtcp_host;
    Be16 rtcp_port;  ///< as a=rtcp says (RFC 3605), else the one after `port`; 0: there is none
};

struct Session {
    static constexpr unsigned kMaxMedia = 16;
    std::array<Media, kMaxMedia> media;
    unsigned count = 0;
    bool more = false;     ///< there were more than that
    unsigned other = 0;    ///< media of another kind or transport
    bool unclear = false;  ///< something that matters could not be read: it is not in `media`
};

/// Reads what is needed and no more. A medium without a readable address, port or transport is left
/// out, as are those that are refused or on hold; the others stand. Nothing when the text is no
/// session description.
std::optional<Session> read_session(Bytes text) noexcept;

}  // namespace postern::sip
