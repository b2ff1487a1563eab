// SPDX-License-Identifier: BSD-3-Clause
// How long steps took, in words.
#include "base/step_times.h"

#include <gtest/gtest.h>

namespace postern {
namespace {

TEST(StepTimes, NamesTheLongestSteps) {
    StepTimes times;
    times.add("small", 0.04);
    times.add("tables", 0.5);
    times.add("patterns", 0.6);
    times.add("tables", 0.4);
    EXPECT_DOUBLE_EQ(times.total(), 1.54);
    EXPECT_DOUBLE_EQ(times.seconds_of("tables"), 0.9);
    EXPECT_EQ(times.longest(), "0.90 s for tables, 0.60 s for patterns");
    EXPECT_EQ(times.seconds_of("nothing"), 0);
}

TEST(StepTimes, NoStepTakesLessThanNoTime) {
    StepTimes times;
    times.add("tables", 0.2);
    times.add("tables", -0.5);
    EXPECT_EQ(times.total(), 0);
}

TEST(StepTimes, EachMomentBelongsToOneStep) {
    const auto begun = StepTimes::Clock::now();
    StepTimes times;
    times.end_of("one");
    times.end_of("two");
    times.end_of("one");
    const std::chrono::duration<double> took = StepTimes::Clock::now() - begun;
    EXPECT_GT(times.seconds_of("one"), 0);
    EXPECT_LE(times.total(), took.count());
}

TEST(StepTimes, SecondsHaveTheDigitsThatMatter) {
    EXPECT_EQ(StepTimes::text_of(0.004), "0.00 s");
    EXPECT_EQ(StepTimes::text_of(0.994), "0.99 s");
    EXPECT_EQ(StepTimes::text_of(0.996), "1.0 s");
    EXPECT_EQ(StepTimes::text_of(9.94), "9.9 s");
    EXPECT_EQ(StepTimes::text_of(9.96), "10 s");
    EXPECT_EQ(StepTimes::text_of(90.4), "90 s");
}

}  // namespace
}  // namespace postern
