// SPDX-License-Identifier: BSD-3-Clause
// The Transport header of RTSP (RFC 2326 section 12.39): the destination of media, as a client
// offers it and a server accepts it. Servers write it in many ways, so only the parts that decide
// about expectations have to be readable.
#pragma once

#include <cstdint>
#include <optional>

#include "helper/text.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern::rtsp {

/// The ports of RTP and of RTCP. RTCP's usually follows RTP's, but some servers use any two, in any
/// order.
struct Ports {
    std::uint16_t first = 0;   ///< never 0 where it was read
    std::uint16_t second = 0;  ///< 0: none was named

    bool is_pair() const noexcept { return second != 0 && second == first + 1; }
};

/// One transport.
struct Transport {
    bool tcp = false;
    bool multicast = false;
    std::optional<Ports> client, server, group;
    /// Addresses given as such. A host's name, nothing at all and the unspecified address all mean
    /// the sender itself.
    std::optional<IpAddr> source, destination;
    bool broken = false;  ///< the client's or the group's ports are present and unreadable
};

/// Without surrounding blanks and line ends: a header may continue in the next line.
Bytes trimmed(Bytes text) noexcept;

/// Takes the next of a list of transports. Commas between quotes do not separate (`mode="A,B"`).
Bytes take_transport(Cursor& list) noexcept;

/// Its parameters may come in any order, the profile among them.
Transport read_transport(Bytes spec) noexcept;

}  // namespace postern::rtsp
