// SPDX-License-Identifier: BSD-3-Clause
// What every helper instance counts on each worker. One line a counter binds the enumerator, the
// name shown to people and scripts, and the help text; a helper's own counters follow these.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/counter.h"
#include "metrics/metric.h"

namespace postern {

/// A helper's own counter is a metric: name and help text, and its unit if that is not `events`.
using CounterDesc = MetricDesc;

// X(name, kind, unit, help)
#define POSTERN_HELPER_METRICS(X)                                                           \
    X(attached, counter, connections, "connections that got this helper")                   \
    X(attach_failed, counter, connections,                                                  \
      "connections that passed without it: all slots were taken")                           \
    X(displaced_source, counter, connections,                                               \
      "lost it, full pool: their source had more than its share")                           \
    X(displaced_destination, counter, connections,                                          \
      "lost it, full pool: their destination had more than its share")                      \
    X(displaced_helper, counter, connections,                                               \
      "lost it, full pool: their helper had more than its share")                           \
    X(displaced_zone, counter, connections,                                                 \
      "lost it, full pool: their zone had more than its share")                             \
    X(displaced_oldest, counter, connections,                                               \
      "lost it, full pool: they were the least recently used")                              \
    X(unproven_timeout, counter, connections, "lost it: no answer in time")                 \
    X(announced_unexpected, counter, events,                                                \
      "announcements that passed although nothing could be filed")                          \
    X(scanned_bytes, counter, bytes, "in-order payload bytes that were scanned")            \
    X(messages, counter, messages, "messages that woke the parser")                         \
    X(expectations, counter, expectations, "expectations it asked for, after all guards")   \
    X(parse_errors, counter, messages,                                                      \
      "messages that looked right but could not be read; they passed")                      \
    X(third_party_address, counter, events,                                                 \
      "refused: the announced address is not the announcing peer's own")                    \
    X(privileged_port, counter, events, "refused: the announced port is below 1024")        \
    X(denied_port, counter, events, "refused: the announced port is on the deny list")      \
    X(denied_service, counter, events,                                                      \
      "refused: a way to a service of the host that began the connection")                  \
    X(wrong_direction, counter, events, "refused: said by the side that may not say it")    \
    X(wrong_family, counter, events, "refused: the announced address is of another family") \
    X(not_proven, counter, events, "refused: the protocol had not yet proven itself")       \
    X(class_limit, counter, expectations,                                                   \
      "refused: more expectations in one message than the class allows")                    \
    X(action_limit, counter, events,                                                        \
      "refused: more activations and removals in one packet than are kept")                 \
    X(superseded, counter, events, "requests replaced by later ones of the same packet")    \
    X(undone, counter, packets,                                                             \
      "packets whose reading was undone, to be read again when retransmitted")              \
    X(bad_checksum, counter, packets,                                                       \
      "packets not read: a checksum is wrong, their receiver drops them")                   \
    X(partial_checksum, counter, packets,                                                   \
      "packets not read: their sender left the checksum to its device")                     \
    X(blind_gap, counter, events, "streams given up: bytes were missing for too long")      \
    X(blind_overflow, counter, events, "streams given up: a message longer than may be")    \
    X(blind_midstream, counter, events, "streams given up: their first byte was not seen")  \
    X(blind_no_buffer, counter, events, "streams given up: all stream buffers were taken")  \
    X(blind_displaced, counter, events, "streams given up: another one took their buffer")  \
    X(blind_not_protocol, counter, connections,                                             \
      "connections given up: they do not speak the helper's protocol")                      \
    X(blind_encrypted, counter, connections, "connections given up: encrypted from some point on")

enum class HelperCounter : std::uint8_t {
#define X(name, kind, unit, help) name,
    POSTERN_HELPER_METRICS(X)
#undef X
    kCount
};

inline constexpr unsigned kHelperCounters = static_cast<unsigned>(HelperCounter::kCount);
inline constexpr unsigned kMaxOwnCounters = 26;

inline constexpr std::array<CounterDesc, kHelperCounters> kHelperCounterTable{
    {POSTERN_HELPER_METRICS(POSTERN_METRIC_DESC)}};

/// The counters of one helper instance on one worker, on cache lines of their own.
/// worker: writes; control: reads at any time.
struct alignas(64) HelperCounters {
    std::array<Counter, kHelperCounters + kMaxOwnCounters> at;
    Counter of;  ///< HelperInstance::identity of the helper that they count

    Counter& operator[](HelperCounter c) noexcept { return at[static_cast<unsigned>(c)]; }
    const Counter& operator[](HelperCounter c) const noexcept {
        return at[static_cast<unsigned>(c)];
    }
    Counter& own(unsigned i) noexcept { return at[kHelperCounters + i]; }
    /// Begins at 0 for another helper. Does nothing for the one that they count.
    void count_for(std::uint64_t identity) noexcept {
        if (of.get() == identity) return;
        for (Counter& c : at)
            c.set(0);
        of.set(identity);
    }
};

}  // namespace postern
