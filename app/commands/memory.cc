// SPDX-License-Identifier: BSD-3-Clause
// `memory`: what the tables and packet buffers take, how full they are, and the key of each.
#include <algorithm>

#include <rte_mempool.h>

#include "commands/context.h"
#include "port/eal.h"

namespace postern {
namespace {

/// `max`: 0 if it is not known.
Json memory_row(const char* part, std::uint64_t used, std::uint64_t max, Json mb, const char* key) {
    return {{"part", part},
            {"used", used},
            {"max", max == 0 ? Json(nullptr) : Json(max)},
            {"used_percent", max == 0 ? Json(nullptr) : Json(used * 100 / max)},
            {"mb", std::move(mb)},
            {"key", key}};
}

std::vector<Json> memory_rows(const CommandContext& context) {
    Firewall& fw = context.fw;
    std::uint64_t conns = 0, max_conns = 0, conn_bytes = 0, proven = 0, max_proven = 0,
                  unproven = 0, max_unproven = 0, held = 0;
    for (unsigned w = 0; w < fw.workers(); ++w) {
        const ConnTable& t = fw.worker(w).conns();
        conns += t.count().get();
        max_conns += t.capacity();
        conn_bytes += t.memory_bytes();
        const auto& engine = fw.worker(w).helpers();
        proven += engine.use(Standing::proven).slots.get();
        max_proven += engine.use(Standing::proven).max_slots;
        unproven += engine.use(Standing::unproven).slots.get();
        max_unproven += engine.use(Standing::unproven).max_slots;
        held += fw.worker(w).counters().fragments_held.get();
    }
    std::vector<Json> rows{
        memory_row("connections", conns, max_conns, conn_bytes >> 20, "limits.connections"),
        memory_row("expectations", fw.expectations().live(), context.max_expectations, nullptr,
                   "limits.expectations"),
        memory_row("helped, proven", proven, max_proven, nullptr, "limits.helped_connections"),
        memory_row("helped, not proven", unproven, max_unproven, nullptr,
                   "limits.helped_connections"),
        memory_row("fragments", held, context.max_fragments, nullptr, "limits.fragments")};
    if (rte_mempool* const pool = rte_mempool_lookup("packets"); pool != nullptr)
        rows.push_back(memory_row(
            "packet buffers", rte_mempool_in_use_count(pool), pool->size,
            std::uint64_t{pool->size} * (pool->elt_size + pool->header_size + pool->trailer_size) >>
                20,
            "eal.memory_mb"));
    const std::uint64_t total = total_memory_mb(), free = free_memory_mb();
    rows.push_back(memory_row("DPDK's memory, in MiB", total - std::min(free, total), total, total,
                              "eal.memory_mb"));
    return rows;
}

}  // namespace

Command command_memory(const CommandContext& context) {
    return {.name = "memory",
            .help = "Show how full tables, pools and DPDK's memory are, and the key of each",
            .args = {},
            .handler = [&context](const Json&) { return Source(rows_of(memory_rows(context))); },
            .effect = Effect::read,
            .columns = {{"PART", {"part"}},
                        number("USED", "used"),
                        number("MAX", "max"),
                        number("USED%", "used_percent"),
                        number("MIB", "mb"),
                        {"KEY", {"key"}}}};
}

}  // namespace postern
