// SPDX-License-Identifier: BSD-3-Clause
#include "stages/reject.h"

#include <algorithm>
#include <cstring>

#include <rte_ip.h>
#include <rte_mbuf.h>

namespace postern {
namespace {

constexpr std::uint8_t kHopLimit = 64;

void put16(std::uint8_t* p, unsigned v) noexcept {
    p[0] = static_cast<std::uint8_t>(v >> 8);
    p[1] = static_cast<std::uint8_t>(v);
}
void put32(std::uint8_t* p, std::uint32_t v) noexcept {
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

void swap_macs(std::uint8_t* frame) noexcept {
    std::swap_ranges(frame, frame + 6, frame + 6);
}

/// An IP header at `ip` that goes from `src` to `dst` with `payload` bytes after it.
unsigned write_ip(std::uint8_t* ip, Family family, const IpAddr& src, const IpAddr& dst,
                  std::uint8_t protocol, unsigned payload) noexcept {
    if (family == Family::ipv4) {
        std::memset(ip, 0, 20);
        ip[0] = 0x45;
        put16(ip + 2, 20 + payload);
        put16(ip + 6, 0x4000);  // do not fragment
        ip[8] = kHopLimit;
        ip[9] = protocol;
        std::memcpy(ip + 12, src.bytes.data(), 4);
        std::memcpy(ip + 16, dst.bytes.data(), 4);
        const std::uint16_t sum = rte_ipv4_cksum(reinterpret_cast<const rte_ipv4_hdr*>(ip));
        std::memcpy(ip + 10, &sum, 2);
        return 20;
    }
    std::memset(ip, 0, 40);
    ip[0] = 0x60;
    put16(ip + 4, payload);
    ip[6] = protocol;
    ip[7] = kHopLimit;
    std::memcpy(ip + 8, src.bytes.data(), 16);
    std::memcpy(ip + 24, dst.bytes.data(), 16);
    return 40;
}

std::uint16_t l4_checksum(const std::uint8_t* ip, Family family, const std::uint8_t* l4) noexcept {
    return family == Family::ipv4
               ? rte_ipv4_udptcp_cksum(reinterpret_cast<const rte_ipv4_hdr*>(ip), l4)
               : rte_ipv6_udptcp_cksum(reinterpret_cast<const rte_ipv6_hdr*>(ip), l4);
}

bool answer_with_reset(rte_mbuf* m, std::uint8_t* frame, const PacketInfo& info,
                       const Tuple& t) noexcept {
    if (info.tcp_flags & tcp_flag::rst) return false;
    const std::uint8_t* tcp = frame + info.l4_off;
    std::uint32_t seq, ack;
    std::memcpy(&seq, tcp + 4, 4);
    std::memcpy(&ack, tcp + 8, 4);
    const bool had_ack = info.tcp_flags & tcp_flag::ack;
    const std::uint32_t end = __builtin_bswap32(seq) + info.pay_len +
                              ((info.tcp_flags & tcp_flag::syn) ? 1 : 0) +
                              ((info.tcp_flags & tcp_flag::fin) ? 1 : 0);
    std::uint8_t* ip = frame + info.l3_off;
    const unsigned header = info.family == Family::ipv4 ? 20 : 40;
    const unsigned total = info.l3_off + header + 20u;
    if (rte_pktmbuf_pkt_len(m) < total) return false;
    write_ip(ip, info.family, t.dst, t.src, proto::tcp, 20);
    std::uint8_t* out = ip + header;
    std::memset(out, 0, 20);
    const std::uint16_t sport = t.dport.raw(), dport = t.sport.raw();
    std::memcpy(out, &sport, 2);
    std::memcpy(out + 2, &dport, 2);
    if (had_ack)
        std::memcpy(out + 4, &ack, 4);
    else
        put32(out + 8, end);
    out[12] = 5 << 4;
    out[13] = had_ack ? tcp_flag::rst : tcp_flag::rst | tcp_flag::ack;
    const std::uint16_t sum = l4_checksum(ip, info.family, out);
    std::memcpy(out + 16, &sum, 2);
    return rte_pktmbuf_trim(m, static_cast<std::uint16_t>(rte_pktmbuf_pkt_len(m) - total)) == 0;
}

bool answer_with_icmp(rte_mbuf* m, std::uint8_t*& frame, const PacketInfo& info,
                      const Tuple& t) noexcept {
    const bool v4 = info.family == Family::ipv4;
    const unsigned ip_header = v4 ? 20 : 40, l2 = info.l3_off;
    // Of the packet complained about, as much as is here.
    const unsigned whole = std::min(info.l4_off + info.l4_len + 0u, rte_pktmbuf_pkt_len(m)) - l2;
    // RFC 792 wants the header and 8 bytes; RFC 4443 as much as fits the minimum MTU.
    const unsigned head = v4 ? std::min(whole, info.l4_off - l2 + 8u) : std::min(whole, 1232u);
    const unsigned added = ip_header + 8;
    if (rte_pktmbuf_pkt_len(m) < l2 + head) return false;
    if (rte_pktmbuf_trim(m, static_cast<std::uint16_t>(rte_pktmbuf_pkt_len(m) - l2 - head)) != 0)
        return false;
    char* grown = rte_pktmbuf_prepend(m, static_cast<std::uint16_t>(added));
    if (grown == nullptr) return false;
    frame = reinterpret_cast<std::uint8_t*>(grown);
    std::memmove(frame, frame + added, l2);
    std::uint8_t* ip = frame + l2;
    std::uint8_t* icmp = ip + ip_header;
    write_ip(ip, info.family, t.dst, t.src, v4 ? proto::icmp : proto::icmpv6, 8 + head);
    std::memset(icmp, 0, 8);
    icmp[0] = v4 ? 3 : 1;
    icmp[1] = v4 ? 13 : 1;
    std::uint16_t sum;
    if (v4)
        sum = static_cast<std::uint16_t>(~rte_raw_cksum(icmp, 8 + head));
    else
        sum = l4_checksum(ip, info.family, icmp);
    std::memcpy(icmp + 2, &sum, 2);
    return true;
}

bool is_multicast(const IpAddr& a) noexcept {
    return a.family == Family::ipv4 ? a.bytes[0] >= 224 : a.bytes[0] == 0xff;
}

}  // namespace

bool reject(Worker& worker, Batch& b, unsigned i) noexcept {
    PacketInfo& info = b.info[i];
    rte_mbuf* m = b.pkt[i];
    if ((b.data[i][0] & 1) != 0) return false;
    const Tuple t = tuple_of(b.data[i], info);
    if (is_multicast(t.dst) || is_multicast(t.src)) return false;
    if (worker.reassembly().is_chain(m)) {
        const unsigned rest = worker.reassembly().frames_of(m) - 1;
        worker.reassembly().keep_first(m);
        worker.counters().drops[static_cast<unsigned>(DropReason::reject)].add(rest);
        worker.counters().dropped.add(rest);
    }
    if (m->nb_segs != 1) return false;
    if (info.kind == L4Kind::tcp ? !answer_with_reset(m, b.data[i], info, t)
                                 : !answer_with_icmp(m, b.data[i], info, t))
        return false;
    swap_macs(b.data[i]);
    info.out_port = info.in_port;
    info.why = DropReason::reject;
    worker.counters().rejected.add();
    worker.counters().drops[static_cast<unsigned>(DropReason::reject)].add();
    b.accept(i);
    b[MaskId::answer] |= bit(i);
    return true;
}

}  // namespace postern
