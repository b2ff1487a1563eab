// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/peers.h"

#include <algorithm>
#include <atomic>
#include <string>

#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

namespace postern {
namespace {

constexpr unsigned kActiveTogether = 32;

// An id travels through a ring in place of a pointer.
static_assert(sizeof(void*) == 8);
void* as_pointer(ConnId id) noexcept {
    return reinterpret_cast<void*>(std::uint64_t{id.index} | std::uint64_t{id.generation} << 32 |
                                   std::uint64_t{id.worker.number()} << 48);
}
ConnId as_id(void* p) noexcept {
    const auto v = reinterpret_cast<std::uint64_t>(p);
    return {static_cast<std::uint32_t>(v), static_cast<std::uint16_t>(v >> 32),
            WorkerId::from(v >> 48)};
}

}  // namespace

void PeerRings::Free::operator()(rte_ring* ring) const noexcept {
    rte_ring_free(ring);
}

Result<std::unique_ptr<PeerRings>> PeerRings::create(unsigned workers, std::uint32_t packets,
                                                     std::uint32_t messages) {
    // DPDK's names are global to the process.
    static std::atomic<unsigned> serial{0};
    std::unique_ptr<PeerRings> all(new PeerRings);
    all->workers_ = workers;
    const Error no_memory{"no memory for the rings between workers"};
    for (unsigned w = 0; w < workers; ++w) {
        const std::string name = "home_" + std::to_string(serial.fetch_add(1));
        all->orders_[w].reset(rte_ring_create_elem(("orders_" + name).c_str(), sizeof(ChildOrder),
                                                   messages, SOCKET_ID_ANY, RING_F_SC_DEQ));
        if (!all->orders_[w]) return no_memory;
        if (workers == 1) break;
        all->packets_[w].reset(
            rte_ring_create(name.c_str(), packets, SOCKET_ID_ANY, RING_F_SC_DEQ));
        all->active_[w].reset(
            rte_ring_create(("activity_" + name).c_str(), messages, SOCKET_ID_ANY, RING_F_SC_DEQ));
        if (!all->packets_[w] || !all->active_[w]) return no_memory;
    }
    return all;
}

PeerRings::~PeerRings() {
    for (const Ring& ring : packets_) {
        void* packet;
        while (ring && rte_ring_dequeue(ring.get(), &packet) == 0)
            rte_pktmbuf_free(static_cast<rte_mbuf*>(packet));
    }
}

bool Peers::hand_off(rte_mbuf* packet, WorkerId home) noexcept {
    if (rte_ring_mp_enqueue(rings_.packets_[home.number()].get(), packet) != 0) return false;
    counters_.handed_off.add();
    return true;
}

unsigned Peers::take_handoff(rte_mbuf** out) noexcept {
    rte_ring* ring = rings_.packets_[self_.number()].get();
    if (ring == nullptr) return 0;
    const unsigned n =
        rte_ring_sc_dequeue_burst(ring, reinterpret_cast<void**>(out), kMaxBurst, nullptr);
    if (n != 0) counters_.taken_over.add(n);
    return n;
}

void Peers::notify_active(ConnId master) noexcept {
    rte_ring* ring = rings_.active_[master.worker.number()].get();
    // A lost message does no harm: the next visit repeats it, long before the master's timeout.
    if (ring == nullptr || rte_ring_mp_enqueue(ring, as_pointer(master)) != 0)
        counters_.masters_not_told.add();
}

Peers::Waiting Peers::waiting() const noexcept {
    const rte_ring* const ring = rings_.packets_[self_.number()].get();
    if (ring == nullptr) return {};
    return {rte_ring_count(ring), rte_ring_get_capacity(ring)};
}

bool Peers::is_quiet() const noexcept {
    const rte_ring* active = rings_.active_[self_.number()].get();
    return (active == nullptr || rte_ring_empty(active) != 0) &&
           rte_ring_empty(rings_.orders_[self_.number()].get()) != 0;
}

unsigned Peers::take_active(ConnId* out, unsigned max) noexcept {
    rte_ring* ring = rings_.active_[self_.number()].get();
    if (ring == nullptr) return 0;
    void* ids[kActiveTogether];
    const unsigned n =
        rte_ring_sc_dequeue_burst(ring, ids, std::min(max, kActiveTogether), nullptr);
    std::transform(ids, ids + n, out, as_id);
    return n;
}

void Peers::broadcast(ChildOrder order) noexcept {
    for (unsigned w = 0; w < rings_.workers_; ++w)
        if (rte_ring_mp_enqueue_elem(rings_.orders_[w].get(), &order, sizeof order) != 0)
            counters_.children_not_told.add();
}

bool Peers::has_room_for_orders(unsigned n) const noexcept {
    for (unsigned w = 0; w < rings_.workers_; ++w)
        if (rte_ring_free_count(rings_.orders_[w].get()) < n) return false;
    return true;
}

unsigned Peers::take_orders(ChildOrder* out, unsigned max) noexcept {
    return rte_ring_sc_dequeue_burst_elem(rings_.orders_[self_.number()].get(), out,
                                          sizeof(ChildOrder), max, nullptr);
}

}  // namespace postern
