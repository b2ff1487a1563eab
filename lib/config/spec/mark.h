// SPDX-License-Identifier: BSD-3-Clause
#pragma once

namespace postern {

/// Position of an item in the file; both count from 1.
struct SpecMark {
    unsigned line = 0;
    unsigned column = 0;
};

}  // namespace postern
