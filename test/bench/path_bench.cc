// SPDX-License-Identifier: BSD-3-Clause
// Cycles a packet of the whole path: one worker as the daemon runs it, fed from memory.
//
// What is measured: Worker::begin() + run_stages() + finish() (and housekeeping() where a row says
// so), by the TSC around each burst of 32. What is not: making the packets, and the driver. Packets
// are made a ring full at a time, before; then, just before its burst is measured, each mbuf's
// first line is written as a driver's receive function does. So descriptors are warm, and the
// frames are where a NIC with DDIO leaves them: in the second or third level cache.
//
// Each run checks that the packets took the path that the row is about.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <rte_eal.h>

#include "start.h"

namespace postern::bench {
namespace {

/// The n-th of a fixed permutation of 0..count-1 that jumps about.
std::uint32_t shuffled(std::uint32_t n, std::uint32_t count) {
    constexpr std::uint64_t kStep = 2'147'483'647;  // a prime beyond every count
    return static_cast<std::uint32_t>((n * kStep + 12345) % count);
}

std::uint32_t room_for(std::uint32_t flows) {
    return flows + flows / 32 + 2 * kLiveFlows;  // policy may not take the reserve for children
}

class Report {
  public:
    explicit Report(double ghz) : ghz_(ghz) {
        std::printf("%-34s %9s %9s %9s %9s %7s\n", "", "flows", "best", "median", "ns", "ratio");
    }
    /// `values`: a run each, cycles.
    void row(const std::string& name, std::uint32_t flows, std::vector<double> values,
             const char* unit) {
        std::sort(values.begin(), values.end());
        const double best = values.front(), median = values[values.size() / 2];
        if (first_ == 0) first_ = best;
        std::printf("%-34s %9u %9.1f %9.1f %9.1f %7.2f  %s\n", name.c_str(), flows, best, median,
                    best / ghz_, best / first_, unit);
        std::fflush(stdout);
        keep(name, flows, unit, values);
    }
    void note(const std::string& name, std::uint32_t flows, double value, const char* unit) {
        std::printf("%-34s %9u %9.3f  %s\n", name.c_str(), flows, value, unit);
        std::fflush(stdout);
        keep(name, flows, unit, {value});
    }
    double ghz() const { return ghz_; }
    void save(const RowOptions& o) const { o.save(ghz_, rows_); }

  private:
    void keep(const std::string& name, std::uint32_t flows, const char* unit,
              const std::vector<double>& values) {
        rows_.push_back({name, flows, unit, values});
    }

    std::vector<Row> rows_;
    double ghz_;
    double first_ = 0;
};

struct Options : RowOptions {
    std::vector<std::uint32_t> flows{1'000, 100'000, 1'000'000};
    std::uint32_t packets = 1 << 20;  ///< a run
    bool quick = false;
};

constexpr const char* kCyclesPacket = "cycles/packet";
constexpr const char* kCyclesConn = "cycles/connection";

void established(const Options& o, rte_mempool* pool, Report& report) {
    for (const Kind& kind : kKinds) {
        const std::string name = std::string("established ") + kind.name;
        if (!o.wants(name)) continue;
        for (const std::uint32_t n : o.flows) {
            Bench bench(pool, room_for(n));
            Flows flows(kind.family, kind.protocol, n);
            open_all(bench, flows);
            answer_all(bench, flows);
            bench.set_counted(true);
            Random random;
            std::vector<double> values;
            for (unsigned r = 0; r < o.runs; ++r) {
                const Cost cost =
                    bench.run(o.packets, Fate::accepted, [&](rte_mbuf* m, std::uint32_t) {
                        flows.write(m, random.below(n), Direction(random.next() & 1),
                                    tcp_flag::ack);
                    });
                values.push_back(cost.each());
            }
            report.row(name, n, values, kCyclesPacket);
        }
    }
}

/// The same packets of FTP sessions, which announce nothing, with and without the helper, by turns:
/// lines, and acknowledgements that carry nothing.
void helped(const Options& o, rte_mempool* pool, Report& report) {
    for (const bool bare : {false, true}) {
        const std::string name = bare ? "acks tcp4" : "lines tcp4";
        if (!o.wants(name) && !o.wants(name + ", helped")) continue;
        for (const std::uint32_t n : o.flows) {
            std::vector<double> values[2];
            Bench plain(pool, room_for(n)), watched(pool, Bench::helped_spec_of(room_for(n)));
            Flows flows[2] = {{Family::ipv4, proto::tcp, n}, {Family::ipv4, proto::tcp, n}};
            Bench* benches[2] = {&plain, &watched};
            Random random;
            for (unsigned b = 0; b < 2; ++b) {
                open_ftp(*benches[b], flows[b]);
                flows[b].set_bare(bare);
            }
            for (unsigned r = 0; r < o.runs; ++r) {
                for (unsigned b = 0; b < 2; ++b) {
                    const auto write = [&](rte_mbuf* m, std::uint32_t) {
                        write_idle(flows[b], m, random.below(n), Direction(random.next() & 1));
                    };
                    values[b].push_back(benches[b]->run(o.packets, Fate::accepted, write).each());
                }
            }
            report.row(name, n, values[0], kCyclesPacket);
            report.row(name + ", helped", n, values[1], kCyclesPacket);
        }
    }
}

/// Plain packets where no helper is configured, and where all are and hundreds of connections have
/// one, by turns: what helpers cost those who have none.
void beside_helpers(const Options& o, rte_mempool* pool, Report& report) {
    constexpr std::uint32_t kHelped = 512, kMostFlows = 100'000, kParts = 64;
    for (const Kind& kind : {kKinds[0], kKinds[1]}) {
        const std::string name = std::string("plain ") + kind.name;
        const std::string beside = name + ", all helpers";
        if (!o.wants(name) && !o.wants(beside)) continue;
        for (const std::uint32_t n : o.flows) {
            if (n > kMostFlows) continue;
            Bench none(pool, room_for(n)),
                all(pool, Bench::all_helpers_spec_of(room_for(n) + kHelped, 2 * kHelped));
            Flows sessions(Family::ipv4, proto::tcp, kHelped, 40, 21);
            open_ftp(all, sessions);
            const HelperEngine& helpers = all.worker().helpers();
            if (helpers.capacity() - helpers.conns_free() != kHelped)
                die("connections lack their helper");
            Flows flows[2] = {{kind.family, kind.protocol, n}, {kind.family, kind.protocol, n}};
            Bench* benches[2] = {&none, &all};
            for (unsigned b = 0; b < 2; ++b) {
                open_all(*benches[b], flows[b]);
                answer_all(*benches[b], flows[b]);
            }
            // In parts that are mostly shorter than the kernel's time slice: what is compared
            // differs by less than the machine's other work adds to a whole run.
            std::vector<double> values[2];
            Random random;
            for (unsigned r = 0; r < o.runs; ++r) {
                double best[2] = {1e9, 1e9};
                for (unsigned part = 0; part < 2 * kParts; ++part) {
                    const unsigned b = part % 2;
                    const auto write = [&](rte_mbuf* m, std::uint32_t) {
                        flows[b].write(m, random.below(n), Direction(random.next() & 1),
                                       tcp_flag::ack);
                    };
                    const Cost cost = benches[b]->run(o.packets / kParts, Fate::accepted, write);
                    best[b] = std::min(best[b], cost.each());
                }
                for (unsigned b = 0; b < 2; ++b)
                    values[b].push_back(best[b]);
            }
            report.row(name, n, values[0], kCyclesPacket);
            report.row(beside, n, values[1], kCyclesPacket);
            const auto best = [](const std::vector<double>& v) {
                return *std::min_element(v.begin(), v.end());
            };
            report.note(beside + " : none", n, best(values[1]) / best(values[0]), "ratio");
        }
    }
}

/// Policy drops what outside sends unasked, while n connections are in the table.
void dropped(const Options& o, rte_mempool* pool, Report& report) {
    if (!o.wants("drop by policy")) return;
    for (const std::uint32_t n : o.flows) {
        Bench bench(pool, room_for(n));
        Flows flows(Family::ipv4, proto::udp, n), strangers(Family::ipv4, proto::udp, 1 << 23, 20);
        open_all(bench, flows);
        Random random;
        std::vector<double> values;
        for (unsigned r = 0; r < o.runs; ++r) {
            const Cost cost = bench.run(o.packets, Fate::dropped, [&](rte_mbuf* m, std::uint32_t) {
                strangers.write(m, random.below(strangers.count()), Direction::reply, 0);
            });
            values.push_back(cost.each());
        }
        report.row("drop by policy udp4", n, values, kCyclesPacket);
    }
}

/// Fills the table, then lets all of it expire within one second, again and again.
void create_and_expire(const Options& o, rte_mempool* pool, Report& report, const Kind& kind) {
    const std::string name = kind.name;
    if (!o.wants("create " + name) && !o.wants("expire " + name)) return;
    const std::uint32_t n = o.flows.back();
    Bench bench(pool, room_for(n));
    Flows live(Family::ipv4, proto::tcp, kLiveFlows, 30), flows(kind.family, kind.protocol, n);
    open_all(bench, live);
    answer_all(bench, live);
    std::vector<double> created, expired, longest_create, longest_turn;
    long least_faults = std::numeric_limits<long>::max();
    bench.set_watched(true);
    for (unsigned r = 0; r < o.runs; ++r) {
        const Cost c = open_all(bench, flows);
        created.push_back(c.each());
        longest_create.push_back(static_cast<double>(c.longest) / report.ghz() / 1000);
        bench.pass(kind.protocol == proto::udp ? 28'000 : 118'000);
        Cost turns;
        expired.push_back(bench.expire(kLiveFlows, live, turns).each());
        longest_turn.push_back(static_cast<double>(turns.longest) / report.ghz() / 1000);
        least_faults = std::min(least_faults, c.faults + turns.faults);
    }
    auto least = [](const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); };
    report.row("create " + name, n, created, kCyclesConn);
    report.note("create " + name + ", longest burst", n, least(longest_create), "us");
    report.row("expire " + name, n, expired, kCyclesConn);
    report.note("expire " + name + ", longest turn", n, least(longest_turn), "us");
    report.note(name + ", page faults of a run", n, static_cast<double>(least_faults), "");
    // The kernel may move a page now and then, but not in every run; of one run nothing follows.
    if (o.runs > 1 && least_faults != 0) die("the table met page faults after its start");
}

/// A refused TCP connection ends at once; a reset one is kept for a while, then expires.
void ended(const Options& o, rte_mempool* pool, Report& report) {
    if (!o.wants("end tcp4")) return;
    const std::uint32_t n = o.flows.back();
    Bench bench(pool, room_for(n));
    Flows flows(Family::ipv4, proto::tcp, n);
    std::vector<double> created, refused, reset, gone;
    Flows live(Family::ipv4, proto::tcp, kLiveFlows, 30);
    open_all(bench, live);
    answer_all(bench, live);
    for (unsigned r = 0; r < o.runs; ++r) {
        open_all(bench, flows);
        refused.push_back(bench
                              .run(n, Fate::accepted,
                                   [&](rte_mbuf* m, std::uint32_t i) {
                                       flows.write(m, shuffled(i, n), Direction::reply,
                                                   tcp_flag::rst | tcp_flag::ack);
                                   })
                              .each());
        if (bench.worker().conns().size() != kLiveFlows) die("refused connections are still there");
        // Again, over the slots in the order that this left.
        created.push_back(open_all(bench, flows).each());
        answer_all(bench, flows);
        reset.push_back(bench
                            .run(n, Fate::accepted,
                                 [&](rte_mbuf* m, std::uint32_t i) {
                                     flows.write(m, shuffled(i, n), Direction::original,
                                                 tcp_flag::rst | tcp_flag::ack);
                                 })
                            .each());
        bench.pass(9'000);
        Cost turns;
        gone.push_back(bench.expire(kLiveFlows, live, turns).each());
    }
    report.row("end tcp4: refused, forgotten at once", n, refused, kCyclesPacket);
    report.row("create tcp4 in scattered slots", n, created, kCyclesConn);
    report.row("end tcp4: reset", n, reset, kCyclesPacket);
    report.row("end tcp4: expiry of those", n, gone, kCyclesConn);
}

void memory(const Options& o, rte_mempool* pool, Report& report) {
    if (!o.wants("memory")) return;
    const std::uint32_t n = o.flows.back();
    Bench bench(pool, n);
    const auto all = std::max(bench.memory_bytes(), bench.worker().conns().memory_bytes());
    report.note("memory", n, static_cast<double>(all) / bench.capacity(), "bytes/connection");
    rusage u;
    getrusage(RUSAGE_SELF, &u);
    report.note("memory, of the program at its most", n, static_cast<double>(u.ru_maxrss) / 1024,
                "MiB");
}

std::string cpu_model() {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "unknown processor";
}

int run(Options& o) {
    if (o.quick) {
        o.flows = {1'000, 10'000};
        o.runs = 3;
        o.packets = 1 << 14;
    }
    const std::uint32_t largest = *std::max_element(o.flows.begin(), o.flows.end());
    rte_mempool* pool = start(o, memory_for(room_for(largest)));
    const double ghz = static_cast<double>(rte_get_tsc_hz()) / 1e9;
    std::printf("%s, TSC %.3f GHz, %s, bursts of %u, best and median of %u runs\n\n",
                cpu_model().c_str(), ghz, rte_eal_has_hugepages() ? "hugepages" : "no hugepages",
                kBurst, o.runs);
    Report report(ghz);
    established(o, pool, report);
    helped(o, pool, report);
    beside_helpers(o, pool, report);
    dropped(o, pool, report);
    create_and_expire(o, pool, report, kKinds[0]);
    create_and_expire(o, pool, report, kKinds[2]);
    ended(o, pool, report);
    memory(o, pool, report);
    report.save(o);
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::Options o;
    postern::bench::CommandLine line{"Cycles a packet of the whole path, from memory to memory"};
    line.numbers("--flows", o.flows, "numbers of connections, ascending");
    o.add_to(line);
    o.add_json_to(line);
    line.flag("--quick", o.quick, postern::bench::kQuickHelp);
    line.parse(argc, argv);
    return postern::bench::run(o);
}
