// SPDX-License-Identifier: BSD-3-Clause
// Peers: one worker's ends of the rings between workers.
//
// What: three rings lead to each worker: packets of its connections, ids of masters whose children
// were active, and orders about children. PeerRings owns all rings of a firewall.
// Used by: control creates PeerRings before the workers and frees it after them; a worker writes to
// the rings of others and alone reads its own. Synchronisation: rte_ring, many producers, one
// consumer. A message to a full ring is lost and counted. Cost: an enqueue is one compare-and-swap.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "base/result.h"
#include "base/types.h"
#include "metrics/metric.h"
#include "net/packet.h"

struct rte_mbuf;
struct rte_ring;

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_PEER_METRICS(X)                                                       \
    X(handed_off, counter, packets,                                                   \
      "packets handed over to their home worker; a reassembled datagram counts once") \
    X(taken_over, counter, packets, "packets received from another worker")           \
    X(masters_not_told, counter, events,                                              \
      "reports of a child's activity lost: the ring to its master's worker was full") \
    X(children_not_told, counter, events,                                             \
      "events of children lost: the ring to the worker was full")

struct PeerCounters {
    POSTERN_METRICS(POSTERN_PEER_METRICS)
};

/// An order of a worker's helper about a running child. It goes to all workers, since its owner is
/// not known. An element of a ring.
struct alignas(4) ChildOrder {
    Tuple tuple;
    CtZone ct_zone;
    bool adopt = false;  ///< `by` becomes its master. Else it ends, if `by` is its master
    EdgeId sides[2];     ///< of the master's two ends: a child between other zones is not its own
    ConnId by;
    bool all = false;  ///< all children of `by` end, whatever the tuple
};
static_assert(sizeof(ChildOrder) % 4 == 0 && std::is_trivially_copyable_v<ChildOrder>);

class PeerRings {
  public:
    /// `packets`, `messages`: capacity of a ring of each kind, plus one; powers of two. Fails for
    /// lack of memory.
    static Result<std::unique_ptr<PeerRings>> create(unsigned workers, std::uint32_t packets,
                                                     std::uint32_t messages);
    /// Frees the packets that are still in the rings. Call after all workers have ended.
    ~PeerRings();
    PeerRings(const PeerRings&) = delete;
    PeerRings& operator=(const PeerRings&) = delete;

  private:
    friend class Peers;
    struct Free {
        void operator()(rte_ring* ring) const noexcept;
    };
    using Ring = std::unique_ptr<rte_ring, Free>;
    using Rings = std::array<Ring, kMaxWorkers>;  ///< by the worker that reads

    PeerRings() = default;

    unsigned workers_ = 0;
    Rings packets_, active_;  ///< none with a single worker
    Rings orders_;
};

class Peers {
  public:
    /// `rings` and `counters` outlive it.
    Peers(const PeerRings& rings, WorkerId self, PeerCounters& counters) noexcept
        : rings_(rings), self_(self), counters_(counters) {}

    /// Hands a packet over to its home worker, another one. False: that worker's ring is full.
    bool hand_off(rte_mbuf* packet, WorkerId home) noexcept;
    /// Takes up to kMaxBurst packets that others handed over to this worker.
    unsigned take_handoff(rte_mbuf** out) noexcept;

    /// Packets that wait in this worker's ring, and the most that it takes. Any thread.
    struct Waiting {
        unsigned packets = 0, room = 0;
    };
    Waiting waiting() const noexcept;

    /// Whether nothing waits for take_active() and take_orders().
    bool is_quiet() const noexcept;
    /// Notifies another worker that a child of its connection was active.
    void notify_active(ConnId master) noexcept;
    /// Takes masters whose children were active, from other workers; at most `max`.
    unsigned take_active(ConnId* out, unsigned max) noexcept;

    /// Broadcasts to all workers, including this one: one order may cause another.
    void broadcast(ChildOrder order) noexcept;
    unsigned take_orders(ChildOrder* out, unsigned max) noexcept;
    /// Whether each worker's ring has room for so many more orders, if nobody else adds any.
    bool has_room_for_orders(unsigned n) const noexcept;

  private:
    const PeerRings& rings_;
    WorkerId self_;
    PeerCounters& counters_;
};

}  // namespace postern
