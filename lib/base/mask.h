// SPDX-License-Identifier: BSD-3-Clause
// Mask: some packets of a burst, of which packet i is bit i.
#pragma once

#include <bit>
#include <cstdint>

#include "base/types.h"

namespace postern {

using Mask = std::uint64_t;
static_assert(kMaxBurst == 64, "a mask has one bit a packet");

constexpr Mask bit(unsigned i) noexcept {
    return Mask{1} << i;
}
constexpr Mask first_n(unsigned n) noexcept {
    return n >= 64 ? ~Mask{0} : bit(n) - 1;
}

/// Calls fn(i) for each set bit, lowest (oldest packet) first.
template <class Fn>
inline void for_each(Mask mask, Fn&& fn) noexcept {
    for (; mask != 0; mask &= mask - 1)
        fn(static_cast<unsigned>(std::countr_zero(mask)));
}

}  // namespace postern
