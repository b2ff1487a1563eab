// SPDX-License-Identifier: BSD-3-Clause
// One way through the pipeline, the same packets at every run, for callgrind to count: the bursts
// that matter go through counted_burst(), everything before through another function.
//
//   path_count PATH       prints how many packets went that way
//   path_count            lists the paths
//
// instructions.py runs it and compares with the baseline.
#include <cstdio>
#include <string_view>

#include "start.h"

namespace postern::bench {
namespace {

constexpr std::uint32_t kFlows = 512, kPackets = 4096;

std::uint32_t established(rte_mempool* pool, Family family, std::uint8_t protocol) {
    Bench bench(pool, 2 * kFlows);
    Flows flows(family, protocol, kFlows);
    open_all(bench, flows);
    answer_all(bench, flows);
    bench.set_counted(true);
    Random random;
    bench.run(kPackets, Fate::accepted, [&](rte_mbuf* m, std::uint32_t) {
        flows.write(m, random.below(kFlows), Direction(random.next() & 1), tcp_flag::ack);
    });
    return kPackets;
}

/// Data, and its acknowledgement: the timeout goes to and fro.
std::uint32_t acknowledged(rte_mempool* pool) {
    Bench bench(pool, 2 * kFlows);
    Flows flows(Family::ipv4, proto::tcp, kFlows);
    open_all(bench, flows);
    answer_all(bench, flows);
    bench.set_counted(true);
    for (unsigned round = 0; round < kPackets / kFlows; ++round) {
        flows.set_bare(round % 2 != 0);
        bench.run(kFlows, Fate::accepted, [&](rte_mbuf* m, std::uint32_t i) {
            flows.write(m, i, Direction(round % 2), tcp_flag::ack);
        });
    }
    return kPackets;
}

std::uint32_t fresh(rte_mempool* pool, Family family, std::uint8_t protocol) {
    Bench bench(pool, 2 * kPackets);
    Flows flows(family, protocol, kPackets);
    bench.set_counted(true);
    open_all(bench, flows);
    return kPackets;
}

std::uint32_t dropped(rte_mempool* pool) {
    Bench bench(pool, 2 * kFlows);
    Flows flows(Family::ipv4, proto::udp, kPackets);
    bench.set_counted(true);
    bench.run(kPackets, Fate::dropped,
              [&](rte_mbuf* m, std::uint32_t i) { flows.write(m, i, Direction::reply, 0); });
    return kPackets;
}

/// A refused connection ends with the answer.
std::uint32_t ended(rte_mempool* pool) {
    Bench bench(pool, 2 * kPackets);
    Flows flows(Family::ipv4, proto::tcp, kPackets);
    open_all(bench, flows);
    bench.set_counted(true);
    bench.run(kPackets, Fate::accepted, [&](rte_mbuf* m, std::uint32_t i) {
        flows.write(m, i, Direction::reply, tcp_flag::rst | tcp_flag::ack);
    });
    return kPackets;
}

/// FTP control connections: after a greeting, commands and replies that announce nothing, or
/// packets that carry nothing.
std::uint32_t helped(rte_mempool* pool, bool bare) {
    Bench bench(pool, Bench::helped_spec_of(2 * kFlows));
    Flows flows(Family::ipv4, proto::tcp, kFlows);
    open_ftp(bench, flows);
    flows.set_bare(bare);
    bench.set_counted(true);
    Random random;
    bench.run(kPackets, Fate::accepted, [&](rte_mbuf* m, std::uint32_t) {
        write_idle(flows, m, random.below(kFlows), Direction(random.next() & 1));
    });
    return kPackets;
}

struct Path {
    const char* name;
    std::uint32_t (*run)(rte_mempool*);
};
constexpr Path kPaths[] = {
    {"established-udp4", [](auto* p) { return established(p, Family::ipv4, proto::udp); }},
    {"established-tcp4", [](auto* p) { return established(p, Family::ipv4, proto::tcp); }},
    {"established-udp6", [](auto* p) { return established(p, Family::ipv6, proto::udp); }},
    {"acknowledged-tcp4", acknowledged},
    {"new-udp4", [](auto* p) { return fresh(p, Family::ipv4, proto::udp); }},
    {"new-tcp6", [](auto* p) { return fresh(p, Family::ipv6, proto::tcp); }},
    {"refused-tcp4", ended},
    {"dropped-udp4", dropped},
    {"helped-ftp", [](auto* p) { return helped(p, false); }},
    {"helped-ftp-acks", [](auto* p) { return helped(p, true); }},
};

int run(std::string_view wanted) {
    for (const Path& path : kPaths) {
        if (wanted != path.name) continue;
        MachineOptions machine;
        machine.no_huge = true;
        std::printf("%u\n",
                    path.run(start(machine, 256, 4 * kRingBursts * kBurst - 1, /*cached=*/0)));
        return 0;
    }
    std::fprintf(stderr, "path_count: there is no path %.*s\n", static_cast<int>(wanted.size()),
                 wanted.data());
    return 2;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    using namespace postern::bench;
    if (argc == 2) return run(argv[1]);
    for (const Path& path : kPaths)
        std::printf("%s\n", path.name);
    return 0;
}
