// SPDX-License-Identifier: BSD-3-Clause
// `drops`: a view of the metric of that name, summed over the workers.
#include <map>

#include "base/drop_reason.h"
#include "commands/context.h"
#include "metric_sources.h"

namespace postern {
namespace {

std::vector<Json> drop_rows(const MetricRegistry& metrics) {
    std::map<std::string, std::uint64_t, std::less<>> by_reason;
    metrics.for_each([&by_reason](const MetricSample& s) {
        if (s.group == metric_group::drops) by_reason[std::string(s.label("reason"))] += s.value;
    });
    std::vector<Json> rows;
    for (const DropReasonInfo& reason : drop_reason_table())
        if (const auto found = by_reason.find(reason.name); found != by_reason.end())
            rows.push_back(
                {{"reason", reason.name}, {"packets", found->second}, {"help", reason.help}});
    return rows;
}

}  // namespace

Command command_drops(const CommandContext& context) {
    return {.name = "drops",
            .help = "Show dropped packets, by reason",
            .args = {},
            .handler = [&metrics = context.metrics](
                           const Json&) { return Source(rows_of(drop_rows(metrics))); },
            .effect = Effect::read,
            .columns = {{"REASON", {"reason"}}, number("PACKETS", "packets"), {"HELP", {"help"}}},
            .zeros = "packets"};
}

}  // namespace postern
