// SPDX-License-Identifier: BSD-3-Clause
#include "worker_loop.h"

#include <thread>

#include <rte_cycles.h>
#include <rte_rcu_qsbr.h>

namespace postern {
namespace {

// Turns without a packet, after `stop`, until the rings can be taken to be empty.
constexpr unsigned kDrainTurns = 64;

/// What the stages have decided about a batch.
void put_out(Worker& worker, PortSet& ports) noexcept {
    worker.finish();
    for (unsigned p = 0; p < ports.size(); ++p) {
        TxBuffer& tx = worker.tx()[p];
        if (tx.n == 0) continue;
        const unsigned freed =
            ports.send(static_cast<PortIndex>(p), worker.id(), tx.pkt.data(), tx.n);
        tx.n = 0;
        if (freed != 0) worker.count_unsent(freed);
    }
}

/// One burst through the stages and out.
void work(Worker& worker, PortSet& ports, rte_mbuf** pkts, unsigned n, Tick now) noexcept {
    worker.begin(pkts, n, now);
    worker.run_stages();
    put_out(worker, ports);
}

}  // namespace

TscClock::TscClock(std::uint64_t start_tsc)
    : cycles_per_ms_(rte_get_tsc_hz() / 1000), last_(start_tsc) {}

Tick TscClock::now() noexcept {
    const std::uint64_t passed = rte_rdtsc() - last_;
    if (passed >= cycles_per_ms_) {
        const std::uint64_t ms = passed / cycles_per_ms_;
        ms_ += static_cast<std::uint32_t>(ms);
        last_ += ms * cycles_per_ms_;
    }
    return Tick{ms_};
}

void run_worker(Firewall& firewall, PortSet& ports, WorkerId id, const LoopConfig& config,
                const std::atomic<bool>& stop) {
    Worker& worker = firewall.worker(id);
    rte_rcu_qsbr* rcu = firewall.rcu();
    TscClock clock(config.start_tsc);
    rte_mbuf* pkts[kMaxBurst];
    std::uint32_t idle = 0;
    unsigned drained = 0;

    rte_rcu_qsbr_thread_online(rcu, id);
    while (drained < kDrainTurns) {
        const Tick now = clock.now();
        unsigned found = 0;
        if (!stop.load(std::memory_order_relaxed)) {
            for (unsigned p = 0; p < ports.size(); ++p) {
                const unsigned n = ports.receive(static_cast<PortIndex>(p), id, pkts, config.burst);
                if (n != 0) work(worker, ports, pkts, n, now);
                found += n;
            }
        } else {
            ++drained;
        }
        if (const unsigned n = worker.take_handoff(pkts); n != 0) {
            work(worker, ports, pkts, n, now);
            found += n;
        }
        if (worker.resume(now)) {
            put_out(worker, ports);
            ++found;
        }
        unsigned freed = 0;
        found += ports.send_for_others(id, freed);
        if (freed != 0) worker.count_unsent(freed);

        worker.housekeeping(now);
        worker.answer_mail();
        rte_rcu_qsbr_quiescent(rcu, id);

        if (found != 0) {
            idle = 0;
        } else if (++idle > config.idle_spins && config.sleep_us != 0) {
            // Nobody must wait for a grace period because we sleep.
            rte_rcu_qsbr_thread_offline(rcu, id);
            worker.counters().sleeps.add();
            std::this_thread::sleep_for(std::chrono::microseconds(config.sleep_us));
            rte_rcu_qsbr_thread_online(rcu, id);
        }
    }
    worker.let_go();
    rte_rcu_qsbr_thread_offline(rcu, id);
}

}  // namespace postern
