// SPDX-License-Identifier: BSD-3-Clause
// What the benchmarks of the whole path are told alike, and how each of them starts.
#pragma once

#include <string>

#include <sched.h>

#include "command_line.h"
#include "path_lab.h"
#include "port/eal.h"

namespace postern::bench {

/// Where they run.
struct MachineOptions {
    int cpu = -1;  ///< negative: any
    bool no_huge = false;

    void add_to(CommandLine& line) {
        line.number("--cpu", cpu, "run on this CPU");
        line.flag("--no-huge", no_huge, "do not use hugepages");
    }
};

/// And which rows they print, how often measured.
struct RowOptions : MachineOptions {
    unsigned runs = 5;
    std::string only;  ///< rows whose name has this in it; empty: all
    std::string json;  ///< a file for every run's value, too; empty: none

    bool wants(const std::string& row) const {
        return only.empty() || row.find(only) != std::string::npos;
    }
    void add_to(CommandLine& line) {
        MachineOptions::add_to(line);
        line.number("--runs", runs, "runs of each row", 1, 1000);
        line.text("--only", only, "rows whose name has this in it");
    }
    void add_json_to(CommandLine& line) {
        line.text("--json", json, "write every run's value to this file, too");
    }
    void save(double ghz, const std::vector<Row>& rows) const {
        if (!json.empty()) save_rows(json, ghz, rows);
    }
};

/// MiB for tables of so many connections, and what a firewall has besides.
constexpr std::uint32_t memory_for(std::uint32_t connections) {
    return static_cast<std::uint32_t>(std::uint64_t{connections} * 320 >> 20) + 384;
}

/// Starts the EAL. Packet buffers, of which a thread may keep `cached`.
inline rte_mempool* start(const MachineOptions& o, std::uint32_t memory_mb,
                          unsigned buffers = 4 * kRingBursts * kBurst - 1, unsigned cached = 256) {
    EalConfig eal;
    if (o.no_huge) eal.hugepages = EalConfig::Huge::no;
    eal.memory_mb = memory_mb;
    eal.main_cpu = static_cast<std::uint16_t>(o.cpu >= 0 ? o.cpu : sched_getcpu());
    if (auto r = start_eal(eal); !r) die(r.error().message);
    rte_mempool* pool = rte_pktmbuf_pool_create("packets", buffers, cached, 0,
                                                RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (pool == nullptr) die("no memory for packet buffers");
    return pool;
}

}  // namespace postern::bench
