// SPDX-License-Identifier: BSD-3-Clause
// Answer: what is sent back in place of a packet that does not pass: a TCP
// reset, or an ICMP error that quotes it.
//
// Who: whatever answers packets, now the reject stage; on workers. Bytes in,
// bytes out: buffers are the caller's. The answer goes between the packet's own
// addresses, the other way round, with a hop limit of 64 and finished
// checksums. Nothing here knows limits: the caller counts answers.
#pragma once

#include <cstdint>

#include "net/packet.h"

namespace postern {

/// Whether it can be the address of one host that is reached by the network. A broadcast address of
/// a prefix cannot be told.
bool is_host(const IpAddr& address) noexcept;

/// Whether this kind of packet may be answered at all: no reset, no ICMP error, no frame to or from
/// a group (RFC 1122 section 3.2.2, RFC 4443 section 2.4). `frame` begins with both MAC addresses.
bool is_answerable(const PacketInfo& info, const std::uint8_t* frame) noexcept;

/// Turns a frame's MAC addresses round.
void swap_macs(std::uint8_t* frame) noexcept;

/// Bytes of the frame with a reset in answer to this TCP packet: its layer 2, bare headers.
unsigned reset_bytes(const PacketInfo& info) noexcept;
/// Writes the reset (RFC 9293 section 3.10.7.1) over the packet that it answers. The frame has
/// reset_bytes() at least, and the packet's TCP header is all there. `t` is the packet's.
void write_reset(std::uint8_t* frame, const PacketInfo& info, const Tuple& t) noexcept;

struct IcmpError {
    std::uint8_t type;
    std::uint8_t code;
};
/// Type 3 code 13 (RFC 1812), type 1 code 1 (RFC 4443): administratively prohibited.
constexpr IcmpError admin_prohibited(Family family) noexcept {
    return family == Family::ipv4 ? IcmpError{3, 13} : IcmpError{1, 1};
}

/// How an ICMP error is laid out: layer 2, then `added` bytes of headers, then the first `quoted`
/// bytes of the IP packet.
struct IcmpLayout {
    unsigned added;
    unsigned quoted;
};
/// RFC 792 wants the header and 8 bytes of it quoted, RFC 4443 as much as fits the minimum MTU.
/// `frame_bytes`: of the packet complained about, as much as is there.
IcmpLayout icmp_layout(const PacketInfo& info, unsigned frame_bytes) noexcept;
/// Writes the headers of the error. `frame`: layer 2, which is `info.l3_off` bytes and written
/// already, room for `added`, and what is quoted. `info` and `t` are of the packet quoted.
void write_icmp_error(std::uint8_t* frame, const PacketInfo& info, const Tuple& t,
                      const IcmpLayout& layout, IcmpError error) noexcept;

}  // namespace postern
