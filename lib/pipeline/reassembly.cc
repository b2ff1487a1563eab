// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/reassembly.h"

#include <bit>
#include <cstring>

#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include "net/bytes.h"
#include "net/ipv6.h"
#include "pipeline/worker.h"
#include "plan/edges.h"

namespace postern {
namespace {

// Datagrams that one fragment may displace. Those given up hold nothing, so one may not suffice.
constexpr unsigned kPushOut = 8;

using wire::be16;
using wire::put16;

/// Changes a 16-bit word of an IPv4 header and its checksum by the difference (RFC 1624): a wrong
/// checksum stays wrong.
void change16(std::uint8_t* ip, unsigned at, unsigned value) noexcept {
    std::uint32_t sum = static_cast<std::uint16_t>(~be16(ip + 10));
    sum += static_cast<std::uint16_t>(~be16(ip + at)) + value;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + at, value);
    put16(ip + 10, static_cast<std::uint16_t>(~sum));
}

/// Minimum length of a transport header: a shorter first fragment hides it.
unsigned least_header(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case proto::tcp: return 20;
        case proto::sctp:
        case proto::dccp: return 12;
        case proto::udp:
        case proto::udplite:
        case proto::icmp:
        case proto::icmpv6: return 8;
        default: return 0;
    }
}

}  // namespace

Result<std::unique_ptr<Reassembly>> Reassembly::create(const Config& config) {
    std::unique_ptr<Reassembly> r(new Reassembly(config));
    const rte_mbuf_dynflag flag{"postern_fragment_begins", 0};
    const rte_mbuf_dynfield field{"postern_fragment_note", sizeof(std::uint16_t),
                                  alignof(std::uint16_t), 0};
    const int bit = rte_mbuf_dynflag_register(&flag);
    r->note_at_ = rte_mbuf_dynfield_register(&field);
    if (bit < 0 || r->note_at_ < 0)
        return Error{"no room left in DPDK's packet buffers for notes about fragments"};
    r->begins_ = std::uint64_t{1} << bit;
    return r;
}

Reassembly::Reassembly(const Config& config)
    : secret_(config.secret),
      edges_(config.edges),
      buckets_(std::bit_ceil(config.fragments), kNone),
      counts_(std::bit_ceil(config.fragments)),
      datagrams_(config.fragments + 1),
      pieces_(config.fragments + 1) {
    for (std::uint32_t i = config.fragments; i != 0; --i) {
        datagrams_[i].chain = free_datagram_;
        free_datagram_ = i;
        pieces_[i].next = free_piece_;
        free_piece_ = i;
    }
}

Reassembly::~Reassembly() {
    for (std::uint32_t d = oldest_; d != kNone; d = datagrams_[d].newer)
        for (std::uint32_t p = datagrams_[d].first; p != kNone; p = pieces_[p].next)
            rte_pktmbuf_free(pieces_[p].m);
}

std::uint16_t& Reassembly::note(rte_mbuf* m) const noexcept {
    return *RTE_MBUF_DYNFIELD(m, note_at_, std::uint16_t*);
}

Reassembly::Place Reassembly::read(const std::uint8_t* frame, const PacketInfo& info,
                                   Key& key) const noexcept {
    const std::uint8_t* ip = frame + info.l3_off;
    key.vlan = vlan_id(info.vlan);
    key.family = static_cast<std::uint8_t>(info.family);
    key.from_side = edges_->side_of(info.zones.from);
    key.to_side = edges_->side_of(info.zones.to);
    key.l3_off = info.l3_off;
    key.ct_zone = info.key.ct_zone;
    Place place{};
    if (info.family == Family::ipv4) {
        const unsigned word = be16(ip + 6);
        std::memcpy(key.src.data(), ip + 12, 4);
        std::memcpy(key.dst.data(), ip + 16, 4);
        key.id = be16(ip + 4);
        key.protocol = info.protocol;
        place.offset = (word & 0x1fff) * 8;
        place.more = (word & 0x2000) != 0;
        place.bytes = info.l4_len;
        place.skip = info.l4_off;
        place.fixed = place.skip - info.l3_off;
        return place;
    }
    std::memcpy(key.src.data(), ip + 8, 16);
    std::memcpy(key.dst.data(), ip + 24, 16);
    // parse_packet() has checked the chain of headers; l4_off is the end of it.
    unsigned at = 40;
    for (std::uint8_t next = ip[6]; next != ipv6_next::fragment;) {
        const unsigned size = ipv6_extension_bytes(next, ip + at);
        next = ip[at];
        at += size;
    }
    const unsigned word = be16(ip + at + 2);
    std::memcpy(&key.id, ip + at + 4, 4);
    place.offset = word & 0xfff8;
    place.more = (word & 1) != 0;
    place.v6_header = static_cast<std::uint16_t>(info.l3_off + at);
    place.skip = place.v6_header + 8u;
    place.bytes = info.l4_off + info.l4_len - place.skip;
    place.fixed = at + 8 - 40;
    return place;
}

std::uint32_t& Reassembly::bucket_of(const Key& key) noexcept {
    return buckets_[keyed_hash<sizeof(Key)>(&key, *secret_) & (buckets_.size() - 1)];
}

std::uint32_t& Reassembly::count_of_ends(const Key& key) noexcept {
    Key ends = key;
    ends.id = 0;
    ends.protocol = 0;
    return counts_[keyed_hash<sizeof(Key)>(&ends, *secret_) & (counts_.size() - 1)];
}

bool Reassembly::is_outdated(std::uint32_t d, std::uint32_t count, const Place& place,
                             Tick now) const noexcept {
    const Datagram& g = datagrams_[d];
    const std::uint32_t distance = count - g.distance;
    if (distance <= kNearDistance) return false;
    if (distance > kFarDistance || g.given_up != DropReason::none ||
        static_cast<std::uint32_t>(now - g.last) > kStaleMs)
        return true;
    const std::uint32_t end = place.offset + place.bytes;
    if (g.end != 0 && (place.more ? end >= g.end : true)) return true;
    for (std::uint32_t p = g.first; p != kNone; p = pieces_[p].next)
        if (pieces_[p].offset < end && place.offset < pieces_[p].offset + pieces_[p].bytes)
            return true;
    return false;
}

std::uint32_t Reassembly::find(const Key& key) noexcept {
    std::uint32_t d = bucket_of(key);
    while (d != kNone && !(datagrams_[d].key == key))
        d = datagrams_[d].chain;
    return d;
}

std::uint32_t Reassembly::begin_datagram(const Key& key, Tick now) noexcept {
    const std::uint32_t d = free_datagram_;
    Datagram& g = datagrams_[d];
    free_datagram_ = g.chain;
    std::uint32_t& bucket = bucket_of(key);
    g = Datagram{};
    g.key = key;
    g.chain = bucket;
    bucket = d;
    g.begun = now;
    g.older = newest_;
    (newest_ != kNone ? datagrams_[newest_].newer : oldest_) = d;
    newest_ = d;
    return d;
}

void Reassembly::remove(std::uint32_t d) noexcept {
    Datagram& g = datagrams_[d];
    std::uint32_t* link = &bucket_of(g.key);
    while (*link != d)
        link = &datagrams_[*link].chain;
    *link = g.chain;
    (g.older != kNone ? datagrams_[g.older].newer : oldest_) = g.newer;
    (g.newer != kNone ? datagrams_[g.newer].older : newest_) = g.older;
    g.chain = free_datagram_;
    free_datagram_ = d;
}

void Reassembly::drop_pieces(std::uint32_t d, DropReason why, WorkerCounters& counters) noexcept {
    Datagram& g = datagrams_[d];
    held_ -= g.pieces;
    while (g.first != kNone) {
        Piece& p = pieces_[g.first];
        counters.count_dropped(1, why, PortId::from(p.m->port));
        rte_pktmbuf_free(p.m);
        const std::uint32_t next = p.next;
        p.next = free_piece_;
        free_piece_ = g.first;
        g.first = next;
    }
    g.pieces = 0;
    g.bytes = 0;
}

/// Ensures room for one more fragment and datagram; never displaces `keep`.
bool Reassembly::make_room(std::uint32_t keep, WorkerCounters& counters) noexcept {
    for (unsigned n = 0; n < kPushOut; ++n) {
        if (free_piece_ != kNone && free_datagram_ != kNone) return true;
        const std::uint32_t victim = oldest_ != keep ? oldest_ : datagrams_[oldest_].newer;
        if (victim == kNone) return false;
        drop_pieces(victim, DropReason::fragment_full, counters);
        remove(victim);
    }
    return free_piece_ != kNone && free_datagram_ != kNone;
}

DropReason Reassembly::add(std::uint32_t d, rte_mbuf* m, const Place& place) noexcept {
    Datagram& g = datagrams_[d];
    const std::uint32_t end = place.offset + place.bytes;
    std::uint32_t before = kNone, after = g.first;
    while (after != kNone && pieces_[after].offset < place.offset) {
        before = after;
        after = pieces_[after].next;
    }
    if (after != kNone && pieces_[after].offset == place.offset &&
        pieces_[after].bytes == place.bytes && (end == g.end) == !place.more)
        return DropReason::fragment_duplicate;
    if ((before != kNone && pieces_[before].offset + pieces_[before].bytes > place.offset) ||
        (after != kNone && pieces_[after].offset < end))
        return DropReason::fragment_overlap;
    // There is one last fragment, and it ends the datagram.
    if (place.more ? g.end != 0 && end >= g.end : g.end != 0 || after != kNone)
        return DropReason::fragment_bad;
    if (g.pieces == kMaxFragments) return DropReason::fragment_too_many;

    const std::uint32_t p = free_piece_;
    free_piece_ = pieces_[p].next;
    pieces_[p] = {m, after, place.offset, static_cast<std::uint16_t>(place.bytes),
                  static_cast<std::uint16_t>(place.skip)};
    (before != kNone ? pieces_[before].next : g.first) = p;
    ++g.pieces;
    ++held_;
    g.bytes += place.bytes;
    if (!place.more) g.end = end;
    if (place.offset == 0) note(m) = place.v6_header;
    return DropReason::none;
}

rte_mbuf* Reassembly::assemble(std::uint32_t d) noexcept {
    Datagram& g = datagrams_[d];
    rte_mbuf* head = pieces_[g.first].m;
    rte_mbuf* last = nullptr;
    while (g.first != kNone) {
        Piece& p = pieces_[g.first];
        p.m->ol_flags |= begins_;
        if (last != nullptr) {
            note(p.m) = p.skip;
            rte_pktmbuf_adj(p.m, p.skip);
            last->next = p.m;
            head->nb_segs = static_cast<std::uint16_t>(head->nb_segs + p.m->nb_segs);
            head->pkt_len += p.m->pkt_len;
        }
        last = rte_pktmbuf_lastseg(p.m);
        const std::uint32_t next = p.next;
        p.next = free_piece_;
        free_piece_ = g.first;
        g.first = next;
    }
    held_ -= g.pieces;
    std::uint8_t* frame = rte_pktmbuf_mtod(head, std::uint8_t*);
    std::uint8_t* ip = frame + g.key.l3_off;
    const unsigned total = head->pkt_len - g.key.l3_off;
    if (g.key.family == static_cast<std::uint8_t>(Family::ipv4)) {
        change16(ip, 2, total);
        change16(ip, 6, be16(ip + 6) & ~0x2000u);
    } else {
        put16(ip + 4, total - 40);
        std::uint8_t* word = frame + note(head) + 2;
        put16(word, be16(word) & 6u);  // as an atomic fragment, RFC 6946
    }
    remove(d);
    return head;
}

Reassembly::Taken Reassembly::take(rte_mbuf* m, const PacketInfo& info, Tick now,
                                   WorkerCounters& counters) noexcept {
    Key key;
    const Place place = read(rte_pktmbuf_mtod(m, const std::uint8_t*), info, key);
    std::uint32_t d = find(key);
    // IPv6's identification has 32 bits.
    std::uint32_t count = 0;
    if (info.family == Family::ipv4) {
        count = ++count_of_ends(key);
        if (d != kNone && is_outdated(d, count, place, now)) [[unlikely]] {
            drop_pieces(d, DropReason::fragment_timeout, counters);
            remove(d);
            d = kNone;
        }
    }
    if (d != kNone && datagrams_[d].given_up != DropReason::none)
        return {nullptr, datagrams_[d].given_up};

    DropReason why = DropReason::none;
    const std::uint32_t padding = rte_pktmbuf_pkt_len(m) - place.skip - place.bytes;
    if (place.bytes == 0 || (place.more && place.bytes % 8 != 0) ||
        place.fixed + place.offset + place.bytes > 65535)
        why = DropReason::fragment_bad;
    else if (place.offset == 0 ? info.l4_len < least_header(info.protocol)
                               : place.offset < least_header(info.protocol))
        why = DropReason::fragment_tiny;
    else if (padding != 0 &&
             (padding > 65535 || rte_pktmbuf_trim(m, static_cast<std::uint16_t>(padding)) != 0))
        why = DropReason::fragment_bad;
    else if (!make_room(d, counters))
        return {nullptr, DropReason::fragment_full};

    if (d == kNone) {
        if (free_datagram_ == kNone && !make_room(kNone, counters)) return {nullptr, why};
        d = begin_datagram(key, now);
    }
    datagrams_[d].last = now;
    datagrams_[d].distance = count;
    if (why == DropReason::none) why = add(d, m, place);
    if (why == DropReason::fragment_duplicate) return {nullptr, why};
    Datagram& g = datagrams_[d];
    if (why == DropReason::none && g.bytes == g.end) {
        // Each fragment's length was checked with its own header; the first one's may be longer.
        const Piece& first = pieces_[g.first];
        if (first.skip - g.key.l3_off - (info.family == Family::ipv4 ? 0u : 40u) + g.end > 65535) {
            drop_pieces(d, DropReason::fragment_bad, counters);
            g.given_up = DropReason::fragment_bad;
        } else {
            counters.reassembled.add();
            rte_mbuf* whole = assemble(d);
            counters.fragments_held.set(held_);
            return {whole, DropReason::none};
        }
    } else if (why != DropReason::none) {
        drop_pieces(d, why, counters);
        g.given_up = why;
    }
    counters.fragments_held.set(held_);
    return {nullptr, why};
}

unsigned Reassembly::expire(Tick now, unsigned budget, WorkerCounters& counters) noexcept {
    unsigned n = 0;
    while (oldest_ != kNone && n < budget &&
           static_cast<std::uint32_t>(now - datagrams_[oldest_].begun) >= kTimeoutMs) {
        drop_pieces(oldest_, DropReason::fragment_timeout, counters);
        remove(oldest_);
        ++n;
    }
    if (n != 0) counters.fragments_held.set(held_);
    return n;
}

void Reassembly::clear(WorkerCounters& counters) noexcept {
    while (oldest_ != kNone) {
        drop_pieces(oldest_, DropReason::fragment_timeout, counters);
        remove(oldest_);
    }
    counters.fragments_held.set(0);
}

bool Reassembly::is_chain(const rte_mbuf* m) const noexcept {
    return is_chain(m->ol_flags);
}

unsigned Reassembly::frames_of(const rte_mbuf* m) const noexcept {
    if (!is_chain(m)) return 1;
    unsigned n = 0;
    for (; m != nullptr; m = m->next)
        n += is_chain(m) ? 1 : 0;
    return n;
}

unsigned Reassembly::take_apart(rte_mbuf* m, const PacketInfo& info,
                                rte_mbuf** out) const noexcept {
    std::uint8_t* frame = rte_pktmbuf_mtod(m, std::uint8_t*);
    unsigned n = 0;
    rte_mbuf* head = nullptr;
    rte_mbuf* last = nullptr;
    for (rte_mbuf* s = m; s != nullptr;) {
        rte_mbuf* next = s->next;
        if (is_chain(s)) {
            if (last != nullptr) last->next = nullptr;
            s->ol_flags &= ~begins_;
            if (s != m) {
                const std::uint16_t skipped = note(s);
                s->data_off = static_cast<std::uint16_t>(s->data_off - skipped);
                s->data_len = static_cast<std::uint16_t>(s->data_len + skipped);
            }
            head = s;
            head->pkt_len = 0;
            head->nb_segs = 0;
            out[n++] = head;
        }
        head->pkt_len += s->data_len;
        ++head->nb_segs;
        last = s;
        s = next;
    }
    std::uint8_t* ip = frame + info.l3_off;
    const unsigned total = m->pkt_len - info.l3_off;
    if (info.family == Family::ipv4) {
        change16(ip, 6, be16(ip + 6) | 0x2000u);
        change16(ip, 2, total);
    } else {
        put16(ip + 4, total - 40);
        std::uint8_t* word = frame + note(m) + 2;
        put16(word, be16(word) | 1u);
    }
    return n;
}

void Reassembly::keep_first(rte_mbuf* m) const noexcept {
    rte_mbuf* last = m;
    while (last->next != nullptr && !is_chain(last->next))
        last = last->next;
    m->ol_flags &= ~begins_;
    rte_mbuf* rest = last->next;
    last->next = nullptr;
    unsigned segments = 0, bytes = 0;
    for (rte_mbuf* s = m; s != nullptr; s = s->next) {
        ++segments;
        bytes += s->data_len;
    }
    m->nb_segs = static_cast<std::uint16_t>(segments);
    m->pkt_len = bytes;
    // Segments that begin a fragment may still be marked as heads of a chain.
    while (rest != nullptr) {
        rte_mbuf* next = rest->next;
        rte_pktmbuf_free_seg(rest);
        rest = next;
    }
}

}  // namespace postern
