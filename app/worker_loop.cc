// SPDX-License-Identifier: BSD-3-Clause
#include "worker_loop.h"

#include <thread>

#include <rte_cycles.h>
#include <rte_rcu_qsbr.h>

#include "pipeline/turn.h"
#include "sum_watch.h"

namespace postern {
namespace {

// Turns without a packet, after `stop`, until the rings count as empty.
constexpr unsigned kDrainTurns = 64;

/// One worker's queues of all ports.
class PortsIo : public TurnIoDefaults {
  public:
    PortsIo(Firewall& firewall, PortSet& ports, WorkerId id, unsigned burst, LoopStats& stats)
        : firewall_(firewall),
          worker_(firewall.worker(id)),
          ports_(ports),
          burst_(burst),
          stats_(stats) {}

    /// From now on nothing more is received.
    void close() noexcept { closed_ = true; }

    /// `tsc`: now.
    void begin_turn(std::uint64_t tsc) noexcept { began_ = tsc; }

    /// One burst of each port a turn. The call after a burst ends it: its packets have been sent.
    unsigned receive(rte_mbuf** pkts) noexcept {
        if (in_the_box_ != 0) {
            const std::uint64_t now = rte_rdtsc();
            stats_.latency(now - began_, in_the_box_);
            began_ = now;
            in_the_box_ = 0;
        }
        while (!closed_ && next_ < ports_.size()) {
            const auto port = PortId::from(next_++);
            const unsigned n = ports_.receive(port, worker_.id(), pkts, burst_);
            if (n == 0) continue;
            stats_.burst(n);
            in_the_box_ = n;
            if (ports_.from_kernel(port))
                look_at_sums(pkts[0], firewall_.steering().secret, ports_.seen(port, worker_.id()));
            return n;
        }
        next_ = 0;
        return 0;
    }
    void send(PortId port, rte_mbuf** pkts, unsigned n) noexcept {
        count(port, ports_.send(port, worker_.id(), pkts, n));
    }
    unsigned send_for_others() noexcept {
        unsigned found = 0;
        for (unsigned p = 0; p < ports_.size(); ++p) {
            PortSet::Unsent unsent;
            found += ports_.send_for_others(PortId::from(p), worker_.id(), unsent);
            count(PortId::from(p), unsent);
        }
        return found;
    }
    void quiescent() noexcept { rte_rcu_qsbr_quiescent(firewall_.rcu(), worker_.id().number()); }

  private:
    void count(PortId port, const PortSet::Unsent& unsent) noexcept {
        if (unsent.full != 0) worker_.count_unsent(port, unsent.full, DropReason::tx_full);
        if (unsent.down != 0) worker_.count_unsent(port, unsent.down, DropReason::link_down);
    }

    Firewall& firewall_;
    Worker& worker_;
    PortSet& ports_;
    unsigned burst_;
    LoopStats& stats_;
    unsigned next_ = 0;  ///< port, in this turn
    bool closed_ = false;
    std::uint64_t began_ = 0;  ///< TSC before the last burst was taken
    unsigned in_the_box_ = 0;  ///< packets of the last burst
};

}  // namespace

TscClock::TscClock(std::uint64_t start_tsc)
    : cycles_per_ms_(rte_get_tsc_hz() / 1000), last_(start_tsc), tsc_(start_tsc) {}

Tick TscClock::now() noexcept {
    tsc_ = rte_rdtsc();
    const std::uint64_t passed = tsc_ - last_;
    if (passed >= cycles_per_ms_) {
        const std::uint64_t ms = passed / cycles_per_ms_;
        ms_ += static_cast<std::uint32_t>(ms);
        last_ += ms * cycles_per_ms_;
    }
    return Tick{ms_};
}

void run_worker(Firewall& firewall, PortSet& ports, WorkerId id, const LoopConfig& config,
                LoopStats& stats, const std::atomic<bool>& stop) {
    Worker& worker = firewall.worker(id);
    rte_rcu_qsbr* rcu = firewall.rcu();
    TscClock clock(config.start_tsc);
    PortsIo io(firewall, ports, id, config.burst, stats);
    std::uint32_t idle = 0;
    unsigned drained = 0;
    unsigned packets = 0;  // of the last turn

    clock.now();
    rte_rcu_qsbr_thread_online(rcu, id.number());
    while (drained < kDrainTurns) {
        if (stop.load(std::memory_order_relaxed)) {
            io.close();
            ++drained;
        }
        // A turn lasts until the next one reads the clock.
        const std::uint64_t began = clock.tsc();
        const Tick now = clock.now();
        stats.turn(clock.tsc() - began, packets);
        io.begin_turn(clock.tsc());
        packets = run_turn(worker, io, now).packets;
        if (packets != 0) {
            idle = 0;
        } else if (++idle > config.idle_spins && config.sleep_us != 0) {
            // A sleeping worker must not delay grace periods.
            rte_rcu_qsbr_thread_offline(rcu, id.number());
            worker.counters().sleeps.add();
            std::this_thread::sleep_for(std::chrono::microseconds(config.sleep_us));
            rte_rcu_qsbr_thread_online(rcu, id.number());
        }
    }
    worker.release_held();
    rte_rcu_qsbr_thread_offline(rcu, id.number());
}

}  // namespace postern
