// SPDX-License-Identifier: BSD-3-Clause
// RateLimit: a number a second, spread over it (a token bucket that holds one second's worth).
//
// One thread owns it, and updates the time in its turns; taking is a decrement.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/types.h"

namespace postern {

class RateLimit {
  public:
    /// 0: no limit.
    RateLimit(std::uint32_t per_second, Tick now) noexcept
        : per_second_(per_second), left_(per_second != 0 ? per_second : UINT32_MAX), filled_(now) {}

    /// Adds the tokens since the last call. `now` may not go back.
    void refill(Tick now) noexcept {
        if (now == filled_) return;
        if (per_second_ == 0) {
            left_ = UINT32_MAX;
            filled_ = now;
            return;
        }
        const auto passed_ms = static_cast<std::uint32_t>(std::clamp(now - filled_, 0, 1000));
        const std::uint64_t earned = std::uint64_t{passed_ms} * per_second_ + rest_;
        rest_ = static_cast<std::uint32_t>(earned % 1000);
        left_ =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(left_ + earned / 1000, per_second_));
        filled_ = now;
    }
    bool take() noexcept {
        if (left_ == 0) return false;
        --left_;
        return true;
    }

  private:
    std::uint32_t per_second_;
    std::uint32_t left_;
    std::uint32_t rest_ = 0;  ///< thousandths of a token that are not added yet
    Tick filled_;
};

}  // namespace postern
