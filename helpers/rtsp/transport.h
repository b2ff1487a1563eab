// SPDX-License-Identifier: BSD-3-Clause
// The Transport header of RTSP (RFC 2326 section 12.39): where media go, as a client offers it and
// a server agrees to. Servers write it in many ways, so only what decides who may send where has to
// be readable.
#pragma once

#include <cstdint>
#include <optional>

#include "helper/text.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern::rtsp {

/// The ports of RTP and of RTCP. RTCP's follows RTP's as a rule, but servers exist that take any
/// two, in any order.
struct Ports {
    std::uint16_t first = 0;   ///< never 0 where it was read
    std::uint16_t second = 0;  ///< 0: none was named

    bool is_pair() const noexcept { return second != 0 && second == first + 1; }
};

/// One way of transport.
struct Transport {
    bool tcp = false;
    bool multicast = false;
    std::optional<Ports> client, server, group;
    /// Addresses that were given as such. A host's name, nothing at all and the unspecified address
    /// say no more than that the host is the one who speaks here.
    std::optional<IpAddr> source, destination;
    bool broken = false;  ///< the client's or the group's ports are there and cannot be read
};

/// Without blanks and line ends around it: a header may go on in the next line.
Bytes trimmed(Bytes text) noexcept;

/// Takes the next of a list of transports. Commas between quotes divide nothing (`mode="A,B"`).
Bytes take_transport(Cursor& list) noexcept;

/// Its parameters may come in any order, the profile among them.
Transport read_transport(Bytes spec) noexcept;

}  // namespace postern::rtsp
