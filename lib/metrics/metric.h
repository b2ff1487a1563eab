// SPDX-License-Identifier: BSD-3-Clause
// MetricDesc: name, kind, unit and meaning of a counter.
//
// What: each owner of counters declares them as a list, one line a metric, X(name, kind, unit,
// help); POSTERN_METRICS makes fields, descriptions and an iteration over both from it. Views
// (`stats`, `metrics`) print the contents of MetricRegistry (registry.h); nothing else names a
// metric.
// Used by: every folder that counts. Cost: a field is a Counter, nothing more.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/counter.h"
#include "metrics/histogram.h"

namespace postern {

enum class MetricKind : std::uint8_t {
    counter,   ///< only grows, until the program ends
    gauge,     ///< goes up and down
    histogram  ///< counts values by size
};

enum class Unit : std::uint8_t {
    events,  ///< occurrences, as defined by the help text
    packets,
    bytes,
    connections,
    expectations,
    messages,
    buffers,
    slots,
    clients,
    requests,
    rows,
    microseconds
};

constexpr std::string_view to_string(MetricKind k) noexcept {
    constexpr std::string_view kNames[] = {"counter", "gauge", "histogram"};
    return kNames[static_cast<unsigned>(k)];
}
constexpr std::string_view to_string(Unit u) noexcept {
    constexpr std::string_view kNames[] = {"events",       "packets",  "bytes",   "connections",
                                           "expectations", "messages", "buffers", "slots",
                                           "clients",      "requests", "rows",    "microseconds"};
    return kNames[static_cast<unsigned>(u)];
}

struct MetricDesc {
    std::string_view name;
    std::string_view help;
    Unit unit = Unit::events;
    MetricKind kind = MetricKind::counter;
};

// For POSTERN_METRICS only.
#define POSTERN_METRIC_TYPE_counter Counter
#define POSTERN_METRIC_TYPE_gauge Counter
#define POSTERN_METRIC_TYPE_histogram Histogram
#define POSTERN_METRIC_FIELD(name, kind, unit, help) POSTERN_METRIC_TYPE_##kind name;
#define POSTERN_METRIC_PLAIN_FIELD(name, kind, unit, help) std::uint64_t name = 0;
#define POSTERN_METRIC_DESC(name, kind, unit, help) \
    ::postern::MetricDesc{#name, help, ::postern::Unit::unit, ::postern::MetricKind::kind},
#define POSTERN_METRIC_READ(name, kind, unit, help) read(*desc++, name);
#define POSTERN_METRIC_WALK(LIST)                                                    \
    static constexpr ::postern::MetricDesc kDescs[] = {LIST(POSTERN_METRIC_DESC)};   \
    /** read(const MetricDesc&, field) for each metric, in the order of the list. */ \
    template <class Read>                                                            \
    void each(Read&& read) const {                                                   \
        const ::postern::MetricDesc* desc = kDescs;                                  \
        LIST(POSTERN_METRIC_READ)                                                    \
    }

/// The metrics of a list as members of the struct in which this stands. Each has one writer; any
/// thread may read.
#define POSTERN_METRICS(LIST)  \
    LIST(POSTERN_METRIC_FIELD) \
    POSTERN_METRIC_WALK(LIST)
/// The same as plain numbers, for one thread, or for a copy.
#define POSTERN_PLAIN_METRICS(LIST)  \
    LIST(POSTERN_METRIC_PLAIN_FIELD) \
    POSTERN_METRIC_WALK(LIST)

}  // namespace postern
