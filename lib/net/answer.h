// SPDX-License-Identifier: BSD-3-Clause
// Answer: the packet sent in answer to a rejected one: a TCP reset, or an ICMP error that quotes
// it.
//
// Used by: code that answers packets, now the reject stage; on workers. Bytes in, bytes out:
// buffers are the caller's. The answer goes between the packet's own addresses, in reverse, with a
// hop limit of 64 and finished checksums. It contains no limits: the caller counts answers.
#pragma once

#include <cstdint>

#include "net/packet.h"

namespace postern {

/// Whether it can be the address of one host in the network. A broadcast address of a prefix cannot
/// be recognised.
bool is_host(const IpAddr& address) noexcept;

/// Whether this kind of packet may be answered: no reset, no ICMP error, no frame to or from a
/// group (RFC 1122 section 3.2.2, RFC 4443 section 2.4). `frame` begins with both MAC addresses.
bool is_answerable(const PacketInfo& info, const std::uint8_t* frame) noexcept;

/// Swaps a frame's MAC addresses.
void swap_macs(std::uint8_t* frame) noexcept;

/// Length of the frame with a reset in answer to this TCP packet: its layer 2, bare headers.
unsigned reset_bytes(const PacketInfo& info) noexcept;
/// Writes the reset (RFC 9293 section 3.10.7.1) over the packet that it answers. The frame has at
/// least reset_bytes(), and the packet's TCP header is complete. `t` is the packet's tuple.
void write_reset(std::uint8_t* frame, const PacketInfo& info, const Tuple& t) noexcept;

struct IcmpError {
    std::uint8_t type;
    std::uint8_t code;
};
/// Type 3 code 13 (RFC 1812), type 1 code 1 (RFC 4443): administratively prohibited.
constexpr IcmpError admin_prohibited(Family family) noexcept {
    return family == Family::ipv4 ? IcmpError{3, 13} : IcmpError{1, 1};
}

/// Layout of an ICMP error: layer 2, then `added` bytes of headers, then the first `quoted` bytes
/// of the IP packet.
struct IcmpLayout {
    unsigned added;
    unsigned quoted;
};
/// RFC 792 requires a quotation of the header and 8 bytes, RFC 4443 as much as fits the minimum
/// MTU. `frame_bytes`: bytes available of the quoted packet.
IcmpLayout icmp_layout(const PacketInfo& info, unsigned frame_bytes) noexcept;
/// Writes the headers of the error. `frame`: layer 2, which is `info.l3_off` bytes and already
/// written, room for `added`, and the quotation. `info` and `t` are of the quoted packet.
void write_icmp_error(std::uint8_t* frame, const PacketInfo& info, const Tuple& t,
                      const IcmpLayout& layout, IcmpError error) noexcept;

}  // namespace postern
