// SPDX-License-Identifier: BSD-3-Clause
// What the benchmarks of the whole path are told alike, and how each of them starts.
#pragma once

#include <fstream>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <sched.h>

#include "path_lab.h"
#include "port/eal.h"

namespace postern::bench {

/// Where they run.
struct MachineOptions {
    int cpu = -1;  ///< negative: any
    bool no_huge = false;

    void add_to(CLI::App& app) {
        app.add_option("--cpu", cpu, "run on this CPU");
        app.add_flag("--no-huge", no_huge, "do not use hugepages");
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
    void add_to(CLI::App& app) {
        MachineOptions::add_to(app);
        app.add_option("--runs", runs, "runs of each row")->check(CLI::Range(1u, 1000u));
        app.add_option("--only", only, "rows whose name has this in it");
    }
    void add_json_to(CLI::App& app) {
        app.add_option("--json", json, "write every run's value to this file, too");
    }
    void save(const nlohmann::json& rows) const {
        if (json.empty()) return;
        std::ofstream out(json);
        out << rows.dump(1) << '\n';
        if (!out.flush()) die("cannot write " + json);
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
