// SPDX-License-Identifier: BSD-3-Clause
// What a worker does once a turn whether packets come or not: ends what has been silent for too
// long, keeps masters alive whose children are active, ends children that a helper wants ended,
// and takes removed helpers away from their connections. All of it bounded by the budgets below.
//
// Other workers are told over rings: whose child was active, its master's worker; which child is to
// end, all of them, for nobody knows where it lives.
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "pipeline/worker.h"

namespace postern {
namespace {

// Objects whose time is over that one turn may end. At 200 cycles each this is 5 microseconds.
constexpr std::uint32_t kExpireBudget = 64;
constexpr std::uint32_t kSweepBudget = 256;  ///< helper slots a turn
constexpr unsigned kActivityBudget = 32;     ///< masters kept alive a turn
constexpr unsigned kEndingsBudget = 16;      ///< children ended a turn

// An id travels through a ring in place of a pointer.
static_assert(sizeof(void*) == 8);
void* as_pointer(ConnId id) noexcept {
    return reinterpret_cast<void*>(std::uint64_t{id.index} | std::uint64_t{id.generation} << 32 |
                                   std::uint64_t{id.worker} << 48);
}
ConnId as_id(void* p) noexcept {
    const auto v = reinterpret_cast<std::uint64_t>(p);
    return {static_cast<std::uint32_t>(v), static_cast<std::uint16_t>(v >> 32),
            static_cast<WorkerId>(v >> 48)};
}

}  // namespace

bool Worker::housekeeping(Tick now, std::uint64_t cookie) noexcept {
    batch_.now = now;
    batch_.cookie = cookie;
    telling_ = listened_.load(std::memory_order_relaxed) && events_.enabled();
    hear_of_children(now);
    end_children(now, cookie);
    drop_removed_helpers();
    const std::uint32_t conns = conns_->expire(
        now, kExpireBudget,
        [this](std::uint32_t slot) {
            counters_.connections_expired.add();
            end_connection(slot, ConnEnd::expired);
        },
        [this, now](std::uint32_t slot) {
            const Conn& child = conns_->at(slot);
            const auto silent_ms = static_cast<std::uint32_t>(now - child.last_seen());
            if (child.master && silent_ms <= conns_->visit_ms()) tell_master(child.master, now);
        });
    const std::uint32_t expectations = expect_->tick(expect_turn(), kExpireBudget);
    const unsigned datagrams = reassembly_->expire(now, kExpireBudget, counters_);
    return conns < kExpireBudget && expectations < kExpireBudget && datagrams < kExpireBudget;
}

void Worker::tell_master(ConnId master, Tick now) noexcept {
    if (master.worker == id_) return keep_master(master, now);
    rte_ring* ring = activity_[master.worker];
    // Lost ones do no harm: the next visit tells again, long before the master's time is over.
    if (ring == nullptr || rte_ring_mp_enqueue(ring, as_pointer(master)) != 0)
        counters_.masters_not_told.add();
}

void Worker::keep_master(ConnId master, Tick now) noexcept {
    Conn* conn = conns_->find(master);
    if (conn == nullptr) return;
    // One that is being closed keeps its short time.
    if (conn->protocol() == proto::tcp && conn->tcp_state() != TcpState::established) return;
    conn->last_seen_ms = now.ms;
    counters_.masters_kept.add();
}

void Worker::hear_of_children(Tick now) noexcept {
    rte_ring* ring = activity_[id_];
    if (ring == nullptr) return;
    void* ids[kActivityBudget];
    const unsigned n = rte_ring_sc_dequeue_burst(ring, ids, kActivityBudget, nullptr);
    for (unsigned i = 0; i < n; ++i)
        keep_master(as_id(ids[i]), now);
}

void Worker::tell_to_end(const Tuple& child, CtZone ct_zone) noexcept {
    EndChild message{child, ct_zone};
    // Over the ring to oneself, too: ending one may be what ending another asks for.
    for (unsigned w = 0; w < plan_->workers; ++w)
        if (rte_ring_mp_enqueue_elem(endings_[w], &message, sizeof message) != 0)
            counters_.children_not_ended.add();
}

void Worker::end_children(Tick now, std::uint64_t cookie) noexcept {
    batch_.now = now;
    batch_.cookie = cookie;
    EndChild messages[kEndingsBudget];
    const unsigned n = rte_ring_sc_dequeue_burst_elem(endings_[id_], messages, sizeof(EndChild),
                                                      kEndingsBudget, nullptr);
    for (unsigned i = 0; i < n; ++i) {
        const Tuple& tuple = messages[i].tuple;
        // Of GRE only calls are told apart by more than their addresses.
        const std::uint32_t slot = conns_->find(
            tuple, messages[i].ct_zone, tuple.protocol == proto::gre ? kGreCall : std::uint8_t{0});
        if (slot == 0) continue;
        counters_.children_ended.add();
        end_connection(slot, ConnEnd::parent);
    }
}

void Worker::drop_removed_helpers() noexcept {
    if (removed_helpers_ == nullptr) return;
    // Acquire pairs with control's release; nothing else is handed over with it.
    if (const auto now = removed_helpers_->load(std::memory_order_acquire); now != removed_) {
        removed_ = now;
        sweep_ = 1;
    }
    if (sweep_ == 0) return;
    for (std::uint32_t n = 0; n < kSweepBudget; ++n, ++sweep_) {
        if (sweep_ > helpers_->capacity()) {
            sweep_ = 0;
            helpers_gone_.store(removed_, std::memory_order_release);
            return;
        }
        const HelperConn* hc = helpers_->at(sweep_);
        if (hc->helper == kNoHelper || (removed_ >> hc->helper & 1) == 0) continue;
        detach_helper(hc->owner, ExpectEnd::helper_removed);
        counters_.helpers_detached.add();
    }
}

void Worker::detach_helper(std::uint32_t slot, ExpectEnd why) noexcept {
    Conn& conn = conns_->at(slot);
    release_helper(conn, why);
    conn.helper_slot = 0;
    conn.has_helper_slot = false;
    conn.helper = kNoHelper;
    conn.flags &= static_cast<std::uint8_t>(~conn_flag::helped);
    conns_->note_helper(slot, false);
}

}  // namespace postern
