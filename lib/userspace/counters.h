// SPDX-License-Identifier: BSD-3-Clause
// What a helper in another process counts on each worker besides what every helper does: its
// HelperDesc::counters, by the place of the enumerator.
#pragma once

#include <array>
#include <cstdint>

#include "helper/counters.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_USERSPACE_METRICS(X)                                                         \
    X(userspace_asked, counter, requests, "questions put to its process")                    \
    X(userspace_answered, counter, requests, "answers that came in time")                    \
    X(userspace_stale, counter, events,                                                      \
      "answers to nobody: too late, given twice, or for a connection that ended")            \
    X(userspace_bypassed, counter, packets,                                                  \
      "packets passed unread by its process: it was absent, late or too busy")               \
    X(userspace_absent, counter, packets, "packets dropped for that, where `bypass` is off") \
    X(userspace_late, counter, requests, "questions whose answer did not come in time")      \
    X(userspace_refused, counter, packets, "packets dropped because its process said so")    \
    X(userspace_too_long, counter, messages, "messages longer than can be asked about")      \
    X(userspace_no_slot, counter, requests,                                                  \
      "questions not asked: the ring to its process was full")                               \
    X(userspace_ends_untold, counter, connections,                                           \
      "ended connections its process was not told of: that ring was full")

enum class UserspaceCounter : std::uint8_t {
#define X(name, kind, unit, help) name,
    POSTERN_USERSPACE_METRICS(X)
#undef X
    kCount
};

inline constexpr std::array<CounterDesc, static_cast<unsigned>(UserspaceCounter::kCount)>
    kUserspaceCounterTable{{POSTERN_USERSPACE_METRICS(POSTERN_METRIC_DESC)}};
static_assert(kUserspaceCounterTable.size() <= kMaxOwnCounters);

}  // namespace postern
