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
    /// The same by port: the one that they came in at, or that did not take them (`tx_full`,
    /// `link_down`).
    std::array<std::array<Counter, kDropReasons>, kMaxPorts> drops_at;
    static constexpr MetricDesc kDropsAtDesc{
        "port_drops",
        "packets not forwarded, by reason and by the port they came in at or did not "
        "leave by",
        Unit::packets};

    /// Counts by reason; not in `dropped`.
    void count_reason(unsigned frames, DropReason why, PortId port) noexcept {
        drops[static_cast<unsigned>(why)].add(frames);
        drops_at[port.number()][static_cast<unsigned>(why)].add(frames);
    }
    void count_dropped(unsigned frames, DropReason why, PortId port) noexcept {
        count_reason(frames, why, port);
        dropped.add(frames);
    }
};

}  // namespace postern
