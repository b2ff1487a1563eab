// SPDX-License-Identifier: BSD-3-Clause
// The daemon's metrics in the text formats that Prometheus and its relatives read: OpenMetrics 1.0,
// and Prometheus' own 0.0.4. Pure functions over the rows of `metrics`.
//
// Names: postern_GROUP_NAME_UNIT, with `_total` for counters. The group or the unit is not repeated
// if the name has it already; `events` is no unit. Microseconds become seconds, the base unit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace postern {

struct MetricRow {
    struct Bucket {
        std::optional<std::uint64_t> below;  ///< none: the last bucket
        std::uint64_t count = 0;             ///< of this one and all before
    };
    using Labels = std::vector<std::pair<std::string, std::string>>;

    std::string group, name, kind, unit, help;
    Labels labels;
    std::uint64_t value = 0;
    std::uint64_t sum = 0;        ///< of a histogram
    std::vector<Bucket> buckets;  ///< of a histogram
    /// For values that are no integers, such as durations; replaces `value`.
    std::optional<double> real{};
};

enum class MetricFormat {
    open_metrics,  ///< application/openmetrics-text; version=1.0.0
    prometheus     ///< text/plain; version=0.0.4
};
const char* content_type(MetricFormat format);
/// The format that an Accept header prefers.
MetricFormat preferred_format(std::string_view accept);

/// Reads a row of the daemon's `metrics`.
Result<MetricRow> read_metric(std::string_view row);

/// The name of the family, without `_total`.
std::string family_name(const MetricRow& row);

/// All rows as one exposition. A family has at most kMaxSeries label sets: those beyond are left
/// out, and their number is a metric of its own.
std::string metrics_text(const std::vector<MetricRow>& rows, MetricFormat format);
inline constexpr std::size_t kMaxSeries = 10'000;

}  // namespace postern
