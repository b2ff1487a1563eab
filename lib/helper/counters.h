// SPDX-License-Identifier: BSD-3-Clause
// What every helper instance counts on each worker. One line a counter binds the enumerator, the
// name shown to people and scripts, and the help text; a helper's own counters follow these.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/counter.h"

namespace postern {

struct CounterDesc {
    std::string_view name;
    std::string_view help;
};

// X(name, help)
#define POSTERN_HELPER_COUNTERS(X)                                                            \
    X(attached, "connections that got this helper")                                           \
    X(attach_failed, "connections that passed without it: all slots were taken")              \
    X(scanned_bytes, "in-order payload bytes that were scanned")                              \
    X(messages, "messages that woke the parser")                                              \
    X(expectations, "expectations it asked for, after all guards")                            \
    X(parse_errors, "messages that looked right but could not be read; they passed")          \
    X(third_party_address, "refused: the announced address is not the announcing peer's own") \
    X(privileged_port, "refused: the announced port is below 1024")                           \
    X(denied_port, "refused: the announced port is on the deny list")                         \
    X(wrong_direction, "refused: said by the side that may not say it")                       \
    X(wrong_family, "refused: the announced address is of another family")                    \
    X(not_proven, "refused: the protocol had not yet proven itself")                          \
    X(class_limit, "refused: more expectations in one message than the class allows")         \
    X(action_limit, "refused: more activations and removals in one packet than are kept")     \
    X(superseded, "requests replaced by later ones of the same packet")                       \
    X(undone, "packets whose reading was undone, to be read again when retransmitted")        \
    X(blind_gap, "streams given up: bytes were missing for too long")                         \
    X(blind_overflow, "streams given up: a message longer than may be")                       \
    X(blind_midstream, "streams given up: their first byte was not seen")                     \
    X(blind_no_buffer, "streams given up: all stream buffers were taken")                     \
    X(blind_not_protocol, "connections given up: they do not speak the helper's protocol")    \
    X(blind_encrypted, "connections given up: encrypted from some point on")

enum class HelperCounter : std::uint8_t {
#define X(name, help) name,
    POSTERN_HELPER_COUNTERS(X)
#undef X
    kCount
};

inline constexpr unsigned kHelperCounters = static_cast<unsigned>(HelperCounter::kCount);
inline constexpr unsigned kMaxOwnCounters = 26;

inline constexpr std::array<CounterDesc, kHelperCounters> kHelperCounterTable{{
#define X(name, help) {#name, help},
    POSTERN_HELPER_COUNTERS(X)
#undef X
}};

/// The counters of one helper instance on one worker, on cache lines of their own.
/// worker: writes; control: reads at any time.
struct alignas(64) HelperCounters {
    std::array<Counter, kHelperCounters + kMaxOwnCounters> at;

    Counter& operator[](HelperCounter c) noexcept { return at[static_cast<unsigned>(c)]; }
    const Counter& operator[](HelperCounter c) const noexcept {
        return at[static_cast<unsigned>(c)];
    }
    Counter& own(unsigned i) noexcept { return at[kHelperCounters + i]; }
};

}  // namespace postern
