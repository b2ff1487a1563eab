// SPDX-License-Identifier: BSD-3-Clause
// Whether a packet's checksums are right: by what the NIC says of them, or computed. A NIC that
// says "wrong" is not believed: some call UDP over IPv6 without a checksum wrong (RFC 6936), UDP
// that ends before its IP packet does, or whatever extension headers have another pseudo-header
// than they know.
//
// Called by the parse stage for every packet of a port that checks, by the reassemble stage for a
// datagram that came in fragments, of which no NIC can know, and for what a helper is to read: it
// must not read what its receiver throws away. Pure but for reading the packet.
//
// Cost: nothing as long as the NIC finds no packet of the burst wrong; else a test of each one's
// flags. Computed: a pass over the packet's bytes.
#pragma once

#include <cstdint>

#include <rte_mbuf.h>

#include "base/drop_reason.h"
#include "net/packet.h"
#include "plan/port_plan.h"

namespace postern {

/// IPv4's header, TCP, UDP, UDP-Lite, DCCP, SCTP, ICMP and ICMPv6; what has no checksum is right.
/// `info`: of parse_packet(), which found the packet sound.
DropReason compute_checksums(const rte_mbuf* m, const PacketInfo& info, bool ip,
                             bool transport) noexcept;

/// The modes, a bit each, in which check_checksums() could find anything, of packets whose ol_flags
/// together are `flags`. BAD is a bit of its own in neither mask, but NONE has it, too: hence
/// "could".
constexpr unsigned modes_to_check(std::uint64_t flags) noexcept {
    constexpr std::uint64_t kBad = RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
    return 1u << static_cast<unsigned>(Checksums::full) |
           ((flags & kBad) != 0 ? 1u << static_cast<unsigned>(Checksums::nic) : 0u);
}

inline DropReason check_checksums(const rte_mbuf* m, const PacketInfo& info,
                                  Checksums mode) noexcept {
    if (mode == Checksums::off) return DropReason::none;
    const std::uint64_t ip = m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
    const std::uint64_t transport = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    // The two masks are two bits each; neither set means that the device does not know.
    const bool unknown = mode == Checksums::full;
    const bool look_at_ip = ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || (unknown && ip == 0);
    const bool look_at_transport =
        transport == RTE_MBUF_F_RX_L4_CKSUM_BAD || (unknown && transport == 0);
    if (!look_at_ip && !look_at_transport) return DropReason::none;
    return compute_checksums(m, info, look_at_ip, look_at_transport);
}

enum class Sums : std::uint8_t {
    right,
    partial,  ///< the transport's is that of the pseudo header: a host left the rest to its device
    wrong
};

/// Whether the device says of a packet with these ol_flags that its checksums are right, or that it
/// vouches for the bytes although they are not filled in. IPv6 has none of its own.
constexpr bool sums_vouched(std::uint64_t flags, Family family) noexcept {
    // Of either mask GOOD is one bit, which NONE has, too, and BAD has not.
    const std::uint64_t wanted =
        RTE_MBUF_F_RX_L4_CKSUM_GOOD | (family == Family::ipv4 ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0);
    return (flags & wanted) == wanted;
}

/// What the packet's receiver will find, for packets that are not vouched for: as the device says,
/// and computed where it says nothing. `whole`: it came in fragments, of whose transport the device
/// knows nothing.
Sums judge_sums(const rte_mbuf* m, const PacketInfo& info, bool whole) noexcept;

}  // namespace postern
