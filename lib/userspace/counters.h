// SPDX-License-Identifier: BSD-3-Clause
// Counters of a helper in another process on each worker, besides those of every helper: its
// HelperDesc::counters, by the enumerator.
#pragma once

#include <array>
#include <cstdint>

#include "helper/counters.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_USERSPACE_METRICS(X)                                                   \
    X(userspace_asked, counter, requests, "questions sent to its process")             \
    X(userspace_answered, counter, requests, "answers received in time")               \
    X(userspace_stale, counter, events,                                                \
      "answers discarded: late, repeated, or for a connection that has ended")         \
    X(userspace_bypassed, counter, packets,                                            \
      "packets that passed unread: its process was absent, late or too busy")          \
    X(userspace_absent, counter, packets,                                              \
      "packets dropped for the same reasons, with `bypass: false`")                    \
    X(userspace_late, counter, requests, "questions not answered in time")             \
    X(userspace_refused, counter, packets, "packets dropped at its process's request") \
    X(userspace_too_long, counter, messages, "messages too long for a question")       \
    X(userspace_no_slot, counter, requests,                                            \
      "questions not sent: the ring to its process was full")                          \
    X(userspace_ends_untold, counter, connections,                                     \
      "end-of-connection records not sent: the ring to its process was full")

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
