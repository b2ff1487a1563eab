// SPDX-License-Identifier: BSD-3-Clause
// Rules with live sets, under traffic: what changes of a set do to connections, what becomes of
// sets when another configuration comes, and that a rule counts once, whatever it is made of.
#include <gtest/gtest.h>

#include "config/spec/sets.h"
#include "replaced_world.h"

namespace postern {
namespace {

const std::string kOne = "sets: [{name: some, entries: [192.0.2.1]}]\n";

std::string policy(const std::string& rules) {
    return "policy:\n  rules:\n" + rules;
}
std::string accept(const std::string& rest, const std::string& name = "r") {
    return "    - {name: " + name + ", action: accept, " + rest + "}\n";
}
Prefix prefix(const char* text) {
    return Prefix::parse(text).value();
}

class SetRules : public ReplacedWorld {
  protected:
    void begin(const std::string& text) { ReplacedWorld::begin(kZones + text); }
    void replace(const std::string& text) { ReplacedWorld::replace(kZones + text); }
    LiveSet& set(const char* name = "some") { return *fw().plan().find_set(name)->set; }
    bool opens(const char* src, unsigned dport = 80, const char* dst = "198.51.100.1") {
        return Talk(world(), frames::flow(src, ++sport_, dst, dport)).open();
    }
    std::uint64_t connections_of(const char* rule) {
        return fw().rule_book().of(number_of(rule)).connections;
    }

  private:
    unsigned sport_ = 40000;
};
INSTANTIATE_TEST_SUITE_P(Workers, SetRules, ::testing::Values(1u, 4u));

TEST_P(SetRules, ChangesDecideAboutTheNextConnections) {
    begin(kOne + policy(accept("src: some, proto: tcp")));
    EXPECT_TRUE(opens("192.0.2.1"));
    EXPECT_FALSE(opens("192.0.2.2"));
    set().add({prefix("192.0.2.2/32")});
    EXPECT_TRUE(opens("192.0.2.2"));
    EXPECT_TRUE(set().remove(prefix("192.0.2.1/32")));
    EXPECT_FALSE(opens("192.0.2.1"));
    set().flush();
    EXPECT_FALSE(opens("192.0.2.2"));
}

TEST_P(SetRules, EntriesExpire) {
    begin(kOne + policy(accept("src: some, proto: tcp")));
    set().add({prefix("192.0.2.2/32"), set().until(10)});
    fw().tend_sets(world().now);
    EXPECT_TRUE(opens("192.0.2.2"));
    fw().tend_sets(world().now + 11'000);
    EXPECT_FALSE(opens("192.0.2.2"));
    EXPECT_TRUE(opens("192.0.2.1"));
    EXPECT_EQ(set().size(), 1u);
}

TEST_P(SetRules, RunningConnectionsGoOnUntilTheyAreJudgedAgain) {
    begin(kOne + policy(accept("src: some, proto: tcp") + accept("dst: 203.0.113.1", "other")));
    Talk talk(world(), frames::flow("192.0.2.1", 30000, "198.51.100.1", 80));
    Talk moved(world(), frames::flow("192.0.2.1", 30001, "203.0.113.1", 80));
    ASSERT_TRUE(talk.open());
    ASSERT_TRUE(moved.open());
    EXPECT_TRUE(set().remove(prefix("192.0.2.1/32")));
    world().turn();
    EXPECT_TRUE(talk.client("more\r\n"));
    EXPECT_FALSE(opens("192.0.2.1"));
    fw().recheck();
    for (int turn = 0; turn < 50; ++turn)
        world().turn();
    EXPECT_FALSE(talk.client("more\r\n"));
    EXPECT_TRUE(moved.client("more\r\n")) << "another rule accepts it";
    // A name that is gone is still one whose number was swept.
    replace(kOne + policy(accept("proto: udp", "third")));
    EXPECT_EQ(connections_of("third"), 0u);
}

TEST_P(SetRules, ARecheckGoesOnUnderAnotherPlan) {
    const std::string text = kOne + policy(accept("src: some, proto: tcp"));
    begin(text);
    std::vector<Talk> talks;
    for (unsigned n = 0; n < 100; ++n) {
        talks.emplace_back(world(), frames::flow("192.0.2.1", 30000 + n, "198.51.100.1", 80));
        ASSERT_TRUE(talks.back().open());
    }
    EXPECT_TRUE(set().remove(prefix("192.0.2.1/32")));
    fw().recheck();
    replace(text);  // keeps connections, but not from the recheck
    for (int turn = 0; turn < 100; ++turn)
        world().turn();
    std::uint64_t left = 0;
    for (unsigned w = 0; w < fw().workers(); ++w)
        left += fw().worker(w).conns().count().get();
    EXPECT_EQ(left, 0u);
    // And ends with it: the next plan judges none again.
    set().add({prefix("192.0.2.1/32")});
    Talk talk(world(), frames::flow("192.0.2.1", 40000, "198.51.100.1", 80));
    ASSERT_TRUE(talk.open());
    EXPECT_TRUE(set().remove(prefix("192.0.2.1/32")));
    replace(text);
    for (int turn = 0; turn < 100; ++turn)
        world().turn();
    EXPECT_TRUE(talk.client("more\r\n"));
}

TEST_P(SetRules, AHelpersRemovalDoesNotRepeatARecheck) {
    begin("helpers: [{name: ftp}]\n" + kOne + policy(accept("src: some, proto: tcp")));
    fw().recheck();
    for (int turn = 0; turn < 50; ++turn)
        world().turn();
    Talk talk(world(), frames::flow("192.0.2.1", 30000, "198.51.100.1", 80));
    ASSERT_TRUE(talk.open());
    EXPECT_TRUE(set().remove(prefix("192.0.2.1/32")));
    fw().remove_helper(1);
    for (int turn = 0; turn < 50; ++turn)
        world().turn();
    EXPECT_TRUE(talk.client("more\r\n"));
}

TEST_P(SetRules, KeepTheirContentsOverAReload) {
    begin(kOne + policy(accept("src: some, proto: tcp")));
    set().flush();
    set().add({prefix("192.0.2.7/32")});
    // Others before it, other limits, other contents at the start.
    replace(
        "sets: [{name: new, entries: [192.0.2.50]}, {name: some, max: 7, timeout: 30, "
        "entries: [192.0.2.8]}]\n" +
        policy(accept("src: some, proto: tcp") + accept("src: [new], proto: tcp", "n")));
    EXPECT_EQ(fw().plan().find_set("some")->max, 7u);
    EXPECT_EQ(fw().plan().find_set("some")->timeout_s, 30u);
    EXPECT_TRUE(opens("192.0.2.7"));
    EXPECT_FALSE(opens("192.0.2.8")) << "contents at the start are those of a new set";
    EXPECT_FALSE(opens("192.0.2.1"));
    EXPECT_TRUE(opens("192.0.2.50")) << "a new set has those of the file";
}

TEST_P(SetRules, ASetThatVanishedComesBackUntilItIsForgotten) {
    const std::string with = kOne + policy(accept("src: some, proto: tcp"));
    const std::string without = policy(accept("proto: udp"));
    begin(with);
    set().add({prefix("192.0.2.7/32")});
    replace(without);
    EXPECT_EQ(fw().plan().find_set("some"), nullptr);
    world().turn();
    fw().reclaim_plans();
    replace(with);
    EXPECT_TRUE(opens("192.0.2.7"));
    replace(without);
    fw().forget_former_sets();
    replace(with);
    EXPECT_FALSE(opens("192.0.2.7"));
    EXPECT_TRUE(opens("192.0.2.1")) << "it is new, and has its contents of the start";
    fw().forget_former_sets();
    set().add({prefix("192.0.2.7/32")});
    replace(with);
    EXPECT_TRUE(opens("192.0.2.7")) << "only sets that the plan lacks are forgotten";
}

TEST_P(SetRules, ARuleOfSeveralPartsCountsAndLimitsAsOne) {
    // Sets of two bytes of bits, and a list; each side: nine parts.
    std::string sets = "sets:\n";
    for (unsigned i = 0; i < 12; ++i)
        sets += "  - {name: s" + std::to_string(i) + "}\n";
    begin(sets + policy(accept("src: [10.0.0.1, s0, s11, not 192.0.2.66], "
                               "dst: [10.1.0.1, s1, s9], proto: tcp, limit: {connections: 4/h}",
                               "parts")));
    set("s0").add({prefix("192.0.2.0/24")});
    set("s11").add({prefix("2001:db8::/64")});
    set("s1").add({prefix("198.51.100.1/32")});
    set("s9").add({prefix("2001:db8:1::/64")});
    EXPECT_FALSE(opens("192.0.2.66")) << "`not` holds for the set, too";
    EXPECT_FALSE(opens("198.51.100.1", 80, "192.0.2.1")) << "both sides have to match";
    EXPECT_TRUE(opens("10.0.0.1", 80, "10.1.0.1"));
    EXPECT_TRUE(opens("192.0.2.1"));
    EXPECT_TRUE(opens("10.0.0.1"));
    EXPECT_TRUE(opens("2001:db8::1", 80, "2001:db8:1::1"));
    EXPECT_EQ(connections_of("parts"), 4u);
    EXPECT_EQ(fw().plan().rule_lines.size(), 1u);
    EXPECT_FALSE(opens("192.0.2.2")) << "4 in an hour, of all parts together";
    EXPECT_EQ(connections_of("parts"), 4u);
}

}  // namespace
}  // namespace postern
