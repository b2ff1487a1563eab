// SPDX-License-Identifier: BSD-3-Clause
// Verifies a packet's checksums, by the NIC's report or by computing them. A report of "wrong" is
// not trusted: some NICs report UDP over IPv6 without a checksum as wrong (RFC 6936), UDP that ends
// before its IP packet does, or packets with extension headers that change the pseudo-header.
//
// Used by the parse stage, for every packet of a port that verifies; by the reassemble stage, for a
// reassembled datagram, which no NIC verifies; and for packets that a helper reads, since it must
// not read what the receiver discards. Pure except for reading the packet.
//
// Cost: nothing while the NIC reports no packet of the burst as wrong; else a test of each one's
// flags. Computing is a pass over the packet's bytes.
#pragma once

#include <cstdint>

#include <rte_mbuf.h>

#include "base/drop_reason.h"
#include "net/packet.h"
#include "plan/port_plan.h"

namespace postern {

/// IPv4's header, TCP, UDP, UDP-Lite, DCCP, SCTP, ICMP and ICMPv6; a packet without a checksum is
/// right. `info`: from parse_packet(), which found the packet well-formed.
DropReason compute_checksums(const rte_mbuf* m, const PacketInfo& info, bool ip,
                             bool transport) noexcept;

/// The modes, a bit each, in which check_checksums() may find an error in packets whose combined
/// ol_flags are `flags`. "May": BAD is a bit of its own in either mask, but NONE includes it.
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
    // Each mask is two bits; neither set means that the device does not know.
    const bool unknown = mode == Checksums::full;
    const bool look_at_ip = ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || (unknown && ip == 0);
    const bool look_at_transport =
        transport == RTE_MBUF_F_RX_L4_CKSUM_BAD || (unknown && transport == 0);
    if (!look_at_ip && !look_at_transport) return DropReason::none;
    return compute_checksums(m, info, look_at_ip, look_at_transport);
}

enum class Sums : std::uint8_t {
    right,
    partial,  ///< the transport's is that of the pseudo-header: a host left the rest to its device
    wrong
};

/// Whether a packet's ol_flags report right checksums, or vouch for the bytes although the checksum
/// is not filled in. IPv6 has none of its own.
constexpr bool sums_vouched(std::uint64_t flags, Family family) noexcept {
    // In either mask GOOD is one bit, which NONE includes, too, and BAD does not.
    const std::uint64_t wanted =
        RTE_MBUF_F_RX_L4_CKSUM_GOOD | (family == Family::ipv4 ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0);
    return (flags & wanted) == wanted;
}

/// The result that the packet's receiver will find, for packets without a voucher: by the device's
/// report, or computed without one. `whole`: it was reassembled, so the device knows nothing about
/// its transport.
Sums judge_sums(const rte_mbuf* m, const PacketInfo& info, bool whole) noexcept;

}  // namespace postern
