// SPDX-License-Identifier: BSD-3-Clause
// Whether a packet's checksums are right: by what the NIC says of them, or computed.
//
// Called by the parse stage for every packet of a port that checks, and by the reassemble stage for
// a datagram that came in fragments, of which no NIC can know. Pure but for reading the packet.
//
// Cost: nothing as long as the NIC finds no packet of the burst wrong; else a test of each one's
// flags. Computed: a pass over the packet's bytes.
#pragma once

#include <cstdint>

#include <rte_mbuf.h>

#include "base/drop_reason.h"
#include "net/packet.h"

namespace postern {

enum class Checksums : std::uint8_t {
    off,
    nic,  ///< where the device says that one is wrong
    full  ///< and where it says nothing, compute it
};

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
    if (ip == RTE_MBUF_F_RX_IP_CKSUM_BAD) return DropReason::bad_ip_checksum;
    if (transport == RTE_MBUF_F_RX_L4_CKSUM_BAD) return DropReason::bad_l4_checksum;
    if (mode == Checksums::nic) return DropReason::none;
    // The two masks are two bits each; neither set means that the device does not know.
    if (ip != 0 && transport != 0) return DropReason::none;
    return compute_checksums(m, info, ip == 0, transport == 0);
}

}  // namespace postern
