// SPDX-License-Identifier: BSD-3-Clause
// The wall clock. Not for workers.
#pragma once

#include <chrono>
#include <cstdint>

namespace postern {

/// Milliseconds since 1970.
inline std::int64_t wall_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace postern
