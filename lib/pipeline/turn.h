// SPDX-License-Identifier: BSD-3-Clause
// Turn: the order in which a worker does its work, for the daemon, replay, tests and benchmarks.
//
// What: a turn reads the values published by other threads. Then it takes the bursts of the ports,
// the packets handed over by other workers, and held packets whose helper process has answered.
// Each burst runs through the stages and out. Then come the timers and the requests of control. At
// its end the worker holds no pointer into shared memory. The template parameter `Io` is the source
// and sink of packets.
//
// Used by: one driver per worker, which calls run_turn() repeatedly. Tests that inspect a batch
// between two stages use the steps below it. Synchronisation: none of its own. Cost: that of the
// steps; all of it is inlined into its caller.
#pragma once

#include <concepts>

#include "pipeline/worker.h"

namespace postern {

/// Source and sink of one worker's packets. Only a turn calls these, in this order.
template <class Io>
concept TurnIo = requires(Io io, Worker& worker, rte_mbuf** pkts, unsigned n, PortId port) {
    /// Returns the next burst of this turn, of at most kMaxBurst packets; 0: there is none, and the
    /// next call belongs to the next turn.
    { io.receive(pkts) } -> std::convertible_to<unsigned>;
    /// The stages have processed worker.batch(); nothing of it is sent or freed yet.
    {io.decided(worker)};
    /// Takes packets that leave by `port`. Frees those that it cannot send, and reports them by
    /// worker.count_unsent().
    {io.send(port, pkts, n)};
    /// Sends packets that other workers left for queues of this one; returns how many.
    { io.send_for_others() } -> std::convertible_to<unsigned>;
    /// The worker holds no pointer into shared memory.
    {io.quiescent()};
};

/// Defaults for an Io.
struct TurnIoDefaults {
    void decided(Worker&) noexcept {}
    unsigned send_for_others() noexcept { return 0; }
    void quiescent() noexcept {}
};

/// Runs one burst through the stages and carries out their verdicts; accepted packets are in
/// worker.tx() then.
[[gnu::always_inline]] inline void run_burst(Worker& worker, rte_mbuf* const* pkts, unsigned n,
                                             Tick now, std::uint64_t cookie = 0,
                                             Arrival from = Arrival::port) noexcept {
    worker.begin(pkts, n, now, cookie, from);
    worker.run_stages();
    worker.finish();
}

/// Gives accepted packets to `io`.
template <class Io>
void send_accepted(Worker& worker, Io& io) {
    for (std::size_t p = 0; p < worker.tx().size(); ++p) {
        TxBuffer& tx = worker.tx()[p];
        if (tx.n == 0) continue;
        io.send(PortId::from(p), tx.pkt.data(), tx.n);
        tx.n = 0;
    }
}

/// Carries out the verdicts on the batch.
template <class Io>
void conclude(Worker& worker, Io& io) {
    io.decided(worker);
    worker.finish();
    send_accepted(worker, io);
}

struct TurnDone {
    unsigned packets = 0;      ///< packets processed
    bool timers_left = false;  ///< some due timers are left for the next turn
};

/// One turn. `cookie` as in Batch.
template <TurnIo Io>
TurnDone run_turn(Worker& worker, Io& io, Tick now, std::uint64_t cookie = 0) {
    TurnDone done;
    rte_mbuf* pkts[kMaxBurst];
    const auto work = [&](unsigned n, Arrival from) {
        if (worker.is_tapped()) [[unlikely]] {
            worker.run_tapped(pkts, n, now, cookie, from);
        } else {
            worker.begin(pkts, n, now, cookie, from);
            worker.run_stages();
        }
        conclude(worker, io);
        done.packets += n;
    };
    worker.begin_turn(now, cookie);
    while (const unsigned n = io.receive(pkts))
        work(n, Arrival::port);
    if (const unsigned n = worker.peers().take_handoff(pkts); n != 0) work(n, Arrival::worker);
    if (worker.resume()) {
        done.packets += worker.batch().n;
        conclude(worker, io);
    }
    done.packets += io.send_for_others();
    // Requests first: of those that control made by the plan before, most have been answered when
    // the sweep begins. For the others control keeps removed names (Firewall::NamesHold).
    worker.answer_requests();
    done.timers_left = !worker.housekeeping(now, cookie);
    io.quiescent();
    return done;
}

}  // namespace postern
