// SPDX-License-Identifier: BSD-3-Clause
// `metrics`: every metric with its description, for programs.
#include "commands/context.h"

namespace postern {
namespace {

Json metric_row(const MetricSample& s) {
    Json labels = Json::object();
    for (const MetricLabel& l : s.labels)
        labels[std::string(l.name)] = l.value;
    Json row{{"group", s.group},
             {"name", s.desc.name},
             {"kind", to_string(s.desc.kind)},
             {"unit", to_string(s.desc.unit)},
             {"labels", labels},
             {"value", s.value},
             {"help", s.desc.help}};
    if (s.histogram == nullptr) return row;
    // Cumulative, as programs that draw histograms expect; the last bucket has no limit.
    Json buckets = Json::array();
    std::uint64_t n = 0;
    for (unsigned i = 0; i < Histogram::kBuckets; ++i) {
        n += s.histogram->bucket(i);
        const bool last = i + 1 == Histogram::kBuckets;
        buckets.push_back(
            {{"below", last ? Json(nullptr) : Json(Histogram::limit(i))}, {"count", n}});
    }
    row["sum"] = s.histogram->sum();
    row["buckets"] = std::move(buckets);
    return row;
}

std::vector<Json> metric_rows(const MetricRegistry& metrics) {
    std::vector<Json> rows;
    metrics.for_each([&rows](const MetricSample& s) { rows.push_back(metric_row(s)); });
    return rows;
}

}  // namespace

Command command_metrics(const CommandContext& context) {
    return {.name = "metrics",
            .help = "Show every counter, gauge and histogram with its labels, kind and unit",
            .args = {},
            .handler = [&metrics = context.metrics](
                           const Json&) { return Source(rows_of(metric_rows(metrics))); },
            .effect = Effect::read,
            .columns = {{"GROUP", {"group"}},
                        {"NAME", {"name"}},
                        {"LABELS", {"labels"}},
                        number("VALUE", "value"),
                        ranked(2, {"UNIT", {"unit"}}),
                        ranked(3, {"KIND", {"kind"}}),
                        ranked(4, {"HELP", {"help"}})},
            .zeros = "value"};
}

}  // namespace postern
