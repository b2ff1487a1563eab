// SPDX-License-Identifier: BSD-3-Clause
// `latency`: how long packets were in the box, from just before they were taken from the port until
// they were given to the other one. The time in the queues of the devices is not part of it.
#include <array>

#include <rte_cycles.h>

#include "commands/context.h"
#include "loop_stats.h"

namespace postern {
namespace {

double percent(std::uint64_t part, std::uint64_t of) {
    if (of == 0) return 0;
    return static_cast<double>(part * 10000 / of) / 100;
}

std::vector<Json> latency_rows(const std::vector<LoopStats>& loops) {
    std::array<std::uint64_t, LoopStats::kLatencies> packets{};
    std::uint64_t all = 0, so_far = 0;
    for (const LoopStats& loop : loops)
        for (unsigned i = 0; i < packets.size(); ++i) {
            packets[i] += loop.latencies[i].get();
            all += loop.latencies[i].get();
        }
    std::vector<Json> rows;
    const double cycles_per_us = static_cast<double>(rte_get_tsc_hz()) / 1e6;
    for (unsigned i = 0; i < packets.size(); ++i) {
        so_far += packets[i];
        const double us = static_cast<double>(LoopStats::latency_limit(i)) / cycles_per_us;
        rows.push_back(
            {{"below_us", static_cast<double>(static_cast<std::int64_t>(us * 100)) / 100},
             {"packets", packets[i]},
             {"percent", percent(packets[i], all)},
             {"up_to_percent", percent(so_far, all)}});
    }
    return rows;
}

}  // namespace

Command command_latency(const CommandContext& context) {
    return {.name = "latency",
            .help =
                "Show how long packets were in the box since the start, without the devices' "
                "queues",
            .args = {},
            .handler =
                [&context](const Json&) {
                    if (context.loops == nullptr) return Source(rows_of({}));
                    return Source(rows_of(latency_rows(*context.loops)));
                },
            .effect = Effect::read,
            .columns = {number("BELOW_US", "below_us"), number("PACKETS", "packets"),
                        number("PERCENT", "percent"), number("UP_TO_PERCENT", "up_to_percent")},
            .zeros = "packets"};
}

}  // namespace postern
