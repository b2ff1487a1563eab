// SPDX-License-Identifier: BSD-3-Clause
#include "nic/nic_model.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <rte_bus_vdev.h>
#include <rte_dev.h>
#include <rte_eth_ring.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "nic/calls.h"

namespace postern::nic {
namespace {

constexpr unsigned kHeader = 14, kTag = 4, kEnds = 2 * kTag + kHeader + 4;

std::vector<Nic*>& all() {
    static std::vector<Nic*> nics;
    return nics;
}

[[noreturn]] void die(const std::string& what) {
    std::fprintf(stderr, "nic model: %s\n", what.c_str());
    std::abort();
}

unsigned be16(const Frame& f, std::size_t at) {
    return at + 1 < f.size() ? f[at] * 256u + f[at + 1] : 0;
}

/// What a card sees of a frame.
struct Seen {
    unsigned tags = 0;
    unsigned version = 0;  ///< of IP; 0: not IP
    bool fragment = false;
    unsigned protocol = 0;
    std::size_t addresses = 0, ports = 0;  ///< where they are
    std::size_t address_bytes = 0;
};

Seen see(const Frame& f) {
    Seen s;
    std::size_t at = 12;
    while (be16(f, at) == 0x8100 || be16(f, at) == 0x88a8) {
        at += kTag;
        ++s.tags;
    }
    const unsigned type = be16(f, at);
    at += 2;
    if (type == 0x0800 && f.size() >= at + 20) {
        s.version = 4;
        s.fragment = (be16(f, at + 6) & 0x3fff) != 0;
        s.protocol = f[at + 9];
        s.addresses = at + 12;
        s.address_bytes = 8;
        s.ports = at + (f[at] & 15u) * 4;
    } else if (type == 0x86dd && f.size() >= at + 40) {
        s.version = 6;
        s.protocol = f[at + 6];
        s.addresses = at + 8;
        s.address_bytes = 32;
        s.ports = at + 40;
        while ((s.protocol == 0 || s.protocol == 43 || s.protocol == 60 || s.protocol == 44) &&
               s.ports + 8 <= f.size()) {
            const bool of_fragment = s.protocol == 44;
            s.fragment |= of_fragment;
            s.protocol = f[s.ports];
            s.ports += of_fragment ? 8u : (f[s.ports + 1] + 1u) * 8;
        }
    }
    return s;
}

/// The hash type by which a card with these types hashes what it has seen; 0: none. `ports`:
/// whether that includes them.
std::uint64_t type_of(const Seen& s, std::uint64_t types, bool& ports) {
    const bool four = s.version == 4;
    ports = false;
    if (s.version == 0) return 0;
    const std::uint64_t plain = four ? RTE_ETH_RSS_IPV4 : RTE_ETH_RSS_IPV6;
    if (s.fragment) {
        const std::uint64_t fragment = four ? RTE_ETH_RSS_FRAG_IPV4 : RTE_ETH_RSS_FRAG_IPV6;
        return types & (fragment | plain);
    }
    std::uint64_t exact = four ? RTE_ETH_RSS_NONFRAG_IPV4_OTHER : RTE_ETH_RSS_NONFRAG_IPV6_OTHER;
    switch (s.protocol) {
        case 6: exact = four ? RTE_ETH_RSS_NONFRAG_IPV4_TCP : RTE_ETH_RSS_NONFRAG_IPV6_TCP; break;
        case 17: exact = four ? RTE_ETH_RSS_NONFRAG_IPV4_UDP : RTE_ETH_RSS_NONFRAG_IPV6_UDP; break;
        case 132:
            exact = four ? RTE_ETH_RSS_NONFRAG_IPV4_SCTP : RTE_ETH_RSS_NONFRAG_IPV6_SCTP;
            break;
        default: return types & (exact | plain);
    }
    ports = (types & exact) != 0;
    return ports ? exact : types & plain;
}

std::uint64_t flags_of(Finding ip, Finding transport, std::uint64_t offloads) {
    std::uint64_t flags = 0;
    if ((offloads & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0) {
        if (ip == Finding::good) flags |= RTE_MBUF_F_RX_IP_CKSUM_GOOD;
        if (ip == Finding::bad) flags |= RTE_MBUF_F_RX_IP_CKSUM_BAD;
        if (ip == Finding::none) flags |= RTE_MBUF_F_RX_IP_CKSUM_NONE;
    }
    if ((offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM) != 0) {
        if (transport == Finding::good) flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
        if (transport == Finding::bad) flags |= RTE_MBUF_F_RX_L4_CKSUM_BAD;
        if (transport == Finding::none) flags |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
    }
    return flags;
}

}  // namespace

std::uint32_t toeplitz(std::span<const std::uint8_t> key, std::span<const std::uint8_t> input) {
    const auto key_bit = [&](std::size_t n) -> std::uint32_t {
        return n / 8 < key.size() ? key[n / 8] >> (7 - n % 8) & 1u : 0u;
    };
    std::uint32_t result = 0;
    for (std::size_t bit = 0; bit < input.size() * 8; ++bit) {
        if ((input[bit / 8] >> (7 - bit % 8) & 1) == 0) continue;
        std::uint32_t window = 0;
        for (unsigned n = 0; n < 32; ++n)
            window = window << 1 | key_bit(bit + n);
        result ^= window;
    }
    return result;
}

Nic* Calls::of(std::uint16_t port) {
    for (Nic* nic : all())
        if (nic->port_ == port) return nic;
    return nullptr;
}
Nic* Calls::of(std::string_view address) {
    for (Nic* nic : all())
        if (nic->address_ == address) return nic;
    return nullptr;
}
Nic* Calls::of(const rte_device* device) {
    for (Nic* nic : all())
        if (nic->device_ == device) return nic;
    return nullptr;
}

Nic::Nic(std::string address, Abilities abilities)
    : can(std::move(abilities)), address_(std::move(address)) {
    if (Calls::of(address_) != nullptr) die("two cards in slot " + address_);
    all().push_back(this);
    make_port();
}

Nic::~Nic() {
    unmake_port();
    std::erase(all(), this);
}

void Nic::make_port() {
    static unsigned serial = 0;
    const std::string name = "nic" + std::to_string(serial++);
    const auto ring = [&](const char* what, unsigned n, unsigned size, unsigned flags) {
        const std::string its = name + what + std::to_string(n);
        rte_ring* const r = rte_ring_create(its.c_str(), size, SOCKET_ID_ANY, flags);
        if (r == nullptr) die("no ring");
        return r;
    };
    std::vector<rte_ring*> receive;
    for (unsigned q = 0; q < can.rx_queues; ++q) {
        receive.push_back(ring("r", q, can.descriptors, RING_F_EXACT_SZ));
        rx_.push_back({receive.back()});
    }
    for (unsigned q = 0; q < can.tx_queues; ++q)
        tx_.push_back(ring("t", q, can.descriptors, RING_F_EXACT_SZ));
    port_ = rte_eth_from_rings(name.c_str(), receive.data(), can.rx_queues, tx_.data(),
                               can.tx_queues, 0);
    if (port_ < 0) die("no ring port");
    vdev_ = "net_ring_" + name;
    rte_eth_dev_info info{};
    if (Calls::real_info(static_cast<std::uint16_t>(port_), &info) != 0) die("no information");
    device_ = info.device;
    key_.resize(can.key_bytes);
    for (std::size_t i = 0; i < key_.size(); ++i)
        key_[i] = static_cast<std::uint8_t>(41 * i + 17);
    table_.assign(can.table_entries != 0 ? can.table_entries : 128u, 0);
    types_ = 0;
    started_ = promiscuous_ = false;
    mtu_ = 1500;
    counters_ = {};
}

void Nic::unmake_port() {
    if (vdev_.empty()) return;
    if (port_ >= 0) {
        rte_eth_dev_stop(static_cast<std::uint16_t>(port_));
        rte_eth_dev_close(static_cast<std::uint16_t>(port_));
    }
    port_ = -1;
    rte_vdev_uninit(vdev_.c_str());
    vdev_.clear();
    device_ = nullptr;
    free_packets();
    for (const RxQueue& q : rx_)
        rte_ring_free(q.ring);
    for (rte_ring* r : tx_)
        rte_ring_free(r);
    rx_.clear();
    tx_.clear();
    removed_ = nullptr;
}

void Nic::free_packets() {
    const auto drop = [](rte_ring* ring) {
        void* m = nullptr;
        while (rte_ring_dequeue(ring, &m) == 0)
            rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
    };
    for (const RxQueue& q : rx_)
        drop(q.ring);
    for (rte_ring* r : tx_)
        drop(r);
}

bool Nic::strips() const {
    return can.strip == Abilities::Strip::always ||
           (conf_.rxmode.offloads & RTE_ETH_RX_OFFLOAD_VLAN_STRIP) != 0;
}

unsigned Nic::place(const Frame& frame) {
    last_hash_ = 0;
    const Seen seen = see(frame);
    bool ports = false;
    const bool hashed =
        types_ != 0 && type_of(seen, types_, ports) != 0 && (seen.tags == 0 || can.hashes_tagged);
    if (!hashed) return table_[0];
    const auto* const bytes = frame.data();
    Frame input(bytes + seen.addresses, bytes + seen.addresses + seen.address_bytes);
    if (ports) input.insert(input.end(), bytes + seen.ports, bytes + seen.ports + 4);
    last_hash_ = toeplitz(key_, input);
    return table_[last_hash_ % table_.size()];
}

rte_mbuf* Nic::buffers(const RxQueue& queue, const Frame& frame, std::uint32_t room) {
    rte_mbuf* first = nullptr;
    for (std::size_t at = 0; at < frame.size(); at += room) {
        rte_mbuf* const m = rte_pktmbuf_alloc(queue.pool);
        if (m == nullptr) {
            rte_pktmbuf_free(first);
            return nullptr;
        }
        const auto n = static_cast<std::uint16_t>(std::min<std::size_t>(room, frame.size() - at));
        std::memcpy(rte_pktmbuf_append(m, n), frame.data() + at, n);
        if (first == nullptr)
            first = m;
        else if (rte_pktmbuf_chain(first, m) != 0)
            die("a frame of too many buffers");
    }
    return first;
}

bool Nic::arrive(const Frame& frame, Findings findings) {
    if (!present_ || !started_ || !link_ || port_ < 0) return false;
    last_queue_ = place(frame);
    Frame kept = frame;
    std::uint16_t tci = 0;
    const bool strip = strips() && see(frame).tags != 0;
    if (strip) {
        tci = static_cast<std::uint16_t>(be16(frame, kHeader));
        kept.erase(kept.begin() + kHeader - 2, kept.begin() + kHeader - 2 + kTag);
    }
    RxQueue& queue = rx_[last_queue_];
    std::uint32_t room = rte_pktmbuf_data_room_size(queue.pool) - RTE_PKTMBUF_HEADROOM;
    room -= room % can.buffer_unit;
    if (can.piece != 0) room = std::min(room, can.piece);
    const bool may_chain = can.chains || (conf_.rxmode.offloads & RTE_ETH_RX_OFFLOAD_SCATTER) != 0;
    if (kept.size() > mtu_ + kEnds || (kept.size() > room && !may_chain)) {
        ++counters_.ierrors;
        return false;
    }
    if (rte_ring_count(queue.ring) >= queue.descriptors) {
        ++counters_.imissed;
        return false;
    }
    rte_mbuf* const m = buffers(queue, kept, room);
    if (m == nullptr) {
        ++counters_.rx_nombuf;
        return false;
    }
    chained_ += m->nb_segs > 1 ? 1 : 0;
    m->port = static_cast<std::uint16_t>(port_);
    m->ol_flags |= flags_of(findings.ip, findings.transport, conf_.rxmode.offloads);
    if (strip) {
        m->ol_flags |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
        m->vlan_tci = tci;
    }
    if (last_hash_ != 0 && can.reported != Abilities::Reported::none) {
        m->ol_flags |= RTE_MBUF_F_RX_RSS_HASH;
        m->hash.rss = can.reported == Abilities::Reported::right ? last_hash_ : ~last_hash_;
    }
    if (rte_ring_enqueue(queue.ring, m) != 0) die("a ring shorter than its descriptors");
    ++counters_.ipackets;
    counters_.ibytes += kept.size();
    return true;
}

std::vector<Sent> Nic::sent() {
    std::vector<Sent> out;
    if (!link_ && present_) return out;
    for (unsigned q = 0; q < tx_.size(); ++q) {
        void* p = nullptr;
        while (rte_ring_dequeue(tx_[q], &p) == 0) {
            auto* const m = static_cast<rte_mbuf*>(p);
            if (present_) {
                Sent s{{}, q, false};
                s.torn =
                    m->nb_segs > 1 && (conf_.txmode.offloads & RTE_ETH_TX_OFFLOAD_MULTI_SEGS) == 0;
                for (const rte_mbuf* part = m; part != nullptr;
                     part = s.torn ? nullptr : part->next) {
                    const auto* const data = rte_pktmbuf_mtod(part, const std::uint8_t*);
                    s.frame.insert(s.frame.end(), data, data + part->data_len);
                }
                ++counters_.opackets;
                counters_.obytes += s.frame.size();
                out.push_back(std::move(s));
            }
            rte_pktmbuf_free(m);
        }
    }
    return out;
}

void Nic::pull_out(Report report) {
    present_ = false;
    if (report == Report::by_bus)
        rte_dev_event_callback_process(rte_dev_name(device_), RTE_DEV_EVENT_REMOVE);
    else if (removed_ != nullptr && port_ >= 0)
        removed_(static_cast<std::uint16_t>(port_), RTE_ETH_EVENT_INTR_RMV, removed_for_, nullptr);
}

}  // namespace postern::nic
