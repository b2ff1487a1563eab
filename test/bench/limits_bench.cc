// SPDX-License-Identifier: BSD-3-Clause
// What the cycles of path_bench consist of: each stage, and what memory alone would cost.
//
//   stages   the clock is read between the stages of established traffic, by number of connections
//   latency  a chain of loads, each of which says where the next one is: nothing overlaps
//   floor    per "packet" one line of an index and one to three of an object, at random; those of
//            32 fetched ahead, as the look-up does, then written. No firewall can be faster
//            that keeps as much, however little it computes.
//
//   handover what a burst of 32 lines costs that another CPU has just written, fetched ahead and
//   read:
//            what it would take to get a PacketInfo from the worker that has read the headers,
//            instead of reading them again (the parse stage of `stages`)
//
//   gaps     how long this CPU is gone at a time while it does nothing but read the clock: what no
//            program's longest burst can be below
//
// Rows of one section are run by turns, and the best of each is printed: what the machine's other
// work adds is not what limits anything.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include "start.h"

namespace postern::bench {
namespace {

struct Options : RowOptions {
    std::vector<std::uint32_t> flows{1'000, 100'000, 1'000'000};
    std::uint32_t packets = 1 << 18;  ///< a run

    Options() { runs = 7; }
};

void stages(const Options& o, rte_mempool* pool) {
    std::printf("cycles a packet by stage\n%-12s", "");
    bool headed = false;
    for (const Kind& kind : kKinds) {
        for (const std::uint32_t n : o.flows) {
            Bench bench(pool, n + n / 32 + 2 * kLiveFlows);
            Flows flows(kind.family, kind.protocol, n);
            open_all(bench, flows);
            answer_all(bench, flows);
            const auto& list = bench.worker().plan().stages;
            if (!headed) {
                std::printf("%9s", "begin");
                for (const StageDesc* s : list)
                    std::printf(" %9.*s", static_cast<int>(s->name.size()), s->name.data());
                std::printf(" %9s %9s\n", "finish", "all");
                headed = true;
            }
            StageCosts best(list.size() + 2, 1e9);
            Random random;
            for (unsigned r = 0; r < o.runs; ++r) {
                StageCosts costs(list.size() + 2, 0);
                bench.set_stage_costs(&costs);
                bench.run(o.packets, Fate::accepted, [&](rte_mbuf* m, std::uint32_t) {
                    flows.write(m, random.below(n), Direction(random.next() & 1), tcp_flag::ack);
                });
                for (std::size_t i = 0; i < costs.size(); ++i)
                    best[i] = std::min(best[i], costs[i] / o.packets);
            }
            std::printf("%s %-7u", kind.name, n);
            double all = 0;
            for (const double c : best) {
                c < .05 ? std::printf(" %9s", "-") : std::printf(" %9.1f", c);
                all += c;
            }
            std::printf(" %9.1f\n", all);
            std::fflush(stdout);
        }
    }
}

/// Memory as the tables have it: on huge pages, or on small ones.
class Area {
  public:
    Area(std::size_t bytes, bool huge) : bytes_((bytes + kHuge - 1) / kHuge * kHuge) {
        memory_ = std::aligned_alloc(kHuge, bytes_);
        if (memory_ == nullptr) die("no memory");
        (void)madvise(memory_, bytes_, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
        std::memset(memory_, 0, bytes_);
    }
    ~Area() { std::free(memory_); }
    Area(const Area&) = delete;
    Area& operator=(const Area&) = delete;
    template <class T>
    T* as() const {
        return static_cast<T*>(memory_);
    }

  private:
    static constexpr std::size_t kHuge = std::size_t{2} << 20;
    std::size_t bytes_;
    void* memory_;
};

struct alignas(64) Line {
    std::uint64_t next = 0;
    std::uint64_t value = 0;
    std::uint64_t rest[6] = {};
};

/// Cycles a load, each from where the last one said: one cycle through all lines of the area.
double chase(const Options& o, std::size_t bytes, bool huge) {
    const auto n = static_cast<std::uint32_t>(bytes / sizeof(Line));
    const Area area(bytes, huge);
    Line* lines = area.as<Line>();
    Random random;
    for (std::uint32_t i = 0; i < n; ++i)
        lines[i].next = i;
    for (std::uint32_t i = n - 1; i > 0; --i)  // Sattolo: a single cycle
        std::swap(lines[i].next, lines[random.below(i)].next);
    double best = 1e9;
    std::uint64_t at = 0;
    constexpr std::uint32_t kLoads = 1 << 19;
    for (unsigned r = 0; r < o.runs; ++r) {
        const std::uint64_t t0 = rte_rdtsc_precise();
        for (std::uint32_t i = 0; i < kLoads; ++i)
            at = lines[at].next;
        best = std::min(best, static_cast<double>(rte_rdtsc_precise() - t0) / kLoads);
    }
    if (at == ~0ull) std::printf(" ");  // that the loads be made
    return best;
}

void latency(const Options& o) {
    std::printf("\nlatency, cycles a load\n%-12s %11s %11s\n", "MiB", "huge pages", "small pages");
    for (const std::size_t mib :
         {std::size_t{1}, std::size_t{8}, std::size_t{24}, std::size_t{192}, std::size_t{2048}})
        std::printf("%-12zu %11.1f %11.1f\n", mib, chase(o, mib << 20, true),
                    chase(o, mib << 20, false));
}

/// Cycles a "packet": a line of an index of n / 8 lines, then `lines` neighbours of an object of
/// three lines, written.
double touch(const Options& o, std::uint32_t n, unsigned lines, bool huge) {
    constexpr unsigned kObject = 3;
    const Area objects(std::size_t{n} * kObject * sizeof(Line), huge);
    const Area index(std::size_t{n / 8 + 8} * sizeof(Line), huge);
    double best = 1e9;
    Random random;
    for (unsigned r = 0; r < o.runs; ++r) {
        double cycles = 0;
        for (std::uint32_t done = 0; done < o.packets; done += kBurst) {
            std::array<std::uint32_t, kBurst> which;
            for (auto& w : which)
                w = random.below(n);
            const std::uint64_t t0 = rte_rdtsc_precise();
            for (const std::uint32_t w : which)
                __builtin_prefetch(&index.as<Line>()[w / 8]);
            for (const std::uint32_t w : which) {
                // The object's place comes from the index.
                const std::uint64_t at = w + index.as<Line>()[w / 8].value;
                for (unsigned k = 0; k < lines; ++k)
                    __builtin_prefetch(&objects.as<Line>()[at * kObject + k], 1);
            }
            for (const std::uint32_t w : which)
                for (unsigned k = 0; k < lines; ++k)
                    ++objects.as<Line>()[w * std::size_t{kObject} + k].value;
            cycles += static_cast<double>(rte_rdtsc_precise() - t0);
        }
        best = std::min(best, cycles / o.packets);
    }
    return best;
}

void floors(const Options& o) {
    std::printf(
        "\nfloor of memory, cycles a packet, on huge pages (in brackets: on small ones)\n"
        "%-12s %17s %17s %17s\n",
        "objects", "index + 1 line", "index + 2", "index + 3");
    for (const std::uint32_t n : o.flows) {
        std::printf("%-12u", n);
        for (unsigned lines = 1; lines <= 3; ++lines)
            std::printf("   %6.1f (%6.1f)", touch(o, n, lines, true), touch(o, n, lines, false));
        std::printf("\n");
        std::fflush(stdout);
    }
}

/// A CPU of this machine other than this thread's, or -1.
int another_cpu() {
    const int own = sched_getcpu();
    for (int cpu = 0; cpu < static_cast<int>(std::thread::hardware_concurrency()); ++cpu)
        if (cpu != own) return cpu;
    return -1;
}

void handover(const Options& o) {
    const int cpu = another_cpu();
    if (cpu < 0) {
        std::printf("\nhandover: there is one CPU only\n");
        return;
    }
    // Bursts in turns, as in a ring: what is read now was written a burst before.
    struct Shared {
        alignas(64) std::atomic<std::uint32_t> written{0};
        alignas(64) std::atomic<std::uint32_t> read{0};
        std::array<Line, kBurst> lines;
    } shared;
    const std::uint32_t bursts = o.packets / kBurst;
    std::thread writer([&] {
        for (std::uint32_t b = 1; b <= bursts; ++b) {
            for (Line& line : shared.lines)
                line.value = line.rest[5] = b;
            shared.written.store(b, std::memory_order_release);
            while (shared.read.load(std::memory_order_acquire) != b)
                rte_pause();
        }
    });
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(static_cast<std::size_t>(cpu), &only);
    pthread_setaffinity_np(writer.native_handle(), sizeof only, &only);
    std::vector<double> costs;
    std::uint64_t sum = 0;
    for (std::uint32_t b = 1; b <= bursts; ++b) {
        while (shared.written.load(std::memory_order_acquire) != b)
            rte_pause();
        const std::uint64_t t0 = rte_rdtsc_precise();
        for (const Line& line : shared.lines)
            __builtin_prefetch(&line);
        for (const Line& line : shared.lines)
            sum += line.value + line.rest[5];
        costs.push_back(static_cast<double>(rte_rdtsc_precise() - t0) / kBurst);
        shared.read.store(b, std::memory_order_release);
    }
    writer.join();
    if (sum == 0) die("nothing was handed over");
    std::sort(costs.begin(), costs.end());
    std::printf("\nhandover, cycles a line that CPU %d has written: best %.1f, median %.1f\n", cpu,
                costs.front(), costs[costs.size() / 2]);
}

void gaps(const Options& o) {
    constexpr double kLimitsUs[] = {10, 50, 100};
    unsigned beyond[std::size(kLimitsUs)] = {};
    const double per_us = static_cast<double>(rte_get_tsc_hz()) / 1e6;
    std::uint64_t longest = 0, before = rte_rdtsc();
    const std::uint64_t end = before + o.runs * rte_get_tsc_hz() / 4;
    while (before < end) {
        const std::uint64_t now = rte_rdtsc(), gap = now - before;
        before = now;
        longest = std::max(longest, gap);
        for (std::size_t i = 0; i < std::size(kLimitsUs); ++i)
            beyond[i] += static_cast<double>(gap) > kLimitsUs[i] * per_us;
    }
    std::printf("\ngaps of a loop that reads the clock, in %.1f s: longest %.1f us", o.runs / 4.0,
                static_cast<double>(longest) / per_us);
    for (std::size_t i = 0; i < std::size(kLimitsUs); ++i)
        std::printf(", %u beyond %.0f us", beyond[i], kLimitsUs[i]);
    std::printf("\n");
}

int run(const Options& o) {
    const std::uint32_t largest = *std::max_element(o.flows.begin(), o.flows.end());
    rte_mempool* pool = start(o, memory_for(largest));
    std::printf("TSC %.3f GHz, best of %u runs\n", static_cast<double>(rte_get_tsc_hz()) / 1e9,
                o.runs);
    if (o.wants("stages")) stages(o, pool);
    if (o.wants("latency")) latency(o);
    if (o.wants("floor")) floors(o);
    if (o.wants("handover")) handover(o);
    if (o.wants("gaps")) gaps(o);
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::Options o;
    postern::bench::CommandLine line{"What the cycles of the whole path consist of"};
    line.numbers("--flows", o.flows, "numbers of connections, ascending");
    line.number("--packets", o.packets, "packets a run", 1u << 10, 1u << 24);
    o.MachineOptions::add_to(line);
    line.number("--runs", o.runs, "runs of each row", 1, 1000);
    line.word("--only", o.only, {"stages", "latency", "floor", "handover", "gaps"}, "one part");
    line.parse(argc, argv);
    return postern::bench::run(o);
}
