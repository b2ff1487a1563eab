// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/checksum.h"

#include <algorithm>
#include <cstring>

#include <rte_ip.h>

#include "net/bytes.h"
#include "net/ipv6.h"
#include "pipeline/crc32c.h"

namespace postern {
namespace {

/// One's complement sum of `bytes` at `offset` of the packet; false if they are not there. Not
/// rte_raw_cksum_mbuf(), which loses the carries of a buffer that begins at an odd byte (DPDK
/// 22.11).
bool sum_of(const rte_mbuf* m, unsigned offset, unsigned bytes, std::uint16_t& sum) noexcept {
    std::uint32_t total = 0;
    unsigned done = 0;
    for (const rte_mbuf* s = m; s != nullptr && done < bytes; s = s->next) {
        if (offset >= s->data_len) {
            offset -= s->data_len;
            continue;
        }
        const unsigned here = std::min<unsigned>(s->data_len - offset, bytes - done);
        const std::uint16_t part =
            rte_raw_cksum(rte_pktmbuf_mtod(s, const std::uint8_t*) + offset, here);
        total += (done & 1) != 0 ? __builtin_bswap16(part) : part;
        done += here;
        offset = 0;
    }
    while (total >> 16 != 0)
        total = (total & 0xffff) + (total >> 16);
    sum = static_cast<std::uint16_t>(total);
    return done == bytes;
}

std::uint16_t fold(std::uint32_t total) noexcept {
    while (total >> 16 != 0)
        total = (total & 0xffff) + (total >> 16);
    return static_cast<std::uint16_t>(total);
}

/// UDP's own bytes: surplus bytes may follow (RFC 9868), which its sum does not include.
std::uint16_t udp_bytes(const PacketInfo& info, const std::uint8_t* data) noexcept {
    const std::uint8_t* l4 = data + info.l4_off;
    return wire::be16(l4 + 4);
}

/// One's complement sum of the pseudo-header (RFC 793 section 3.1, RFC 8200 section 8.1).
std::uint32_t pseudo_sum(const PacketInfo& info, const std::uint8_t* data,
                         std::uint8_t protocol) noexcept {
    const std::uint8_t* ip = data + info.l3_off;
    const std::uint16_t bytes = protocol == proto::udp ? udp_bytes(info, data) : info.l4_len;
    const std::uint32_t rest = std::uint32_t{rte_cpu_to_be_16(bytes)} + rte_cpu_to_be_16(protocol);
    if (info.family == Family::ipv4) return rest + rte_raw_cksum(ip + 12, 8);
    const unsigned headers = info.l4_off - info.l3_off + 0u;
    return rest + rte_raw_cksum(ipv6_first_source(ip, headers), 16) +
           rte_raw_cksum(ipv6_last_destination(ip, headers), 16);
}

/// Whether these bytes, including their checksum, and the pseudo-header sum up to zero (RFC 1071).
bool sums_up(const rte_mbuf* m, const PacketInfo& info, const std::uint8_t* data,
             std::uint8_t protocol, bool pseudo_header, unsigned covered) noexcept {
    std::uint16_t sum;
    if (!sum_of(m, info.l4_off, covered, sum)) return false;
    const std::uint32_t pseudo = pseudo_header ? pseudo_sum(info, data, protocol) : 0;
    return fold(pseudo + sum) == 0xffff;
}

/// RFC 9260 section 6.8 and appendix A: CRC32c of the packet with zeros in the checksum field,
/// stored in little-endian order.
bool crc_right(const rte_mbuf* m, const PacketInfo& info) noexcept {
    constexpr unsigned kAt = 8, kSize = 4;
    std::uint32_t crc = 0xffffffff, stored = 0;
    unsigned at = 0, skip = info.l4_off;
    unsigned left = info.l4_len;
    for (const rte_mbuf* s = m; s != nullptr && left != 0; s = s->next) {
        if (skip >= s->data_len) {
            skip -= s->data_len;
            continue;
        }
        const auto* p = rte_pktmbuf_mtod(s, const std::uint8_t*) + skip;
        const unsigned here = std::min<unsigned>(s->data_len - skip, left);
        skip = 0;
        for (unsigned i = 0; i < here;) {
            if (at >= kAt && at < kAt + kSize) {
                stored |= std::uint32_t{p[i]} << 8 * (at - kAt);
                crc = rte_hash_crc_1byte(0, crc);
                ++i, ++at;
                continue;
            }
            const unsigned n = at < kAt ? std::min(kAt - at, here - i) : here - i;
            crc = crc32c(p + i, n, crc);
            i += n;
            at += n;
        }
        left -= here;
    }
    return left == 0 && ~crc == stored;
}

bool transport_right(const rte_mbuf* m, const PacketInfo& info, const std::uint8_t* data) noexcept {
    const std::uint8_t* l4 = data + info.l4_off;
    const auto field = [l4](unsigned at) { return unsigned{wire::be16(l4 + at)}; };
    switch (info.protocol) {
        case proto::tcp: return sums_up(m, info, data, proto::tcp, true, info.l4_len);
        case proto::udp:  // RFC 768: 0 is none. By IPv6 too in tunnels (RFC 6936)
            return field(6) == 0 || sums_up(m, info, data, proto::udp, true, udp_bytes(info, data));
        case proto::udplite: {  // RFC 3828 section 3.1
            const unsigned covered = field(4) == 0 ? info.l4_len : field(4);
            return sums_up(m, info, data, proto::udplite, true, covered);
        }
        case proto::dccp: {  // RFC 4340 section 9.2
            const unsigned words = l4[5] & 0x0fu, header = l4[4] * 4u;
            const unsigned covered = words == 0 ? info.l4_len : header + (words - 1) * 4;
            return covered <= info.l4_len && sums_up(m, info, data, proto::dccp, true, covered);
        }
        case proto::sctp: return crc_right(m, info);
        case proto::icmp:
            return info.family != Family::ipv4 ||
                   sums_up(m, info, data, proto::icmp, false, info.l4_len);
        case proto::icmpv6:
            return info.family != Family::ipv6 ||
                   sums_up(m, info, data, proto::icmpv6, true, info.l4_len);
        default: return true;
    }
}

/// TCP and UDP: a host that leaves the rest to its device stores the pseudo-header's sum in the
/// field.
bool is_partial(const PacketInfo& info, const std::uint8_t* data) noexcept {
    if (info.protocol != proto::tcp && info.protocol != proto::udp) return false;
    std::uint16_t field;
    std::memcpy(&field, data + info.l4_off + (info.protocol == proto::tcp ? 16 : 6), sizeof field);
    return field == fold(pseudo_sum(info, data, info.protocol));
}

}  // namespace

Sums judge_sums(const rte_mbuf* m, const PacketInfo& info, bool whole) noexcept {
    const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
    // Reassembly itself writes the header of a reassembled datagram.
    if (!whole && info.family == Family::ipv4 && (m->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_GOOD) == 0 &&
        compute_checksums(m, info, true, false) != DropReason::none)
        return Sums::wrong;
    if (!whole && (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_GOOD) != 0) return Sums::right;
    if (transport_right(m, info, data)) return Sums::right;
    return is_partial(info, data) ? Sums::partial : Sums::wrong;
}

DropReason compute_checksums(const rte_mbuf* m, const PacketInfo& info, bool ip,
                             bool transport) noexcept {
    const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
    if (ip && info.family == Family::ipv4) {
        const std::uint8_t* header = data + info.l3_off;
        if (rte_raw_cksum(header, (header[0] & 0x0fu) * 4) != 0xffff)
            return DropReason::bad_ip_checksum;
    }
    if (transport && !info.fragment && !transport_right(m, info, data))
        return DropReason::bad_l4_checksum;
    return DropReason::none;
}

}  // namespace postern
