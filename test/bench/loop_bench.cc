// SPDX-License-Identifier: BSD-3-Clause
// What the statistics of a worker's loop cost (app/loop_stats.h: cycles of turns, sizes of bursts,
// latencies): whole turns with and without them, by turns, in cycles a packet. Bursts of 1, 8 and
// 32 packets of random established connections; packets come from memory.
//
//   loop_bench [--connections N] [--runs N] [--cpu N] [--no-huge]
//
// `ratio` is the median over the runs of with : without; both of a run have the same packets.
#include "loop_stats.h"
#include "start.h"

namespace postern::bench {
namespace {

/// As the daemon's loop calls its statistics (app/worker_loop.cc).
template <bool kStats>
class MemoryIo : public TurnIoDefaults {
  public:
    explicit MemoryIo(LoopStats& stats) : stats_(stats) {}
    void fill(rte_mbuf** pkts, unsigned n) {
        next_ = pkts;
        n_ = n;
    }
    void begin_turn(std::uint64_t tsc) noexcept { began_ = tsc; }
    unsigned receive(rte_mbuf** pkts) noexcept {
        if constexpr (kStats) {
            if (in_the_box_ != 0) {
                const std::uint64_t now = rte_rdtsc();
                stats_.latency(now - began_, in_the_box_);
                began_ = now;
                in_the_box_ = 0;
            }
        }
        const unsigned n = std::exchange(n_, 0u);
        if (n == 0) return 0;
        std::copy_n(next_, n, pkts);
        if constexpr (kStats) {
            stats_.burst(n);
            in_the_box_ = n;
        }
        return n;
    }
    void send(PortId, rte_mbuf** pkts, unsigned n) noexcept { rte_pktmbuf_free_bulk(pkts, n); }

  private:
    LoopStats& stats_;
    rte_mbuf** next_ = nullptr;
    unsigned n_ = 0;
    std::uint64_t began_ = 0;
    unsigned in_the_box_ = 0;
};

/// Cycles of the turns that take these packets, `burst` a turn.
template <bool kStats>
std::uint64_t turns(Bench& bench, LoopStats& stats, rte_mbuf** pkts, unsigned count,
                    unsigned burst) {
    MemoryIo<kStats> io(stats);
    Worker& worker = bench.worker();
    const std::uint64_t begun = rte_rdtsc_precise();
    std::uint64_t last = begun;
    unsigned packets = 0;
    for (unsigned at = 0; at < count; at += burst) {
        const std::uint64_t now = rte_rdtsc();  // the loop reads its clock either way
        if constexpr (kStats) stats.turn(now - last, packets);
        last = now;
        if constexpr (kStats) io.begin_turn(now);
        io.fill(pkts + at, std::min(burst, count - at));
        packets = run_turn(worker, io, bench.now()).packets;
        if (packets == 0) die("a turn has processed nothing");
    }
    return rte_rdtsc_precise() - begun;
}

int run(const MachineOptions& machine, std::uint32_t connections, unsigned runs) {
    constexpr unsigned kCount = kRingBursts * kBurst, kRounds = 200;
    rte_mempool* pool = start(machine, memory_for(connections * 2));
    Bench bench(pool, connections * 2);
    Flows flows(Family::ipv4, proto::udp, connections);
    open_all(bench, flows);
    answer_all(bench, flows);
    LoopStats stats;
    std::printf("%-10s %12s %12s %8s\n", "burst", "without", "with", "ratio");
    for (const unsigned burst : {1u, 8u, 32u}) {
        std::vector<double> without, with, ratios;
        for (unsigned r = 0; r < runs; ++r) {
            std::uint64_t cycles[2] = {};
            Random random;
            for (unsigned round = 0; round < 2 * kRounds; ++round) {
                rte_mbuf* ring[kCount];
                if (rte_pktmbuf_alloc_bulk(pool, ring, kCount) != 0) die("out of packet buffers");
                for (rte_mbuf* m : ring) {
                    flows.write(m, random.below(flows.count()), Direction(random.next() & 1),
                                tcp_flag::ack);
                    m->ol_flags = kVouched;
                }
                // The order alternates as well.
                const bool on = (round ^ r) % 2 != 0;
                cycles[on] += on ? turns<true>(bench, stats, ring, kCount, burst)
                                 : turns<false>(bench, stats, ring, kCount, burst);
                bench.pass(1);
            }
            const auto each = [&](bool on) {
                return static_cast<double>(cycles[on]) / (double{kRounds} * kCount);
            };
            without.push_back(each(false));
            with.push_back(each(true));
            ratios.push_back(each(true) / each(false));
        }
        const auto median = [](std::vector<double>& values) {
            std::sort(values.begin(), values.end());
            return values[values.size() / 2];
        };
        std::printf("%-10u %12.1f %12.1f %8.3f\n", burst, median(without), median(with),
                    median(ratios));
    }
    if (stats.busy_turns.get() == 0) die("nothing was counted");
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::CommandLine line("What the statistics of a worker's loop cost");
    std::uint32_t connections = 100'000;
    unsigned runs = 15;
    bool quick = false;
    postern::bench::MachineOptions machine;
    line.number("--connections", connections, "of the table", 1000, 16'000'000);
    line.number("--runs", runs, "runs of each row", 1, 1000);
    machine.add_to(line);
    line.flag("--quick", quick, postern::bench::kQuickHelp);
    line.parse(argc, argv);
    return postern::bench::run(machine, quick ? 1000 : connections, quick ? 1 : runs);
}
