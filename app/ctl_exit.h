// SPDX-License-Identifier: BSD-3-Clause
// How posternctl ends.
#pragma once

#include <cstdio>
#include <string>

namespace postern {

inline constexpr int kOk = 0;
inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;

/// Says what is wrong, and returns this code.
inline int complain(const std::string& message, int code) {
    std::fprintf(stderr, "posternctl: %s\n", message.c_str());
    return code;
}

}  // namespace postern
