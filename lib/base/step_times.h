// SPDX-License-Identifier: BSD-3-Clause
// StepTimes: how long each step of a piece of work took, in words for people. `run` logs those of
// its start, and `check` estimates them.
//
// One thread. A call costs one reading of the clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace postern {

class StepTimes {
  public:
    using Clock = std::chrono::steady_clock;

    /// The time since the last call, or since construction, was of this step. Times of one step
    /// add up. `step` is a literal.
    void end_of(std::string_view step) {
        const auto now = Clock::now();
        add(step, std::chrono::duration<double>(now - last_).count());
        last_ = now;
    }
    /// Seconds; less than none take away from what the step has.
    void add(std::string_view step, double seconds) {
        const auto known = std::ranges::find(steps_, step, &Step::name);
        Step& s = known != steps_.end() ? *known : steps_.emplace_back(Step{step, 0});
        s.seconds = std::max(s.seconds + seconds, 0.0);
    }
    double seconds_of(std::string_view step) const {
        const auto known = std::ranges::find(steps_, step, &Step::name);
        return known == steps_.end() ? 0 : known->seconds;
    }
    double total() const {
        double all = 0;
        for (const Step& s : steps_)
            all += s.seconds;
        return all;
    }

    /// "0.90 s for tables, 0.21 s for policy": the longest first, without those below a twentieth.
    std::string longest() const {
        std::vector<Step> sorted = steps_;
        std::ranges::stable_sort(sorted, std::ranges::greater{}, &Step::seconds);
        std::string out;
        for (const Step& s : sorted)
            if (s.seconds * 20 >= total())
                out +=
                    (out.empty() ? "" : ", ") + text_of(s.seconds) + " for " + std::string(s.name);
        return out;
    }
    /// "0.05 s", "1.2 s", "30 s".
    static std::string text_of(double seconds) {
        char text[32];
        std::snprintf(text, sizeof text, "%.*f s",
                      seconds < 0.995  ? 2
                      : seconds < 9.95 ? 1
                                       : 0,
                      seconds);
        return text;
    }

  private:
    struct Step {
        std::string_view name;
        double seconds = 0;
    };
    std::vector<Step> steps_;
    Clock::time_point last_ = Clock::now();
};

}  // namespace postern
