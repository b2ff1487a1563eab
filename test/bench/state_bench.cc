// SPDX-License-Identifier: BSD-3-Clause
// Saving connections on one worker: how many a second the writer encodes from stopped workers'
// tables into a file, how many cross the worker's ring in steps of control, how many a client saves
// over the control socket, and how many a second the reader decodes; the bytes of a record; and
// what a save does to the worker's turns.
//
//   state_bench [--connections N] [--file PATH] [--no-huge] [--cpu N] [--quick]
//
// The file is written into the folder of PATH (default /tmp/state_bench), and removed. Worker and
// control run in the same thread by turns, the client in another one.
#include <atomic>
#include <cstdlib>
#include <thread>

#include <unistd.h>

#include "commands/context.h"
#include "control/server.h"
#include "save_stream.h"
#include "start.h"
#include "state/file.h"
#include "state/record_reader.h"
#include "state_file.h"

namespace postern::bench {
namespace {

class Watch {
  public:
    double seconds() const {
        return static_cast<double>(rte_rdtsc() - begun_) / static_cast<double>(rte_get_tsc_hz());
    }

  private:
    std::uint64_t begun_ = rte_rdtsc();
};

void print(const char* what, double seconds, std::uint64_t records) {
    std::printf("  %-44s %8.2f s %12.0f a second\n", what, seconds,
                static_cast<double>(records) / seconds);
}

/// Reads the file; `out` is called for each record.
std::uint64_t read_file(const std::string& path, Firewall& fw) {
    auto file = StateFileReader::open(path);
    if (!file) die(file.error().message);
    RecordReader reader(fw.plan(), fw.helpers());
    std::vector<std::uint8_t> bytes(256 * 1024);
    SavedRecord record;
    for (;;) {
        switch (reader.next(record)) {
            case RecordReader::Next::record: break;
            case RecordReader::Next::bad: die(reader.problem());
            case RecordReader::Next::more: {
                auto n = file->read(bytes);
                if (!n) die(n.error().message);
                if (*n == 0)
                    reader.feed_end();
                else
                    reader.feed(std::span(bytes).first(*n));
                break;
            }
            case RecordReader::Next::end:
                if (!reader.is_whole()) die(reader.problem());
                return reader.counts().connections;
        }
    }
}

/// As `posternctl conntrack save FILE form=binary`.
void over_the_socket(Bench& bench, std::uint32_t connections, const std::string& path) {
    char folder[] = "/tmp/state_bench.XXXXXX";
    if (::mkdtemp(folder) == nullptr) die("no folder for the control socket");
    const std::string socket = std::string(folder) + "/control.sock";
    auto server = ControlServer::open({.path = socket});
    if (!server) die(server.error().message);
    MetricRegistry metrics;
    CommandContext context(
        bench.firewall(), [&bench] { return bench.now(); }, metrics);
    for (Command& command : all_commands(context))
        (*server)->register_command(std::move(command));
    std::atomic<int> result{-1};
    const Watch watch;
    std::thread client([&] { result = save_state(socket, path, {{"form", "binary"}}); });
    while (result < 0) {
        (*server)->poll(0);
        for (unsigned n = 0; n < 32; ++n)
            bench.worker().answer_requests();
    }
    client.join();
    const double seconds = watch.seconds();
    if (result != 0) die("the client has failed");
    server->reset();
    ::rmdir(folder);
    if (read_file(path, bench.firewall()) != connections) die("not all were saved");
    print("by a client of the control socket, on the disk", seconds, connections);
}

int run(const MachineOptions& machine, std::uint32_t connections, const std::string& path) {
    rte_mempool* pool = start(machine, memory_for(connections + connections / 16),
                              kRingBursts * kBurst * 2 - 1, /*cached=*/0);
    for (const std::uint8_t protocol : {proto::udp, proto::tcp}) {
        Bench bench(pool, connections + connections / 16);
        Flows flows(Family::ipv4, protocol, connections);
        bench.run(connections, Fate::accepted, [&](rte_mbuf* p, std::uint32_t i) {
            flows.write(p, i, Direction::original, tcp_flag::syn);
        });
        Firewall& fw = bench.firewall();
        std::printf("%u connections of %s\n", connections,
                    protocol == proto::udp ? "udp" : "tcp (half-open)");
        {
            const Watch watch;
            auto saved = save_stopped(fw, bench.now(), path);
            if (!saved) die(saved.error().message);
            if (saved->connections != connections) die("not all were saved");
            print("stopped workers' tables to a file, on the disk", watch.seconds(), connections);
        }
        std::uint64_t bytes = 0;
        {
            const Watch watch;
            if (read_file(path, fw) != connections) die("not all were read");
            print("a file decoded", watch.seconds(), connections);
            auto file = StateFileReader::open(path);
            if (file) bytes = file->size();
        }
        {
            auto owners = std::make_shared<QueryOwners>(1);
            SaveStream stream(fw, owners, {}, true, [&] { return bench.now(); });
            std::string block;
            std::uint64_t total = 0, turns = 0, worker = 0;
            const Watch watch;
            for (Pull pull = Pull::row; pull != Pull::done;) {
                pull = stream.step(block, 512);
                total += block.size();
                block.clear();
                for (unsigned n = 0; pull == Pull::pending && n < 32; ++n, ++turns) {
                    const std::uint64_t begun = rte_rdtsc();
                    bench.worker().answer_requests();
                    worker += rte_rdtsc() - begun;
                }
            }
            if (stream.totals().connections != connections) die("not all were sent");
            print("a running worker's, in steps of control", watch.seconds(), connections);
            std::printf("  %-44s %8.2f us a turn, %.1f bytes a record\n",
                        "of it the worker's share",
                        1e6 * static_cast<double>(worker) / static_cast<double>(rte_get_tsc_hz()) /
                            static_cast<double>(turns),
                        static_cast<double>(bytes) / connections);
            if (total < bytes / 2) die("the two differ");
        }
        over_the_socket(bench, connections, path);
        ::unlink(path.c_str());
    }
    return 0;
}

}  // namespace
}  // namespace postern::bench

int main(int argc, char** argv) {
    postern::bench::CommandLine line("Saving and reading connections");
    std::uint32_t connections = 1'000'000;
    std::string path = "/tmp/state_bench";
    bool quick = false;
    postern::bench::MachineOptions machine;
    line.number("--connections", connections, "of the table", 1000, 16'000'000);
    line.text("--file", path, "the file that is written and read");
    machine.add_to(line);
    line.flag("--quick", quick, postern::bench::kQuickHelp);
    line.parse(argc, argv);
    if (quick) path += "." + std::to_string(::getpid());
    return postern::bench::run(machine, quick ? 20'000 : connections, path);
}
