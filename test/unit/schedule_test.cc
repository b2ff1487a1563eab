// SPDX-License-Identifier: BSD-3-Clause
// Rules with a schedule: when they are in force, by a clock that the test sets; and what happens to
// running connections at the edges.
#include <gtest/gtest.h>

#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr std::int64_t kMinute = 60, kHour = 3600, kDay = 24 * kHour;
constexpr std::int64_t kMonday = 1'767'571'200;  // 2026-01-05 00:00 UTC
constexpr std::int64_t kFriday = kMonday + 4 * kDay;

ScheduleSpec schedule(const std::string& text) {
    auto loaded = load_spec_text(
        World::with_two_ports("policy: {rules: [{action: accept, schedule: " + text + "}]}\n"),
        "x.yaml", build_schema());
    for (const auto& e : loaded.errors)
        ADD_FAILURE() << e.to_string();
    return loaded.ok() ? *loaded.spec->policy.rules[0].schedule : ScheduleSpec{};
}

TEST(Schedule, DaysAndHours) {
    const ScheduleSpec s = schedule("{days: [mon-fri], from: 08:00, to: 18:00, timezone: UTC}");
    EXPECT_EQ(s.text(), "mon-fri 08:00-18:00 UTC");
    EXPECT_FALSE(s.active_at(kMonday + 8 * kHour - 1));
    EXPECT_TRUE(s.active_at(kMonday + 8 * kHour));
    EXPECT_TRUE(s.active_at(kFriday + 18 * kHour - 1));
    EXPECT_FALSE(s.active_at(kFriday + 18 * kHour));
    EXPECT_FALSE(s.active_at(kFriday + kDay + 12 * kHour));
    EXPECT_FALSE(s.active_at(kMonday - kDay + 12 * kHour));
    // Before 1970, which a clock may say that was never set.
    EXPECT_TRUE(s.active_at(-kDay + 9 * kHour)) << "a Wednesday";
    EXPECT_FALSE(s.active_at(-kDay + 7 * kHour));
}

TEST(Schedule, OverMidnightItBelongsToTheDayOfItsBeginning) {
    const ScheduleSpec s = schedule("{days: fri, from: 22:00, to: 06:00, timezone: UTC}");
    EXPECT_FALSE(s.active_at(kFriday + 5 * kHour));
    EXPECT_FALSE(s.active_at(kFriday + 22 * kHour - 1));
    EXPECT_TRUE(s.active_at(kFriday + 22 * kHour));
    EXPECT_TRUE(s.active_at(kFriday + 30 * kHour - 1));
    EXPECT_FALSE(s.active_at(kFriday + 30 * kHour));
    EXPECT_FALSE(s.active_at(kFriday + 46 * kHour));
}

TEST(Schedule, RangesOfDaysMayGoOverTheWeekend) {
    const ScheduleSpec s = schedule("{days: [sat-mon, wed], timezone: UTC}");
    EXPECT_EQ(s.text(), "mon,wed,sat,sun 00:00-24:00 UTC");
    for (int day = 0; day < 7; ++day)
        EXPECT_EQ(s.active_at(kMonday + day * kDay), day == 0 || day == 2 || day >= 5) << day;
}

TEST(Schedule, LocalTimeDecidesWhenTheClocksChange) {
    const ScheduleSpec s = schedule("{from: 02:30, to: 03:30, timezone: Europe/Berlin}");
    constexpr std::int64_t kMarch = 1'774'742'400;  // 2026-03-29 00:00 UTC, 01:00 local
    // 02:00 is 03:00: the first half does not happen.
    EXPECT_FALSE(s.active_at(kMarch + kHour - 1));
    EXPECT_TRUE(s.active_at(kMarch + kHour));
    EXPECT_FALSE(s.active_at(kMarch + kHour + 30 * kMinute));
    constexpr std::int64_t kOctober = 1'792'886'400;  // 2026-10-25 00:00 UTC, 02:00 local
    // 03:00 is 02:00: its first half happens twice.
    EXPECT_FALSE(s.active_at(kOctober + 30 * kMinute - 1));
    EXPECT_TRUE(s.active_at(kOctober + 30 * kMinute));
    EXPECT_FALSE(s.active_at(kOctober + kHour));
    EXPECT_TRUE(s.active_at(kOctober + kHour + 30 * kMinute));
    EXPECT_TRUE(s.active_at(kOctober + 2 * kHour + 30 * kMinute - 1));
    EXPECT_FALSE(s.active_at(kOctober + 2 * kHour + 30 * kMinute));
}

/// By comparison with a walk through each minute of two weeks, as the words say it.
TEST(Schedule, AgreesWithAModel) {
    for (unsigned seed = 0; seed < 60; ++seed) {
        ScheduleSpec s;
        s.days = static_cast<std::uint8_t>(1 + seed * 37 % 127);
        s.from_min = static_cast<std::uint16_t>(seed * 211 % 1440);
        s.to_min = static_cast<std::uint16_t>(seed * 397 % 1441);
        if (s.from_min == s.to_min) continue;
        std::vector<bool> active(21 * 1440);
        const unsigned length = (s.to_min + 1440u - s.from_min) % 1440u;
        for (unsigned day = 0; day < 16; ++day)
            if ((s.days >> day % 7 & 1) != 0)
                for (unsigned m = 0; m < (length == 0 ? 1440 : length); ++m)
                    active[day * 1440 + s.from_min + m] = true;
        for (unsigned m = 1440; m < 15 * 1440; ++m)
            ASSERT_EQ(s.active_at(kMonday + m * 60 + 59), active[m]) << seed << ": " << m;
    }
}

class Scheduled : public ::testing::TestWithParam<unsigned> {
  protected:
    void begin(const std::string& policy, std::int64_t at) {
        spec_ = load_spec_text(World::with_two_ports(policy), "x.yaml", build_schema()).spec;
        ASSERT_TRUE(spec_);
        world_.emplace(policy, GetParam());
        set_clock(at);
    }
    World& world() { return *world_; }
    /// What control does in each of its turns; how many rules began or ended.
    std::size_t set_clock(std::int64_t at) {
        world().wall_s = at;
        const auto changed = world().fw().follow_schedules(*spec_);
        EXPECT_TRUE(changed.ok());
        world().turn();
        return changed.value().size();
    }
    Talk talk(unsigned sport) { return Talk(world(), flow("192.0.2.1", sport, "192.0.2.2", 80)); }

  private:
    std::optional<Spec> spec_;
    std::optional<World> world_;
};
INSTANTIATE_TEST_SUITE_P(Workers, Scheduled, ::testing::Values(1u, 4u));

std::string office_hours(const std::string& more) {
    return "policy: {" + more +
           "rules: [{name: web, proto: tcp, dport: 80, action: accept, schedule:"
           " {days: mon-fri, from: 08:00, to: 18:00, timezone: UTC}}]}\n";
}

TEST_P(Scheduled, TheRuleIsInForceBetweenItsEdges) {
    begin(office_hours(""), kMonday + 7 * kHour);
    EXPECT_FALSE(talk(1).open());
    EXPECT_EQ(set_clock(kMonday + 8 * kHour - 1), 0u);
    EXPECT_FALSE(talk(2).open());
    EXPECT_EQ(set_clock(kMonday + 8 * kHour), 1u);
    Talk running = talk(3);
    EXPECT_TRUE(running.open());
    EXPECT_EQ(set_clock(kMonday + 8 * kHour + 30), 0u);
    EXPECT_EQ(set_clock(kMonday + 18 * kHour), 1u);
    EXPECT_FALSE(talk(4).open());
    EXPECT_TRUE(running.client("GET / HTTP/1.0\r\n\r\n")) << "keep: it was accepted";
    EXPECT_EQ(world().fw().plan().rule_name(world().connection(80)->conn.rule), "web")
        << "and its rule has its name";
    // The clock is set back, by hand.
    EXPECT_EQ(set_clock(kMonday + 12 * kHour), 1u);
    EXPECT_TRUE(talk(5).open());
}

TEST_P(Scheduled, RecheckEndsConnectionsAtTheEdge) {
    begin(office_hours("on_change: recheck, "), kMonday + 9 * kHour);
    Talk running = talk(1);
    EXPECT_TRUE(running.open());
    EXPECT_EQ(set_clock(kMonday + 17 * kHour), 0u);
    EXPECT_TRUE(world().connection(80));
    EXPECT_EQ(set_clock(kMonday + 18 * kHour), 1u);
    EXPECT_FALSE(world().connection(80));
    EXPECT_FALSE(running.client("GET / HTTP/1.0\r\n\r\n"));
}

TEST_P(Scheduled, AHelperThatWasRemovedStaysAway) {
    begin("helpers: [{name: ftp}]\n" + office_hours(""), kMonday + 7 * kHour);
    ASSERT_TRUE(world().fw().plan().serves(1));
    world().fw().remove_helper(1);
    world().turn();
    EXPECT_EQ(set_clock(kMonday + 8 * kHour), 1u);
    EXPECT_FALSE(world().fw().plan().serves(1));
}

TEST_P(Scheduled, ALimitCountsOverTheEdges) {
    begin(
        "policy: {rules: [{name: web, proto: tcp, action: accept, limit: {at_once: 2}, schedule:"
        " {from: 08:00, to: 18:00, timezone: UTC}}]}\n",
        kMonday + 9 * kHour);
    EXPECT_TRUE(talk(1).open());
    set_clock(kMonday + 19 * kHour);
    set_clock(kMonday + 33 * kHour);
    EXPECT_TRUE(talk(2).open());
    EXPECT_FALSE(talk(3).open());
    EXPECT_EQ(world().fw().rule_limits().open_now(RuleId{0}), 2u);
}

}  // namespace
}  // namespace postern
