// SPDX-License-Identifier: BSD-3-Clause
// Counters of packets that a worker does not forward.
#pragma once

#include <array>

#include "base/drop_reason.h"
#include "base/types.h"
#include "metrics/metric.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_DROP_METRICS(X) \
    X(dropped, counter, packets, "frames not forwarded, for all reasons; the sum of `drops`")

struct DropCounters {
    POSTERN_METRICS(POSTERN_DROP_METRICS)
    std::array<Counter, kDropReasons> drops;
    static constexpr MetricDesc kDropsDesc{"drops", "packets not forwarded, by reason",
                                           Unit::packets};
    std::array<Counter, kMaxPorts> wrong_zone;  ///< of these, for this reason, by input port
    static constexpr MetricDesc kWrongZoneDesc{
        "wrong_zone", "frames dropped because their connection is between other zones",
        Unit::packets};
    std::array<Counter, kMaxPorts> spoofed;
    static constexpr MetricDesc kSpoofedDesc{
        "spoofed", "frames dropped because their source address belongs to another zone",
        Unit::packets};

    void count_dropped(unsigned frames, DropReason why) noexcept {
        drops[static_cast<unsigned>(why)].add(frames);
        dropped.add(frames);
    }
};

}  // namespace postern
