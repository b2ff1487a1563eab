// SPDX-License-Identifier: BSD-3-Clause
// Flow records: the beginning and the end of connections as rows, for log files, syslog, the
// journal.
#pragma once

#include <cstdint>

#include "conntrack/event.h"
#include "control/command.h"
#include "plan/plan.h"

namespace postern {

/// Converts the workers' clock to the wall clock.
class TickWall {
  public:
    TickWall(Tick now, std::int64_t wall_us) noexcept : now_(now), wall_us_(wall_us) {}
    /// Of a time at most 49 days ago.
    std::int64_t us(Tick t) const noexcept {
        const std::uint32_t ago = now_.ms - t.ms;
        // A worker's turn may have begun after `now`.
        return ago >= kAhead ? wall_us_ : wall_us_ - std::int64_t{ago} * 1000;
    }
    std::int64_t ms(Tick t) const noexcept { return us(t) / 1000; }

  private:
    static constexpr std::uint32_t kAhead = 0u - 60'000;
    Tick now_;
    std::int64_t wall_us_;
};

/// Milliseconds from its first packet to its last one, at most 49 days.
inline std::uint32_t duration_ms(const Conn& conn) noexcept {
    return conn.last_seen_ms - conn.start_ms;
}

/// `event` is `new` or `destroy`, as in `conntrack events`. Times are RFC 3339, UTC.
Json flow_row(const Plan& plan, const ConnEvent& event, const TickWall& clock);

}  // namespace postern
