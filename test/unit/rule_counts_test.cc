// SPDX-License-Identifier: BSD-3-Clause
// Counters of rules: every packet counts once, for the rule that decided about it or about its
// connection; and each rule keeps its counters from plan to plan.
#include <map>
#include <random>

#include <gtest/gtest.h>

#include "pipeline/new_connection.h"
#include "support/eal.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

constexpr std::int64_t kWallMs = 1'800'000'000'000;

struct Counts {
    std::uint64_t connections = 0, packets = 0, bytes = 0;
    friend bool operator==(const Counts&, const Counts&) = default;
    friend std::ostream& operator<<(std::ostream& out, const Counts& c) {
        return out << c.connections << " connections, " << c.packets << " packets, " << c.bytes
                   << " bytes";
    }
};

/// By name, also of the default.
std::map<std::string, Counts> counts(World& world) {
    const auto of = [](const RuleTotals& t) { return Counts{t.connections, t.packets, t.bytes}; };
    std::map<std::string, Counts> all;
    const Plan& plan = world.fw().plan();
    for (const Plan::RuleLine& line : plan.rule_lines)
        all[plan.rule_name(line.id)] = of(world.fw().rule_book().of(line.id));
    all[std::string(kDefaultRule)] = of(world.fw().rule_book().of_default());
    return all;
}

/// Longer than a pass over the table takes, and shorter than any timeout.
void pass_over_the_table(World& world) {
    world.pass(1000, 5);
}

class RuleCountsTest : public ::testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Workers, RuleCountsTest, ::testing::Values(1u, 3u),
                         [](const auto& p) { return std::to_string(p.param); });

TEST_P(RuleCountsTest, EveryPacketCountsOnceWhateverBecomesOfItsConnection) {
    World world(
        "timeouts: {udp: {unreplied: 2, stream: 2}}\n"
        "policy: {default: drop, rules: [\n"
        "  {name: one, from: inside, proto: udp, dport: 1, action: accept},\n"
        "  {name: two, from: inside, proto: udp, dport: 2, action: accept},\n"
        "  {name: off, from: inside, proto: udp, dport: 3, action: drop},\n"
        "  {name: no, from: inside, proto: udp, dport: 4, action: reject},\n"
        "  {name: loose, from: inside, proto: udp, dport: 5, track: no, action: accept}]}\n",
        GetParam());
    const char* const kRules[] = {"one", "two", "off", "no", "loose", "default"};
    std::map<std::string, Counts> expected;
    for (const char* name : kRules)
        expected[name];
    std::map<std::pair<std::uint16_t, std::uint16_t>, Tick> seen;  // by ports: its last packet
    std::mt19937 random(5);
    for (unsigned i = 0; i < 6000; ++i) {
        // Few ports: some get hundreds of packets, some fall silent for long enough to end.
        const auto dport = static_cast<std::uint16_t>(1 + random() % 6);
        const auto sport = static_cast<std::uint16_t>(1000 + random() % (i % 100 < 90 ? 2 : 40));
        const bool answer = dport <= 2 && random() % 3 == 0;
        const auto last = seen.find({sport, dport});
        const bool known = last != seen.end() && world.now - last->second < 2000;
        const auto f = flow("10.0.0.1", sport, "20.0.0.1", dport);
        const auto frame = frames::udp(answer ? f.back() : f, std::string(random() % 900, 'x'));
        if (answer ? !known : false) continue;
        Counts& rule = expected[kRules[dport - 1]];
        const bool passed = answer ? world.from_outside(frame) : world.from_inside(frame);
        ASSERT_TRUE(passed || dport > 2) << i;
        ++rule.packets;
        rule.bytes += frame.size();
        if (dport <= 2) {
            if (!known) ++rule.connections;
            seen[{sport, dport}] = world.now;
        }
        if (random() % 50 == 0) world.pass(static_cast<std::uint32_t>(random() % 700));
        if (random() % 500 != 0) continue;
        world.pass(500, 5);  // a whole pass, less than a timeout
        ASSERT_EQ(counts(world), expected) << i;
    }
    world.pass(5000);  // all have ended
    ASSERT_FALSE(world.connection(1));
    EXPECT_EQ(counts(world), expected);
    EXPECT_GT(expected["one"].packets, 400u);
    EXPECT_GT(expected["one"].connections, 20u);
}

TEST_P(RuleCountsTest, LongConnectionCountsBeforeThePassComes) {
    World world("policy: {rules: [{name: one, proto: udp, action: accept}]}\n", GetParam());
    const auto f = flow("10.0.0.1", 1000, "20.0.0.1", 1);
    const auto frame = frames::udp(f, "x");
    for (unsigned i = 0; i < Conn::kRound - 1; ++i)
        ASSERT_TRUE(world.from_inside(frame));
    EXPECT_LE(counts(world)["one"].packets, 1u) << "time stands still, and no round is full";
    ASSERT_TRUE(world.from_outside(frames::udp(f.back(), "x")));
    ASSERT_TRUE(world.from_inside(frame));
    EXPECT_EQ(counts(world)["one"],
              (Counts{1, Conn::kRound + 1, (Conn::kRound + 1) * frame.size()}));
    ASSERT_TRUE(world.from_inside(frame));
    pass_over_the_table(world);
    EXPECT_EQ(counts(world)["one"].packets, Conn::kRound + 2);
    pass_over_the_table(world);
    EXPECT_EQ(counts(world)["one"].packets, Conn::kRound + 2);
    EXPECT_EQ(world.connection(1)->conn.packets(Direction::original), Conn::kRound + 1);
}

TEST_P(RuleCountsTest, ErrorsCountForTheRuleThatNamesTheirType) {
    const std::string common = "{name: web, from: inside, proto: tcp, dport: 80, action: accept}";
    World world("policy: {rules: [{name: errors, proto: icmp, icmp_type: 3, action: accept}, " +
                    common + "]}\n",
                GetParam());
    const auto f = flow("10.0.0.1", 1000, "20.0.0.1", 80);
    const auto syn = frames::tcp(f, {.flags = 0x02});
    ASSERT_TRUE(world.from_inside(syn));
    const auto error = frames::unreachable(*IpAddr::parse("20.0.0.9"), f.src, syn);
    ASSERT_TRUE(world.from_outside(error));
    pass_over_the_table(world);
    EXPECT_EQ(counts(world)["errors"], (Counts{0, 1, error.size()}));
    EXPECT_EQ(counts(world)["web"].packets, 1u);
}

TEST_P(RuleCountsTest, ARuleKeepsItsCountersByName) {
    const auto policy = [](const std::string& rules) {
        return World::with_two_ports("policy: {rules: [" + rules + "]}\n");
    };
    const std::string one = "{name: one, proto: udp, dport: 1, action: accept}",
                      two = "{name: two, proto: udp, dport: 2, action: accept}",
                      three = "{name: three, proto: udp, dport: 3, action: accept}";
    World world("policy: {rules: [" + one + ", " + two + "]}\n", GetParam());
    const auto send = [&](std::uint16_t sport, std::uint16_t dport) {
        return world.from_inside(frames::udp(flow("10.0.0.1", sport, "20.0.0.1", dport), "x"));
    };
    const auto pass = [&] {
        world.turn();  // the sweep
        pass_over_the_table(world);
    };
    ASSERT_TRUE(send(1000, 1) && send(1001, 1) && send(1000, 2));
    pass_over_the_table(world);
    ASSERT_EQ(counts(world)["one"].packets, 2u);

    // In another order, and with a third one.
    ASSERT_TRUE(world.replace(policy(three + ", " + two + ", " + one)));
    pass();
    ASSERT_TRUE(send(1000, 1) && send(1000, 3));
    pass_over_the_table(world);
    EXPECT_EQ(counts(world)["one"].packets, 3u);
    EXPECT_EQ(counts(world)["one"].connections, 2u);
    EXPECT_EQ(counts(world)["three"].packets, 1u);

    // Without `one`: its connections stay, and count for none. Its number becomes another's.
    ASSERT_TRUE(send(1001, 1));
    ASSERT_TRUE(world.replace(policy(two)));
    pass();
    ASSERT_TRUE(send(1000, 1));
    ASSERT_TRUE(
        world.replace(policy("{name: four, proto: udp, dport: 4, action: accept}, " + two)));
    pass();
    EXPECT_EQ(counts(world)["four"], Counts{});
    EXPECT_EQ(counts(world)["two"].packets, 1u);
    ASSERT_TRUE(send(1000, 4));

    // It comes back with another number.
    ASSERT_TRUE(world.replace(
        policy("{name: four, proto: udp, dport: 4, action: accept}, " + two + ", " + one)));
    pass();
    EXPECT_EQ(counts(world)["four"].packets, 1u);
    EXPECT_EQ(counts(world)["one"].packets, 4u) << "with the packet before its removal";
    EXPECT_EQ(counts(world)["one"].connections, 2u);
    ASSERT_TRUE(send(1002, 1));
    pass_over_the_table(world);
    EXPECT_EQ(counts(world)["one"].packets, 5u);
}

TEST_P(RuleCountsTest, RecheckedConnectionCountsForEachRuleInItsTime) {
    const std::string text = "policy: {on_change: recheck, rules: [{name: ";
    const std::string rest = ", proto: udp, action: accept}]}\n";
    World world(text + "before" + rest, GetParam());
    const auto frame = frames::udp(flow("10.0.0.1", 1000, "20.0.0.1", 1), "x");
    ASSERT_TRUE(world.from_inside(frame) && world.from_inside(frame));
    ASSERT_TRUE(world.replace(World::with_two_ports(
        "policy: {on_change: recheck, rules: [{name: after, proto: udp, action: accept}, "
        "{name: before, proto: tcp, action: drop}]}\n")));
    pass_over_the_table(world);
    ASSERT_TRUE(world.from_inside(frame));
    pass_over_the_table(world);
    EXPECT_EQ(counts(world)["before"].packets, 2u);
    EXPECT_EQ(counts(world)["after"].packets, 1u);
    EXPECT_EQ(counts(world)["after"].connections, 0u) << "it was begun by the other rule";
}

TEST_P(RuleCountsTest, RestoredPacketsWereCountedBefore) {
    World world("policy: {rules: [{name: one, proto: udp, action: accept}]}\n", 1);
    const auto f = flow("10.0.0.1", 1000, "20.0.0.1", 1);
    ASSERT_TRUE(world.from_inside(frames::udp(f, "x")));
    RestoreRequest request;
    request.conn = world.connection(1)->conn;
    request.conn.sport = Be16::from_host(1001);
    request.conn.set_counts(Direction::original, 1000, 100'000);
    request.conn.set_counts(Direction::reply, 77, 5000);
    Worker& worker = world.fw().worker(0);
    worker.begin_turn(world.now);
    ASSERT_EQ(worker.tracking().restore(request).outcome, RestoreRequest::Outcome::restored);
    const auto frame = frames::udp(flow("10.0.0.1", 1001, "20.0.0.1", 1), "abc");
    pass_over_the_table(world);
    EXPECT_EQ(counts(world)["one"].packets, 1u);
    for (unsigned i = 0; i < 300; ++i)
        ASSERT_TRUE(world.from_inside(frame));
    pass_over_the_table(world);
    EXPECT_EQ(counts(world)["one"].packets, 301u);
    EXPECT_EQ(counts(world)["one"].connections, 1u);
}

TEST_P(RuleCountsTest, LastPacketIsKnownByTheWallClock) {
    World world(
        "policy: {rules: [{name: one, proto: udp, dport: 1, action: accept},"
        "                 {name: off, proto: udp, dport: 2, action: drop}]}\n",
        GetParam());
    RuleBook& book = world.fw().rule_book();
    const RuleId one = world.fw().plan().rule_lines[0].id, off = world.fw().plan().rule_lines[1].id;
    book.look_at_times(world.now, kWallMs);
    EXPECT_EQ(book.of(one).last_ms, 0);
    ASSERT_TRUE(world.from_inside(frames::udp(flow("10.0.0.1", 1000, "20.0.0.1", 1), "x")));
    world.pass(2000);
    ASSERT_TRUE(world.from_inside(frames::udp(flow("10.0.0.1", 1000, "20.0.0.1", 1), "x")));
    world.pass(3000);
    ASSERT_FALSE(world.from_inside(frames::udp(flow("10.0.0.1", 1000, "20.0.0.1", 2), "x")));
    book.look_at_times(world.now, kWallMs + 5000);
    EXPECT_EQ(book.of(one).last_ms, kWallMs + 2000);
    EXPECT_EQ(book.of(off).last_ms, kWallMs + 5000);
    EXPECT_EQ(book.of_default().last_ms, 0);
    // Looking again later changes nothing.
    world.pass(1000);
    book.look_at_times(world.now, kWallMs + 6000);
    EXPECT_EQ(book.of(one).last_ms, kWallMs + 2000);
}

}  // namespace
}  // namespace postern
