// SPDX-License-Identifier: BSD-3-Clause
#include "sum_watch.h"

#include <rte_mbuf.h>

#include "net/bytes.h"
#include "pipeline/checksum.h"

namespace postern {
namespace {

using wire::be16;

/// Position of an untagged or tagged frame's IP header, and its ethertype.
unsigned behind_tags(const std::uint8_t* data, unsigned len, std::uint16_t& type) noexcept {
    unsigned at = 12;
    for (unsigned tags = 0; tags <= 2 && at + 2 <= len; ++tags) {
        type = be16(data + at);
        if (type != 0x8100 && type != 0x88a8) return at + 2;
        at += 4;
    }
    return 0;
}

/// The folded sum of the pseudo-header, as a host stores it in the checksum field.
std::uint16_t pseudo(const std::uint8_t* addresses, unsigned bytes, unsigned protocol,
                     unsigned length) noexcept {
    std::uint32_t sum = protocol + length;
    for (unsigned i = 0; i < bytes; i += 2)
        sum += be16(addresses + i);
    while (sum >> 16 != 0)
        sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

}  // namespace

void look_at_sums(const rte_mbuf* m, const HashSecret& secret, PortSet::Seen& seen) noexcept {
    const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
    const unsigned len = rte_pktmbuf_data_len(m), whole = rte_pktmbuf_pkt_len(m);
    std::uint16_t type = 0;
    const unsigned ip = behind_tags(data, len, type);
    if (ip == 0 || ip + 40 > len) return;  // shorter than any TCP packet, or UDP over IPv6
    unsigned l4 = 0, end = 0, protocol = 0, addresses = ip + 12, bytes = 8;
    if (type == 0x0800 && (data[ip] >> 4) == 4) {
        if ((be16(data + ip + 6) & 0x3fff) != 0) return;  // a fragment
        l4 = ip + (data[ip] & 0xfu) * 4;
        end = ip + be16(data + ip + 2);
        protocol = data[ip + 9];
    } else if (type == 0x86dd && (data[ip] >> 4) == 6) {
        l4 = ip + 40;
        end = l4 + be16(data + ip + 4);
        protocol = data[ip + 6];
        addresses = ip + 8;
        bytes = 32;
    } else {
        return;
    }
    if (end > whole) return seen.cut_frame.add();
    const unsigned field = l4 + (protocol == proto::tcp ? 16 : 6);
    if ((protocol != proto::tcp && protocol != proto::udp) || field + 2 > len || l4 > end) return;
    if (be16(data + field) != pseudo(data + addresses, bytes, protocol, end - l4)) return;
    // One right checksum in 65536 looks the same.
    PacketInfo info{};
    parse_packet(data, len, whole, {&secret, CtZone{}}, info);
    if (info.why == DropReason::none && judge_sums(m, info, false) == Sums::partial)
        seen.partial_checksum.add();
}

}  // namespace postern
