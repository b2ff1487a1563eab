// SPDX-License-Identifier: BSD-3-Clause
// The counters of every helper instance on each worker. One line a counter binds the enumerator,
// the displayed name, and the help text; a helper's own counters follow these.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/counter.h"
#include "metrics/metric.h"

namespace postern {

/// A helper's own counter is a metric: name and help text, and its unit if that is not `events`.
using CounterDesc = MetricDesc;

// X(name, kind, unit, help)
#define POSTERN_HELPER_METRICS(X)                                                                  \
    X(attached, counter, connections, "connections given this helper")                             \
    X(attach_failed, counter, connections, "connections without it: all helper slots were in use") \
    X(displaced_source, counter, connections,                                                      \
      "slot displaced in a full pool: the source exceeded its share")                              \
    X(displaced_destination, counter, connections,                                                 \
      "slot displaced in a full pool: the destination exceeded its share")                         \
    X(displaced_helper, counter, connections,                                                      \
      "slot displaced in a full pool: the helper exceeded its share")                              \
    X(displaced_zone, counter, connections,                                                        \
      "slot displaced in a full pool: the zone exceeded its share")                                \
    X(displaced_oldest, counter, connections,                                                      \
      "slot displaced in a full pool: least recently used")                                        \
    X(unproven_timeout, counter, connections, "slot released: the peer did not answer in time")    \
    X(announced_unexpected, counter, events,                                                       \
      "announcements that passed without an expectation: it could not be filed")                   \
    X(scanned_bytes, counter, bytes, "in-order payload bytes scanned")                             \
    X(messages, counter, messages, "messages that woke the parser")                                \
    X(expectations, counter, expectations, "expectations requested that passed all guards")        \
    X(parse_errors, counter, messages,                                                             \
      "messages that matched but could not be parsed; they passed")                                \
    X(third_party_address, counter, events,                                                        \
      "refused: the announced address is not the announcing peer's own")                           \
    X(privileged_port, counter, events, "refused: the announced port is below 1024")               \
    X(denied_port, counter, events, "refused: the announced port is on the deny list")             \
    X(denied_service, counter, events,                                                             \
      "refused: the announced port is a denied service (`deny_services`)")                         \
    X(wrong_direction, counter, events, "refused: sent by the wrong side")                         \
    X(wrong_family, counter, events, "refused: the announced address is of another family")        \
    X(not_proven, counter, events, "refused: no proof of protocol yet")                            \
    X(class_limit, counter, expectations,                                                          \
      "refused: more expectations in one message than the class allows")                           \
    X(action_limit, counter, events, "refused: too many activations and removals in one packet")   \
    X(superseded, counter, events, "requests replaced by later ones of the same packet")           \
    X(undone, counter, packets,                                                                    \
      "packets whose parsing was rolled back, to be repeated with the retransmission")             \
    X(bad_checksum, counter, packets,                                                              \
      "packets not read: wrong checksum, so the receiver drops them")                              \
    X(partial_checksum, counter, packets,                                                          \
      "packets not read: the sender left the checksum to its device")                              \
    X(blind_gap, counter, events, "streams given up: bytes were missing for too long")             \
    X(blind_overflow, counter, events, "streams given up: a message exceeded the maximum length")  \
    X(blind_midstream, counter, events, "streams given up: their first byte was not seen")         \
    X(blind_no_buffer, counter, events, "streams given up: all stream buffers were in use")        \
    X(blind_displaced, counter, events, "streams given up: another stream displaced their buffer") \
    X(blind_restored, counter, connections,                                                        \
      "connections given up: bytes were missed while the firewall restarted")                      \
    X(blind_not_protocol, counter, connections, "connections given up: not the helper's protocol") \
    X(blind_encrypted, counter, connections, "connections given up: encrypted")

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
    /// HelperInstance::identity of the helper that they count; 0: of none. Release and acquire:
    /// who sees the identity sees counts of that helper.
    std::atomic<std::uint64_t> of{0};

    Counter& operator[](HelperCounter c) noexcept { return at[static_cast<unsigned>(c)]; }
    const Counter& operator[](HelperCounter c) const noexcept {
        return at[static_cast<unsigned>(c)];
    }
    Counter& own(unsigned i) noexcept { return at[kHelperCounters + i]; }
    /// Begins at 0 for another helper. Does nothing for the one that they count.
    void count_for(std::uint64_t identity) noexcept {
        if (of.load(std::memory_order_relaxed) == identity) return;
        of.store(0, std::memory_order_relaxed);
        std::atomic_thread_fence(std::memory_order_release);
        for (Counter& c : at)
            c.set(0);
        of.store(identity, std::memory_order_release);
    }
};

}  // namespace postern
