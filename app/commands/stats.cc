// SPDX-License-Identifier: BSD-3-Clause
// `stats`: a view of all metrics of workers, tables, ports and of the control sockets.
#include "commands/context.h"
#include "metric_sources.h"

namespace postern {
namespace {

/// The text that `stats` shows in place of a worker's number.
Json place_of(const MetricSample& s) {
    if (const auto worker = s.label("worker"); !worker.empty())
        return std::stoi(std::string(worker));
    if (const auto port = s.label("port"); !port.empty()) return "port " + std::string(port);
    return "all";
}

std::vector<Json> stats_rows(const MetricRegistry& metrics) {
    std::vector<Json> rows;
    metrics.for_each([&rows](const MetricSample& s) {
        // These have views of their own.
        for (const auto other : {metric_group::drops, metric_group::helper, metric_group::process,
                                 metric_group::rule, metric_group::set})
            if (s.group == other) return;
        if (s.desc.name == WorkerCounters::kDropsAtDesc.name) return;  // `port show` has them
        rows.push_back({{"worker", place_of(s)},
                        {"name", s.desc.name},
                        {"value", s.value},
                        {"kind", to_string(s.desc.kind)},
                        {"unit", to_string(s.desc.unit)},
                        {"help", s.desc.help}});
    });
    return rows;
}

}  // namespace

Command command_stats(const CommandContext& context) {
    return {.name = "stats",
            .help = "Show all counters, by worker and port",
            .args = {},
            .handler = [&metrics = context.metrics](
                           const Json&) { return Source(rows_of(stats_rows(metrics))); },
            .effect = Effect::read,
            .columns = {number("WORKER", "worker"),
                        {"NAME", {"name"}},
                        number("VALUE", "value"),
                        {"HELP", {"help"}}},
            .zeros = "value"};
}

}  // namespace postern
