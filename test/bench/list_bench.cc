// SPDX-License-Identifier: BSD-3-Clause
// What a list of millions of connections does to traffic: one worker forwards bursts of 32 packets
// of random connections; the cycles of each turn (burst, upkeep, answer to control) with and
// without a list under way. The list's reader is in the same thread, between the turns, and not
// counted.
//
//   list_bench [--connections N] [--no-huge] [--cpu N] [--quick]
//
// Turns in which the kernel took the processor away are counted apart (getrusage), so that
// "longest" is the program's own.
#include <sys/resource.h>

#include "start.h"

namespace postern::bench {
namespace {

class Turns {
  public:
    void add(std::uint64_t cycles) {
        const long switches = involuntary();
        if (switches != switches_)
            ++disturbed_;
        else
            all_.push_back(static_cast<std::uint32_t>(cycles));
        switches_ = switches;
    }
    void print(const char* name, double seconds, std::uint64_t rows) {
        std::sort(all_.begin(), all_.end());
        const double us = 1e6 / static_cast<double>(rte_get_tsc_hz());
        const auto at = [&](double share) {
            return us *
                   all_[static_cast<std::size_t>(share * static_cast<double>(all_.size() - 1))];
        };
        std::printf("%-22s %9zu %8.2f %8.2f %8.2f %8.2f %8.2f %9zu", name, all_.size(), at(0.5),
                    at(0.99), at(0.9999), at(0.99999), at(1), disturbed_);
        if (rows != 0)
            std::printf(" %10.2f s, %.2f M rows", seconds, static_cast<double>(rows) / 1e6);
        std::printf("\n");
    }

  private:
    static long involuntary() {
        rusage r{};
        getrusage(RUSAGE_THREAD, &r);
        return r.ru_nivcsw;
    }
    std::vector<std::uint32_t> all_;
    std::size_t disturbed_ = 0;
    long switches_ = involuntary();
};

enum class What {
    nothing,
    list,      ///< all of them
    find_none  ///< a filter that no connection meets
};

void measure(Bench& bench, Flows& flows, What what, const char* name, std::uint32_t turns) {
    Worker& w = bench.worker();
    ConnQuery& m = w.requests().conn_query();
    if (what != What::nothing) {
        m.filter = {};
        if (what == What::find_none) m.filter.label = m.filter.label_mask = 1;
        m.cursor = 1;
        m.state.store(ConnQuery::asked);
    }
    Random random;
    Turns all;
    std::uint64_t rows = 0;
    ConnQuery::Row row;
    const std::uint64_t begun = rte_rdtsc();
    for (std::uint32_t n = 0;
         what == What::nothing ? n < turns : m.state.load() == ConnQuery::asked; ++n) {
        const Cost burst = bench.run(kBurst, Fate::accepted, [&](rte_mbuf* p, std::uint32_t) {
            const std::uint32_t i = random.below(flows.count());
            flows.write(p, i, Direction(random.next() & 1), tcp_flag::ack);
        });
        const std::uint64_t t0 = rte_rdtsc_precise();
        w.answer_requests();
        all.add(burst.cycles + rte_rdtsc_precise() - t0);
        while (m.rows.pop(row))
            ++rows;
    }
    const double seconds =
        static_cast<double>(rte_rdtsc() - begun) / static_cast<double>(rte_get_tsc_hz());
    m.state.store(ConnQuery::idle);
    if (what == What::list && rows != flows.count()) die("the list is not complete");
    all.print(name, seconds, rows);
}

int run(const MachineOptions& machine, std::uint32_t connections) {
    rte_mempool* pool = start(machine, memory_for(connections + connections / 16),
                              kRingBursts * kBurst * 2 - 1, /*cached=*/0);
    Bench bench(pool, connections + connections / 16);
    Flows flows(Family::ipv4, proto::udp, connections);
    bench.run(connections, Fate::accepted,
              [&](rte_mbuf* p, std::uint32_t i) { flows.write(p, i, Direction::original, 0); });
    std::printf(
        "%u connections; microseconds a turn of %u packets\n"
        "%-22s %9s %8s %8s %8s %8s %8s %9s\n",
        connections, kBurst, "", "turns", "median", "99 %", "99.99 %", "99.999 %", "longest",
        "disturbed");
    const std::uint32_t turns = connections / ConnQuery::kSlotsATurn;
    measure(bench, flows, What::nothing, "no list", turns);
    measure(bench, flows, What::list, "list of all", turns);
    measure(bench, flows, What::find_none, "filter that finds none", turns);
    measure(bench, flows, What::nothing, "no list", turns);
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::CommandLine line("What lists of connections do to traffic");
    std::uint32_t connections = 1'000'000;
    bool quick = false;
    postern::bench::MachineOptions machine;
    line.number("--connections", connections, "of the table", 1000, 16'000'000);
    machine.add_to(line);
    line.flag("--quick", quick, postern::bench::kQuickHelp);
    line.parse(argc, argv);
    return postern::bench::run(machine, quick ? 20'000 : connections);
}
