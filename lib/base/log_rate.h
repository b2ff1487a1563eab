// SPDX-License-Identifier: BSD-3-Clause
// LogRate: how many records a second a rule or a drop reason may log. LogBudget: a worker's share
// of it, a token bucket that holds one second's worth.
//
// A budget knows no rate, because plans change it: who takes a record says the rate of the moment.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/types.h"

namespace postern {

struct LogRate {
    static constexpr std::uint32_t kUnlimited = UINT32_MAX, kMost = 1'000'000;
    std::uint32_t per_second = 0;  ///< 0: nothing is logged

    constexpr explicit operator bool() const noexcept { return per_second != 0; }
    /// Of `n` workers, each of which logs by itself.
    constexpr LogRate share(unsigned n) const noexcept {
        return per_second == kUnlimited ? *this : LogRate{(per_second + n - 1) / n};
    }
    friend constexpr bool operator==(LogRate, LogRate) = default;
};

class LogBudget {
  public:
    /// `rate` is not 0. False: the rate is reached.
    bool take(LogRate rate, Tick now) noexcept {
        if (rate.per_second == LogRate::kUnlimited) return true;
        refill(rate.per_second, now);
        if (left_ == 0) return false;
        --left_;
        return true;
    }

  private:
    void refill(std::uint32_t per_second, Tick now) noexcept {
        if (!begun_) {
            begun_ = true;
            left_ = per_second;
        } else if (now != filled_) {
            const auto passed_ms = static_cast<std::uint32_t>(std::clamp(now - filled_, 0, 1000));
            const std::uint64_t earned = std::uint64_t{passed_ms} * per_second + rest_;
            rest_ = static_cast<std::uint32_t>(earned % 1000);
            left_ = static_cast<std::uint32_t>(
                std::min<std::uint64_t>(left_ + earned / 1000, per_second));
        }
        left_ = std::min(left_, per_second);  // of a plan with a lower rate
        filled_ = now;
    }

    Tick filled_;
    std::uint32_t left_ = 0;
    std::uint32_t rest_ = 0;  ///< thousandths of a record that are not added yet
    bool begun_ = false;
};

}  // namespace postern
