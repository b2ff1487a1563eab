// SPDX-License-Identifier: BSD-3-Clause
// Putting saved connections back on one worker: how many a second, before the worker runs and while
// it forwards bursts of 32 packets; and what that does to its turns. "Records" are in memory;
// "file" is read from its bytes, as at the start of the daemon.
//
//   restore_bench [--connections N] [--no-huge] [--cpu N] [--quick] [--write FILE]
//
// --write only writes a file of so many connections, for a daemon with zones inside and outside.
//
// While it forwards, control's side runs in the same thread between the turns, as fast as there is
// room, and is not counted. Turns in which the kernel took the processor away are left out.
#include <sys/resource.h>

#include "file_restorer.h"
#include "start.h"
#include "state/file.h"
#include "state/record_writer.h"

namespace postern::bench {
namespace {

constexpr std::uint32_t kLive = 100'000;  ///< connections of the traffic

long involuntary() {
    rusage r{};
    getrusage(RUSAGE_THREAD, &r);
    return r.ru_nivcsw;
}

/// Connection i, as it would be read from a file.
SavedConnection saved(const Plan& plan, std::uint32_t i, std::uint8_t protocol) {
    SavedConnection s;
    Conn& c = s.image.conn;
    c.key.family = 4;
    c.key.protocol = protocol;
    const std::uint8_t src[] = {11, static_cast<std::uint8_t>(i >> 16),
                                static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
    std::copy_n(src, 4, c.src);
    const std::uint32_t mixed = i * 2654435761u;
    const std::uint8_t dst[] = {198, 18, static_cast<std::uint8_t>(mixed >> 8),
                                static_cast<std::uint8_t>(mixed)};
    std::copy_n(dst, 4, c.dst);
    c.sport = Be16::from_host(static_cast<std::uint16_t>(1024 + i % 60'000));
    c.dport = Be16::from_host(protocol == proto::tcp ? 443 : 53);
    c.flags = conn_flag::seen_reply | conn_flag::assured;
    c.state = protocol == proto::tcp ? static_cast<std::uint8_t>(TcpState::established) : 1;
    c.rule = RuleId{0};
    c.set_edges(plan.edges.pair(EdgeId{0}, EdgeId{1}));
    return s;
}

double seconds_since(std::uint64_t tsc) {
    return static_cast<double>(rte_rdtsc() - tsc) / static_cast<double>(rte_get_tsc_hz());
}

void check(const Restorer& restorer, std::uint32_t connections) {
    if (restorer.summary().restored == connections) return;
    std::string causes;
    for (const auto& [cause, n] : restorer.summary().connections)
        causes += "; " + std::to_string(n) + " " + cause;
    die("not all were restored" + causes);
}

void load(rte_mempool* pool, std::uint32_t connections, std::uint8_t protocol) {
    Bench bench(pool, connections + connections / 16);
    WorkerRequests requests(bench.firewall());
    Restorer restorer(bench.firewall(), requests, 0, [&] { return bench.now(); });
    const std::uint64_t begun = rte_rdtsc();
    for (std::uint32_t i = 0; i < connections; ++i) {
        restorer.add(saved(bench.firewall().plan(), i, protocol));
        while (!restorer.has_room()) {
            requests.answer_here(bench.now());
            restorer.step();
        }
    }
    restorer.finish();
    while (!restorer.done()) {
        requests.answer_here(bench.now());
        restorer.step();
    }
    const double seconds = seconds_since(begun);
    check(restorer, connections);
    std::printf("%s, records, before the worker runs: %u in %.2f s, %.0f a second\n",
                protocol == proto::tcp ? "tcp" : "udp", connections, seconds,
                connections / seconds);
}

/// A file of such connections.
std::string file_of(Firewall& fw, std::uint32_t connections, std::uint8_t protocol) {
    RecordWriter writer(header_now(fw.plan(), fw.helpers()));
    writer.set_plan(fw.plan(), fw.helpers());
    for (std::uint32_t i = 0; i < connections; ++i) {
        Conn conn = saved(fw.plan(), i, protocol).image.conn;
        conn.generation = 1;
        writer.connection({i + 1, 1, WorkerId{}}, conn, nullptr, Tick{conn.last_seen_ms});
    }
    writer.finish();
    std::string bytes;
    writer.take(bytes);
    return bytes;
}

void load_file(rte_mempool* pool, std::uint32_t connections, std::uint8_t protocol) {
    Bench bench(pool, connections + connections / 16);
    const std::string bytes = file_of(bench.firewall(), connections, protocol);
    WorkerRequests requests(bench.firewall());
    FileRestorer file(bench.firewall(), requests, [&] { return bench.now(); });
    const std::uint64_t begun = rte_rdtsc();
    constexpr std::size_t kPiece = 256 * 1024;
    std::size_t at = 0;
    for (auto step = file.step(); step != FileRestorer::Step::done; step = file.step()) {
        if (step == FileRestorer::Step::busy) {
            requests.answer_here(bench.now());
        } else if (at < bytes.size()) {
            file.feed(std::string_view(bytes).substr(at, kPiece));
            at += kPiece;
        } else {
            file.feed_end();
        }
    }
    const double seconds = seconds_since(begun);
    if (file.summary().restored != connections) die("not all were restored");
    std::printf("%s, file of %.0f MB, before the worker runs: %u in %.2f s, %.0f a second\n",
                protocol == proto::tcp ? "tcp" : "udp", static_cast<double>(bytes.size()) / 1e6,
                connections, seconds, connections / seconds);
}

void live(rte_mempool* pool, std::uint32_t connections, std::uint8_t protocol) {
    Bench bench(pool, (connections + kLive) / 16 * 17);
    Flows flows(Family::ipv4, proto::udp, kLive);
    bench.run(kLive, Fate::accepted,
              [&](rte_mbuf* p, std::uint32_t i) { flows.write(p, i, Direction::original, 0); });
    WorkerRequests requests(bench.firewall());
    Restorer restorer(bench.firewall(), requests, 0, [&] { return bench.now(); });
    Random random;
    std::vector<std::uint32_t> shares;
    std::uint64_t worker_cycles = 0;
    std::uint32_t at = 0;
    while (!restorer.done()) {
        for (; at < connections && restorer.has_room(); ++at)
            restorer.add(saved(bench.firewall().plan(), at, protocol));
        if (at == connections) restorer.finish();
        const Cost burst = bench.run(kBurst, Fate::accepted, [&](rte_mbuf* p, std::uint32_t) {
            flows.write(p, random.below(kLive), Direction(random.next() & 1), tcp_flag::ack);
        });
        const long switches = involuntary();
        const std::uint64_t t0 = rte_rdtsc_precise();
        bench.worker().answer_requests();
        const std::uint64_t share = rte_rdtsc_precise() - t0;
        worker_cycles += burst.cycles + share;
        if (switches == involuntary()) shares.push_back(static_cast<std::uint32_t>(share));
        restorer.step();
    }
    check(restorer, connections);
    std::sort(shares.begin(), shares.end());
    const auto us = [&](double part) {
        return 1e6 / static_cast<double>(rte_get_tsc_hz()) *
               shares[static_cast<std::size_t>(part * static_cast<double>(shares.size() - 1))];
    };
    std::printf(
        "%s, under traffic: %.4f s of the worker's time with a burst of %u packets a turn; share "
        "of "
        "a turn, us: median %.1f, 99 %% %.1f, 99.9 %% %.1f, longest %.1f\n",
        protocol == proto::tcp ? "tcp" : "udp",
        static_cast<double>(worker_cycles) / static_cast<double>(rte_get_tsc_hz()), kBurst, us(0.5),
        us(0.99), us(0.999), us(1));
}

int write_file(const MachineOptions& machine, std::uint32_t connections, const std::string& path) {
    rte_mempool* pool = start(machine, memory_for(1000), kRingBursts * kBurst * 2 - 1, 0);
    Bench bench(pool, 1000);
    auto file = StateFileWriter::beside(path);
    if (!file) die(file.error().message);
    file->write(file_of(bench.firewall(), connections, proto::tcp));
    if (auto kept = file->commit(); !kept) die(kept.error().message);
    return 0;
}

int run(const MachineOptions& machine, std::uint32_t connections) {
    rte_mempool* pool = start(machine, memory_for(connections + connections / 8 + kLive),
                              kRingBursts * kBurst * 2 - 1, /*cached=*/0);
    for (const std::uint8_t protocol : {proto::udp, proto::tcp}) {
        load(pool, connections, protocol);
        load_file(pool, connections, protocol);
        live(pool, connections, protocol);
    }
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::CommandLine line("Putting saved connections back");
    std::uint32_t connections = 1'000'000;
    bool quick = false;
    std::string file;
    postern::bench::MachineOptions machine;
    line.number("--connections", connections, "of the table", 1000, 16'000'000);
    machine.add_to(line);
    line.flag("--quick", quick, postern::bench::kQuickHelp);
    line.text("--write", file, "only write a file of them");
    line.parse(argc, argv);
    if (!file.empty()) return postern::bench::write_file(machine, connections, file);
    return postern::bench::run(machine, quick ? 20'000 : connections);
}
