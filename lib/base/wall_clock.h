// SPDX-License-Identifier: BSD-3-Clause
// The wall clock: it may be set, forward and back. Times that must pass are measured by a steady
// clock instead. For control: it is a system call on some machines.
#pragma once

#include <chrono>
#include <cstdint>

namespace postern {

/// Microseconds since 1970.
inline std::int64_t wall_us() {
    using namespace std::chrono;
    return duration_cast<microseconds>(system_clock::now().time_since_epoch()).count();
}

/// Milliseconds since 1970.
inline std::int64_t wall_ms() {
    return wall_us() / 1000;
}

}  // namespace postern
