// SPDX-License-Identifier: BSD-3-Clause
// What fuzz targets say when an oracle is broken.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace postern {

inline void require(bool ok, const char* what) {
    if (ok) return;
    std::fprintf(stderr, "oracle: %s\n", what);
    std::abort();
}

}  // namespace postern
