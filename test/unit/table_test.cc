// SPDX-License-Identifier: BSD-3-Clause
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "table/sketch.h"
#include "table/timing_wheel.h"

namespace postern {
namespace {

struct Object {
    WheelLink link;
    Tick deadline;
};

struct ObjectSlots {
    Object* objects;
    std::uint32_t count;
    WheelLink& link(std::uint32_t i) noexcept { return objects[i].link; }
    Tick deadline(std::uint32_t i) const noexcept { return objects[i].deadline; }
    void prefetch(std::uint32_t i) const noexcept {
        if (i == 0 || i > count) std::abort();  // nobody's
    }
};

/// Looked at every minute.
struct RestlessSlots : ObjectSlots {
    static constexpr std::uint32_t kLookAgainMs = 60'000;
};

using Wheel = TimingWheel<ObjectSlots>;
constexpr std::uint32_t kUnit = Wheel::kGranularityMs;
constexpr std::uint32_t kPlenty = 1u << 30;

template <class Slots>
struct FixtureOf {
    std::vector<Object> objects;
    TimingWheel<Slots> wheel;
    std::vector<std::uint32_t> fired;

    explicit FixtureOf(std::uint32_t n, Tick start = Tick{1000})
        : objects(n + 1), wheel(slots_of(objects), start) {}
    static Slots slots_of(std::vector<Object>& objects) {
        Slots slots;
        slots.objects = objects.data();
        slots.count = static_cast<std::uint32_t>(objects.size() - 1);
        return slots;
    }
    void arm(std::uint32_t i, Tick deadline) {
        objects[i].deadline = deadline;
        wheel.arm(i);
    }
    std::vector<std::uint32_t> advance(Tick now, std::uint32_t budget = kPlenty) {
        fired.clear();
        wheel.advance(now, budget, [&](std::uint32_t i) { fired.push_back(i); });
        return fired;
    }
};

using Fixture = FixtureOf<ObjectSlots>;
using Indices = std::vector<std::uint32_t>;

TEST(TimingWheel, FiresNeverEarlyAndWithinOneUnit) {
    for (std::uint32_t timeout_ms : {1u, 63u, 64u, 65u, 16'383u, 16'384u, 16'385u, 4'194'303u,
                                     4'194'304u, 1'073'741'824u, kMaxTimeoutS * 1000}) {
        for (Tick start : {Tick{0}, Tick{1}, Tick{12'345'678}, Tick{0xffff'ffff}}) {
            Fixture f(1, start);
            const Tick deadline = start + timeout_ms;
            f.arm(1, deadline);
            EXPECT_EQ(f.advance(Tick{deadline.ms - 1}), Indices{}) << timeout_ms;
            EXPECT_TRUE(f.wheel.armed(1));
            EXPECT_EQ(f.advance(deadline + (kUnit - 1)), Indices{1}) << timeout_ms;
            EXPECT_FALSE(f.wheel.armed(1));
            EXPECT_EQ(f.wheel.size(), 0u);
        }
    }
}

TEST(TimingWheel, PastDeadlineFiresWithinOneUnit) {
    Fixture f(1, Tick{5000});
    f.arm(1, Tick{5000u - 3'600'000u});  // before Tick 0: wrapped
    EXPECT_EQ(f.advance(Tick{5000 + kUnit}), Indices{1});
}

TEST(TimingWheel, TimeThatStepsBackIsNoStep) {
    Fixture f(1, Tick{100'000});
    f.arm(1, Tick{100'500});
    EXPECT_EQ(f.advance(Tick{50'000}), Indices{});
    EXPECT_EQ(f.advance(Tick{100'400}), Indices{});
    EXPECT_EQ(f.advance(Tick{100'600}), Indices{1});
}

TEST(TimingWheel, FiresInOrderOfUnits) {
    constexpr std::uint32_t kMany = 300;
    Fixture f(kMany);
    std::mt19937 rng(5);
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
    for (std::uint32_t i = 1; i <= kMany; ++i)
        f.arm(i, Tick{1000} + (i % 3 == 0 ? 20'000 : below(1u << below(24))));
    const auto unit_of = [&](std::uint32_t i) {
        return (f.objects[i].deadline.ms + kUnit - 1) / kUnit;
    };
    const Indices fired = f.advance(Tick{1000 + 100'000'000});
    EXPECT_EQ(fired.size(), kMany);
    EXPECT_TRUE(std::ranges::is_sorted(fired, {}, unit_of));
}

TEST(TimingWheel, DisarmAnywhereInAListKeepsTheOthers) {
    for (std::uint32_t victim = 1; victim <= 4; ++victim) {
        Fixture f(4);
        for (std::uint32_t i = 1; i <= 4; ++i)
            f.arm(i, Tick{60'000});
        f.wheel.disarm(victim);
        f.wheel.disarm(victim);  // harmless
        EXPECT_EQ(f.wheel.size(), 3u);
        Indices expected{1, 2, 3, 4};
        expected.erase(expected.begin() + (victim - 1));
        Indices fired = f.advance(Tick{70'000});
        std::ranges::sort(fired);
        EXPECT_EQ(fired, expected);
    }
}

TEST(TimingWheel, DisarmInAListOfWhichSomeHaveFiredKeepsTheOthers) {
    constexpr std::uint32_t kMany = 200;
    for (const std::uint32_t after_ms : {1'000u, 60'000u}) {  // from the lowest level, and not
        Fixture f(kMany);
        for (std::uint32_t i = 1; i <= kMany; ++i)
            f.arm(i, Tick{1000} + after_ms);
        std::set<std::uint32_t> left;
        for (std::uint32_t i = 1; i <= kMany; ++i)
            left.insert(i);
        std::mt19937 rng(3);
        const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
        while (!left.empty()) {
            for (const std::uint32_t i : f.advance(Tick{2000} + after_ms, 1 + below(20)))
                ASSERT_EQ(left.erase(i), 1u) << i;
            for (unsigned n = 0; n < 3 && !left.empty(); ++n) {
                const auto victim =
                    std::next(left.begin(), below(static_cast<std::uint32_t>(left.size())));
                f.wheel.disarm(*victim);
                left.erase(victim);
            }
            ASSERT_EQ(f.wheel.size(), left.size());
        }
    }
}

TEST(TimingWheel, DeadlineMovedLaterIsFoundWithoutRearming) {
    Fixture f(2);
    f.arm(1, Tick{2000});
    f.arm(2, Tick{30'000});
    f.objects[1].deadline = Tick{40'000};
    f.objects[2].deadline = Tick{9'000'000};
    EXPECT_EQ(f.advance(Tick{39'999}), Indices{});
    EXPECT_EQ(f.advance(Tick{40'000 + kUnit}), Indices{1});
    EXPECT_EQ(f.advance(Tick{8'999'999}), Indices{});
    EXPECT_EQ(f.advance(Tick{9'000'000 + kUnit}), Indices{2});
}

TEST(TimingWheel, RearmEarlierFiresEarlierAndOnce) {
    Fixture f(1);
    f.arm(1, Tick{500'000});
    f.arm(1, Tick{2000});
    EXPECT_EQ(f.wheel.size(), 1u);
    EXPECT_EQ(f.advance(Tick{2000 + kUnit}), Indices{1});
    EXPECT_EQ(f.advance(Tick{600'000}), Indices{});
}

TEST(TimingWheel, CallbackMayArmAndDisarmAnything) {
    Fixture f(5);
    for (std::uint32_t i = 1; i <= 4; ++i)
        f.arm(i, Tick{5000});
    Indices fired;
    auto fn = [&](std::uint32_t i) {
        fired.push_back(i);
        if (i == 1) {
            f.wheel.disarm(2);       // another of the same slot
            f.arm(1, Tick{4000});    // itself, in the past: in a later call
            f.arm(5, Tick{20'000});  // another one
        }
        if (i == 3) f.arm(4, Tick{30'000});  // the next, but later
    };
    f.wheel.advance(Tick{5100}, kPlenty, fn);
    EXPECT_EQ(fired, (Indices{1, 3}));
    EXPECT_EQ(f.advance(Tick{5100 + 2 * kUnit}), Indices{1});
    EXPECT_EQ(f.advance(Tick{25'000}), Indices{5});
    EXPECT_EQ(f.advance(Tick{31'000}), Indices{4});
    EXPECT_EQ(f.wheel.size(), 0u);
}

TEST(TimingWheel, PastDeadlineArmedInTheCallbackCannotLoopForever) {
    Fixture f(1);
    f.arm(1, Tick{2000});
    std::uint32_t calls = 0;
    f.wheel.advance(Tick{2100}, kPlenty, [&](std::uint32_t) {
        ++calls;
        f.arm(1, Tick{2000});
    });
    EXPECT_LE(calls, 2u);  // at most once a unit that passed
}

TEST(TimingWheel, BudgetBoundsEveryCallAndNothingIsLost) {
    constexpr std::uint32_t kObjects = 100'000;
    constexpr std::uint32_t kBudget = 256;
    Fixture f(kObjects);
    for (std::uint32_t i = 1; i <= kObjects; ++i)
        f.arm(i, Tick{7'200'000 + i % 1000});  // two levels up, one second
    std::vector<bool> seen(kObjects + 1);
    std::uint32_t total = 0;
    std::uint32_t calls = 0;
    const Tick now{7'300'000};
    for (;;) {
        std::uint32_t in_call = 0;
        const std::uint32_t used = f.wheel.advance(now, kBudget, [&](std::uint32_t i) {
            EXPECT_FALSE(seen[i]);
            seen[i] = true;
            ++in_call;
        });
        ++calls;
        total += in_call;
        EXPECT_LE(in_call, kBudget);
        EXPECT_LE(used, kBudget);
        // What is armed while the wheel lags behind keeps its own time.
        if (calls == 10) f.arm(1 + total, Tick{7'299'000});
        if (used < kBudget) break;
    }
    EXPECT_EQ(total, kObjects);
    EXPECT_EQ(f.wheel.size(), 0u);
    // Each object is met once a level it passes, and fired once.
    EXPECT_LE(calls, kObjects / kBudget * 4 + 2);
}

TEST(TimingWheel, ZeroBudgetOnlyMovesTime) {
    Fixture f(1);
    f.arm(1, Tick{2000});
    EXPECT_EQ(f.advance(Tick{3000}, 0), Indices{});
    EXPECT_EQ(f.advance(Tick{3000}, 1), Indices{1});
}

TEST(TimingWheel, BigJumpsVisitOccupiedSlotsOnly) {
    // 16 years in jumps of 20 days: a walk over empty slots would need 10^10 steps.
    Fixture f(1, Tick{0xffff'0000});
    Tick now{0xffff'0000};
    for (int jump = 0; jump < 300; ++jump) {
        const Tick deadline = now + (kMaxTimeoutS * 1000 - 5);
        f.arm(1, deadline);
        EXPECT_EQ(f.advance(Tick{deadline.ms - 1}), Indices{});
        now = now + kMaxTimeoutS * 1000;
        EXPECT_EQ(f.advance(now + kUnit), Indices{1});
        now = now + kUnit;
    }
}

TEST(TimingWheel, LooksAgainInTimeForADeadlineThatMovedCloserInSilence) {
    constexpr std::uint32_t kAgain = RestlessSlots::kLookAgainMs;
    for (const std::uint32_t after_ms : {0u, 1u, 59'999u, 60'000u, 60'001u, 1'000'000u}) {
        FixtureOf<RestlessSlots> f(1);
        Tick now{1000};
        f.arm(1, now + 432'000'000);
        for (std::uint32_t left = after_ms; left != 0;) {
            const std::uint32_t step = std::min(left, 777u);
            now = now + step;
            left -= step;
            EXPECT_EQ(f.advance(now), Indices{});
        }
        f.objects[1].deadline = now + kAgain;  // nobody is told
        EXPECT_EQ(f.advance(now + (kAgain - 1)), Indices{}) << after_ms;
        EXPECT_EQ(f.advance(now + kAgain + kUnit), Indices{1}) << after_ms;
    }
}

// An object that nobody touches is met once a minute, not once a unit.
TEST(TimingWheel, LookingAgainCostsOneMeetingEachTime) {
    FixtureOf<RestlessSlots> f(1);
    f.arm(1, Tick{1000} + 3'600'000);
    std::uint32_t met = 0;
    for (Tick now{1000}; now - Tick{1000} < 3'599'000; now = now + 50)
        met += f.wheel.advance(now, kPlenty, [](std::uint32_t) { FAIL(); });
    EXPECT_GE(met, 60u);
    EXPECT_LE(met, 200u);  // an upper level's slot is emptied into lower ones on the way
    // A leap of time meets it once or twice more, not sixty times an hour.
    f.objects[1].deadline = Tick{1000} + 500'000'000;
    EXPECT_LE(f.wheel.advance(Tick{1000} + 400'000'000, kPlenty, [](std::uint32_t) { FAIL(); }),
              4u);
}

// Against a std::multimap of deadlines, over several wraps of Tick, with all operations mixed.
// `crowded`: many objects have one deadline, and are neighbours in the wheel's lists.
template <class Slots>
void agree_with_the_model(bool crowded) {
    for (std::uint32_t seed = 1; seed <= 8; ++seed) {
        std::mt19937 rng(seed);
        auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(rng() % n); };
        constexpr std::uint32_t kObjects = 500;
        const std::uint32_t start_ms = 0u - below(4'000'000);
        FixtureOf<Slots> f(kObjects, Tick{start_ms});
        std::uint64_t now = start_ms;                       // 64 bits, never wraps
        std::multimap<std::uint64_t, std::uint32_t> model;  // deadline -> object
        std::vector<std::uint64_t> deadline(kObjects + 1);
        std::vector<bool> armed(kObjects + 1);
        auto model_remove = [&](std::uint32_t i) {
            auto [from, to] = model.equal_range(deadline[i]);
            for (auto it = from; it != to; ++it) {
                if (it->second != i) continue;
                model.erase(it);
                return;
            }
        };
        auto random_delay_ms = [&]() -> std::uint32_t {
            constexpr std::uint32_t kDelaysMs[] = {kUnit, 20'000, 2'000'000};
            if (crowded) return kDelaysMs[below(3)];
            const std::uint32_t bits = below(31);
            return std::min(below(1u << bits | 1u) + below(100), kMaxTimeoutS * 1000);
        };
        auto model_arm = [&](std::uint32_t i, std::uint64_t when) {
            if (armed[i]) model_remove(i);
            deadline[i] = when;
            armed[i] = true;
            model.emplace(when, i);
        };
        for (int step = 0; step < 20'000; ++step) {
            const std::uint32_t i = 1 + below(kObjects);
            switch (below(6)) {
                case 0:
                case 1: {  // arm or re-arm
                    const std::uint32_t delay_ms = random_delay_ms();
                    model_arm(i, now + delay_ms);
                    f.arm(i, Tick{static_cast<std::uint32_t>(now + delay_ms)});
                    break;
                }
                case 2: {  // a packet: only the deadline moves, to later
                    if (!armed[i] || now + 1'000'000 < deadline[i]) break;
                    std::uint64_t later = std::max(deadline[i], now) + below(1'000'000);
                    if constexpr (requires {
                                      Slots::kLookAgainMs;
                                  })  // or closer, but not too close
                        if (below(2) != 0) later = now + Slots::kLookAgainMs + below(300'000);
                    model_arm(i, later);
                    f.objects[i].deadline = Tick{static_cast<std::uint32_t>(later)};
                    break;
                }
                case 3:
                    if (armed[i]) model_remove(i);
                    armed[i] = false;
                    f.wheel.disarm(i);
                    break;
                default: {  // time
                    // Of a crowd, few are due at once unless time stands still for long.
                    if (crowded && below(16) != 0) break;
                    now += below(8) != 0 ? below(300) : random_delay_ms();
                    const Tick tick{static_cast<std::uint32_t>(now)};
                    auto fn = [&](std::uint32_t j) {
                        ASSERT_TRUE(armed[j]);
                        ASSERT_LE(deadline[j], now) << "early";
                        model_remove(j);
                        armed[j] = false;
                        if (below(4) == 0) {
                            const std::uint32_t delay_ms = 1 + random_delay_ms();
                            model_arm(j, now + delay_ms);
                            f.arm(j, Tick{static_cast<std::uint32_t>(now + delay_ms)});
                        } else if (below(8) == 0) {
                            const std::uint32_t other = 1 + below(kObjects);
                            if (armed[other]) model_remove(other);
                            armed[other] = false;
                            f.wheel.disarm(other);
                        }
                    };
                    for (;;) {
                        const std::uint32_t budget = below(50);  // 0 at times
                        const std::uint32_t used = f.wheel.advance(tick, budget, fn);
                        ASSERT_LE(used, budget);
                        if (testing::Test::HasFatalFailure()) return;
                        if (used < budget) break;
                        // What waits for the next call may be armed anew, or not at all.
                        const std::uint32_t j = 1 + below(kObjects);
                        if (armed[j]) model_remove(j);
                        armed[j] = false;
                        f.wheel.disarm(j);
                    }
                    ASSERT_EQ(f.wheel.size(), model.size());
                    if (!model.empty()) {
                        ASSERT_GT(model.begin()->first + kUnit, now) << "late";
                    }
                }
            }
            if (testing::Test::HasFatalFailure()) return;
            ASSERT_EQ(f.wheel.armed(i), armed[i]);
        }
    }
}
TEST(TimingWheel, AgreesWithTheModel) {
    agree_with_the_model<ObjectSlots>(false);
}
TEST(TimingWheel, AgreesWithTheModelInACrowd) {
    agree_with_the_model<ObjectSlots>(true);
}
TEST(TimingWheel, AgreesWithTheModelWhenDeadlinesMoveCloserInSilence) {
    agree_with_the_model<RestlessSlots>(false);
    agree_with_the_model<RestlessSlots>(true);
}

TEST(Sketch, NeverCountsTooLow) {
    constexpr std::uint32_t kRow = 16;
    Sketch<unsigned> sketch(std::make_unique<unsigned[]>(2 * kRow), kRow);
    std::mt19937_64 random(1);
    std::map<std::uint64_t, unsigned> truth;
    std::vector<std::uint64_t> hashes(40);
    for (auto& h : hashes)
        h = random();
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t h = hashes[random() % hashes.size()];
        const auto [a, b] = sketch.at(sketch.place(h));
        ++a, ++b, ++truth[h];
    }
    for (const auto& [h, n] : truth) {
        const SketchPlace place = sketch.place(h);
        EXPECT_LT(place.first, kRow);
        EXPECT_GE(place.second, kRow);
        EXPECT_LT(place.second, 2 * kRow);
        const auto [a, b] = sketch.at(place);
        EXPECT_GE(std::min(a, b), n);
    }
}

}  // namespace
}  // namespace postern
