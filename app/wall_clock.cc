// SPDX-License-Identifier: BSD-3-Clause
#include "wall_clock.h"

#include <chrono>
#include <ctime>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace postern {

std::int64_t wall_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

std::string local_time(std::int64_t ms) {
    const std::tm local = fmt::localtime(static_cast<std::time_t>(ms / 1000));
    return fmt::format("{:%FT%T}.{:03}{:%z}", local, ms % 1000, local);
}

}  // namespace postern
