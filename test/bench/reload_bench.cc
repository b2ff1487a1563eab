// SPDX-License-Identifier: BSD-3-Clause
// What replacing a large plan does to traffic: a worker on a CPU of its own forwards bursts of 32
// packets of random connections, as fast as it can, while control loads files of very many rules on
// another CPU, as `config load` does.
//
//   reload_bench [--rules N] [--connections N] [--loads N] [--cpu N] [--worker-cpu N] [--no-huge]
//
// turns.h explains the columns.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include <spdlog/spdlog.h>

#include "live_config.h"
#include "start.h"
#include "turns.h"

namespace postern::bench {
namespace {

enum Phase : unsigned {
    quiet,
    loading,
    after,
    over
};
constexpr const char* kPhases[] = {"no load", "loads", "no load"};

struct Options : MachineOptions {
    std::uint32_t rules = 50'000, connections = 100'000, loads = 3;
    int worker_cpu = -1;
    bool quick = false;
};

/// Rules of hosts and ports, of which none is of the benchmark's packets, and the one that is.
std::string text_of(const Options& o, unsigned serial) {
    std::string out =
        "zones: [inside, outside]\n"
        "ports:\n"
        "  - {name: in0, device: net_null0, zone: inside}\n"
        "  - {name: out0, device: net_null1, zone: outside}\n"
        "bridges: [{ports: [in0, out0]}]\n"
        "limits: {connections: " +
        std::to_string(o.connections) +
        ", expectations: 1024, helped_connections: 64, per_worker: {new_per_second: 0}}\n"
        "policy:\n  rules:\n";
    for (std::uint32_t i = 0; i < o.rules; ++i)
        out += "    - {name: r" + std::to_string(serial % 2) + "-" + std::to_string(i) +
               ", from: inside, src: 172." + std::to_string(16 + i / 65536 % 16) + "." +
               std::to_string(i / 256 % 256) + "." + std::to_string(i % 256) +
               ", proto: tcp, dport: " + std::to_string(1 + (i + serial) % 60'000) +
               ", action: accept}\n";
    return out + "    - {name: out, from: inside, to: outside, action: accept}\n";
}

/// The worker's thread.
void forward(Bench& bench, Flows& flows, int cpu, const std::atomic<Phase>& phase,
             std::array<Turns, over>& turns) {
    pin(cpu);
    Random random;
    double packets_a_cycle = 0;
    rte_rcu_qsbr* rcu = bench.firewall().rcu();
    Phase last = over;
    for (Phase now; (now = phase.load(std::memory_order_acquire)) != over;) {
        if (std::exchange(last, now) != now) {
            if (now == loading) packets_a_cycle = kBurst / turns[quiet].median() / 2;
            turns[now].begin();
        }
        const std::uint64_t began = rte_rdtsc_precise();
        bench.worker().begin_turn(bench.now());
        const std::uint64_t begin_cycles = rte_rdtsc_precise() - began;
        const Cost burst = bench.run(kBurst, Fate::accepted, [&](rte_mbuf* p, std::uint32_t) {
            const std::uint32_t i = random.below(flows.count());
            flows.write(p, i, Direction(random.next() & 1), tcp_flag::ack);
        });
        const std::uint64_t t0 = rte_rdtsc_precise();
        bench.worker().housekeeping(bench.now());
        rte_rcu_qsbr_quiescent(rcu, 0);
        turns[now].add(begin_cycles + burst.cycles + rte_rdtsc_precise() - t0, packets_a_cycle);
    }
    rte_rcu_qsbr_thread_offline(rcu, 0);
}

double ms_since(std::uint64_t tsc) {
    return static_cast<double>(rte_rdtsc() - tsc) * 1e3 / static_cast<double>(rte_get_tsc_hz());
}

int run(const Options& o) {
    spdlog::set_level(spdlog::level::warn);  // each load names its differences
    // Each of the threads takes buffers, and gives them back.
    rte_mempool* pool = start(o, memory_for(o.connections * 2), kRingBursts * kBurst * 2 - 1, 0);
    std::string folder = (std::filesystem::temp_directory_path() / "reload-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) die("no folder for files");
    const std::string path = folder + "/rules.yaml";
    const auto write = [&](unsigned serial) { std::ofstream(path) << text_of(o, serial); };
    write(0);
    auto source = read_config(path);
    if (!source) die(source.error().message);
    Bench bench(pool, source->spec);
    Flows flows(Family::ipv4, proto::udp, o.connections * 3 / 4);
    bench.run(flows.count(), Fate::accepted,
              [&](rte_mbuf* p, std::uint32_t i) { flows.write(p, i, Direction::original, 0); });
    Firewall& fw = bench.firewall();
    auto history = ConfigHistory::open({});
    LiveConfig config(fw, std::move(*source), std::move(*history));
    rte_rcu_qsbr_thread_offline(fw.rcu(), fw.control_reader());

    std::atomic<Phase> phase{quiet};
    std::array<Turns, over> turns;
    std::thread worker([&] { forward(bench, flows, o.worker_cpu, phase, turns); });
    const auto wait = std::chrono::milliseconds(o.quick ? 50 : 5000);
    std::this_thread::sleep_for(wait);
    phase.store(loading, std::memory_order_release);
    double longest_step = 0;
    std::vector<double> took;
    for (unsigned n = 1; n <= o.loads; ++n) {
        write(n);
        const std::uint64_t begun = rte_rdtsc();
        const auto ticket = config.load(path, "reload_bench");
        if (!ticket) die(ticket.error().message);
        longest_step = std::max(longest_step, ms_since(begun));
        while (!ticket.value()->answer) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
            const std::uint64_t step = rte_rdtsc();
            config.turn();
            fw.reclaim_plans();
            longest_step = std::max(longest_step, ms_since(step));
        }
        if (!*ticket.value()->answer) die(ticket.value()->answer->error().message);
        took.push_back(ms_since(begun));
    }
    phase.store(after, std::memory_order_release);
    std::this_thread::sleep_for(wait);
    phase.store(over, std::memory_order_release);
    worker.join();
    fw.reclaim_plans();
    rte_rcu_qsbr_thread_online(fw.rcu(), 0);
    std::filesystem::remove_all(folder);

    std::printf("%u rules, %u connections; microseconds a turn of %u packets\n", o.rules,
                flows.count(), kBurst);
    Turns::print_header();
    for (unsigned p = quiet; p < over; ++p)
        turns[p].print(kPhases[p]);
    std::printf("milliseconds of each load:");
    for (const double ms : took)
        std::printf(" %.0f", ms);
    std::printf("; the longest step of control's thread: %.1f\n", longest_step);
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::CommandLine line("What replacing a large plan does to traffic");
    postern::bench::Options o;
    line.number("--rules", o.rules, "of a plan", 1, 65'000 - 1);
    line.number("--connections", o.connections, "of the table", 1000, 16'000'000);
    line.number("--loads", o.loads, "of plans", 1, 1000);
    line.number("--worker-cpu", o.worker_cpu, "the worker's CPU; --cpu is control's");
    o.add_to(line);
    line.flag("--quick", o.quick, postern::bench::kQuickHelp);
    line.parse(argc, argv);
    if (o.quick) o.rules = 200, o.connections = 2000, o.loads = 2;
    return postern::bench::run(o);
}
