// SPDX-License-Identifier: BSD-3-Clause
// Limits of rules: rates and connections at once, of the rule and by source, over all workers; what
// gives a place back; and the arithmetic against a plain model.
#include "pipeline/rule_limits.h"

#include <map>
#include <random>

#include <gtest/gtest.h>

#include "support/eal.h"
#include "support/requests.h"
#include "world.h"

namespace postern {
namespace {

using frames::flow;

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

std::string policy(const std::string& limit, const std::string& more = "") {
    return "policy: {rules: [{name: dns, proto: udp, dport: 53, action: accept, limit: " + limit +
           "}" + more + "]}\n";
}

class LimitOfRule : public ::testing::TestWithParam<unsigned> {
  protected:
    void begin(const std::string& text, const std::string& limits = World::kLimits) {
        limits_ = limits;
        world_.emplace(text, GetParam(), "", limits);
    }
    World& world() { return *world_; }
    void replace(const std::string& text) {
        const auto done = world().replace(World::with_two_ports(text, "", limits_));
        ASSERT_TRUE(done.ok()) << (done ? "" : done.error().message);
        world().turn();
    }
    /// So many connections, each begun from a port of its own; how many passed.
    unsigned open(unsigned n, const char* source = "192.0.2.1", std::uint16_t dport = 53) {
        unsigned passed = 0;
        const bool ipv6 = std::string_view(source).find(':') != std::string_view::npos;
        while (n-- > 0)
            passed += world().from_inside(frames::udp(
                flow(source, ++sport_, ipv6 ? "2001:db8:f::1" : "198.51.100.1", dport)));
        return passed;
    }
    std::uint32_t open_now(std::uint32_t rule = 0) {
        return world().fw().rule_limits().open_now(RuleId{rule});
    }
    void end_all(std::uint16_t dport = 53) {
        while (const auto found = world().connection(dport))
            world().fw().worker(found->worker).tracking().end(found->id.index, ConnEnd::control);
    }

  private:
    std::optional<World> world_;
    std::string limits_;
    unsigned sport_ = 1000;
};
INSTANTIATE_TEST_SUITE_P(Workers, LimitOfRule, ::testing::Values(1u, 4u));

TEST_P(LimitOfRule, RateIsOfAllWorkersTogether) {
    begin(policy("{connections: 6/m, burst: 3}"));
    EXPECT_EQ(open(20), 3u);
    EXPECT_EQ(world().drops(DropReason::rule_rate), 17u);
    world().now = world().now + 9'999;
    EXPECT_EQ(open(5), 0u);
    world().now = world().now + 1;
    EXPECT_EQ(open(5), 1u);
    world().now = world().now + 3'600'000;
    EXPECT_EQ(open(20), 3u) << "a pause gives the burst, no more";
}

TEST_P(LimitOfRule, WithoutABurstItIsTheNumberOfTheRate) {
    begin(policy("{connections: 7/s}"));
    EXPECT_EQ(open(20), 7u);
}

TEST_P(LimitOfRule, OtherRulesAreNotLimited) {
    begin(policy("{connections: 1/h, at_once: 1}", ", {proto: udp, action: accept}"));
    EXPECT_EQ(open(3), 1u) << "and the next rule is not tried";
    EXPECT_EQ(open(30, "192.0.2.1", 99), 30u);
}

TEST_P(LimitOfRule, AtOnceIsOfAllWorkersTogether) {
    begin(policy("{at_once: 5}"));
    EXPECT_EQ(open(50), 5u);
    EXPECT_EQ(world().drops(DropReason::rule_at_once), 45u);
    EXPECT_EQ(open_now(), 5u);
    const auto found = world().connection(53);
    world().fw().worker(found->worker).tracking().end(found->id.index, ConnEnd::control);
    EXPECT_EQ(open_now(), 4u);
    EXPECT_EQ(open(10), 1u);
    world().pass(200'000, 1000);  // all of them expire
    EXPECT_EQ(open_now(), 0u);
    EXPECT_EQ(open(50), 5u);
}

TEST_P(LimitOfRule, BySource) {
    begin(policy("{at_once: 10, per_source: {at_once: 3}}"));
    EXPECT_EQ(open(20, "192.0.2.1"), 3u);
    EXPECT_EQ(world().drops(DropReason::rule_source_at_once), 17u);
    EXPECT_EQ(open(20, "192.0.2.2"), 3u);
    EXPECT_EQ(open(20, "2001:db8:1::1"), 3u);
    EXPECT_EQ(open(20, "2001:db8:1::2"), 0u) << "of the same /64";
    EXPECT_EQ(open(20, "192.0.2.3"), 1u) << "the rule's own";
    EXPECT_EQ(open_now(), 10u);
    end_all();
    EXPECT_EQ(open_now(), 0u);
    EXPECT_EQ(open(20, "2001:db8:1::2"), 3u);
}

TEST_P(LimitOfRule, RateBySource) {
    begin(policy("{connections: 10/h, per_source: {connections: 2/m}}"));
    EXPECT_EQ(open(9, "192.0.2.1"), 2u);
    EXPECT_EQ(world().drops(DropReason::rule_source_rate), 7u);
    EXPECT_EQ(open(9, "192.0.2.2"), 2u);
    world().now = world().now + 30'000;
    EXPECT_EQ(open(9, "192.0.2.1"), 1u);
    EXPECT_EQ(open(2, "192.0.2.3") + open(2, "192.0.2.4") + open(2, "192.0.2.5"), 5u)
        << "a source that is too fast uses up nothing of the rule's";
}

TEST_P(LimitOfRule, ExpectedConnectionsDoNotCount) {
    begin(
        "helpers: [{name: ftp}]\n"
        "policy: {rules: [{name: all, action: accept, helper: ftp, proto: tcp,\n"
        "                  limit: {at_once: 1, connections: 1/h}}]}\n");
    Talk control(world(), flow("192.0.2.1", 40000, "192.0.2.2", 21));
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("220 ready\r\n"));
    ASSERT_TRUE(control.client("EPSV\r\n"));
    ASSERT_TRUE(control.server("229 ok (|||50000|)\r\n"));
    EXPECT_FALSE(Talk(world(), flow("192.0.2.1", 41000, "192.0.2.2", 50001)).open());
    EXPECT_TRUE(Talk(world(), flow("192.0.2.1", 41000, "192.0.2.2", 50000)).open());
    EXPECT_EQ(open_now(), 1u);
    end_all(50000);
    EXPECT_EQ(open_now(), 1u);
    end_all(21);
    EXPECT_EQ(open_now(), 0u);
}

TEST_P(LimitOfRule, AConnectionThatFailsGivesItsPlaceBack) {
    // Only one connection of two hosts can expect the same.
    begin(
        "policy: {rules: [{name: call, proto: tcp, action: accept, limit: {at_once: 5},\n"
        "                  expect: {proto: tcp, dport: 7000}}]}\n");
    EXPECT_TRUE(Talk(world(), flow("192.0.2.1", 40000, "192.0.2.2", 80)).open());
    EXPECT_FALSE(Talk(world(), flow("192.0.2.1", 40001, "192.0.2.2", 80)).open());
    EXPECT_EQ(world().drops(DropReason::expect), 1u);
    EXPECT_EQ(open_now(), 1u);
}

TEST_P(LimitOfRule, EarlyDropGivesThePlaceBack) {
    begin(policy("{at_once: 1000000}"),
          "connections: 64, expectations: 256, helped_connections: 64");
    EXPECT_EQ(open(400), 400u);
    EXPECT_GT(world().sum(&WorkerCounters::early_dropped), 100u);
    std::size_t there = 0;
    for (unsigned w = 0; w < GetParam(); ++w)
        there += world().fw().worker(w).conns().size();
    EXPECT_EQ(open_now(), there);
}

TEST_P(LimitOfRule, ARestoredConnectionCounts) {
    begin(policy("{at_once: 2}"));
    ASSERT_EQ(open(2), 2u);
    const auto found = world().connection(53);
    Worker& w = world().fw().worker(found->worker);
    Conn image = found->conn;
    w.tracking().end(found->id.index, ConnEnd::control);
    ASSERT_EQ(open_now(), 1u);
    image.first.limited = 0;  // as it is read
    ASSERT_EQ(restore_into(w, {image, {}}, 0, 0).outcome, RestoreRequest::Outcome::restored);
    EXPECT_EQ(open_now(), 2u);
    EXPECT_EQ(open(1), 0u);
    end_all();
    EXPECT_EQ(open_now(), 0u);
}

TEST_P(LimitOfRule, AnotherConfigurationCountsWhatRuns) {
    begin("policy: {rules: [{name: dns, proto: udp, dport: 53, action: accept}]}\n");
    ASSERT_EQ(open(4), 4u);
    EXPECT_EQ(open_now(), 0u);
    replace(policy("{at_once: 5, per_source: {at_once: 5}}"));
    EXPECT_EQ(open_now(), 4u);
    EXPECT_EQ(open(4), 1u);
    replace("policy: {rules: [{name: dns, proto: udp, dport: 53, action: accept}]}\n");
    EXPECT_EQ(open(1), 1u);
    replace(policy("{at_once: 6}"));
    EXPECT_EQ(open_now(), 6u);
    end_all();
    EXPECT_EQ(open_now(), 0u);
}

TEST_P(LimitOfRule, AFasterRateBeginsAnew) {
    begin(policy("{connections: 5/h}"));
    ASSERT_EQ(open(6), 5u);
    replace(policy("{connections: 1000/s}"));
    EXPECT_LE(open(5), 1u);
    // The longest that a bucket of this rate is empty.
    world().now = world().now + 1000;
    EXPECT_EQ(open(100), 100u);
}

TEST_P(LimitOfRule, ARuleThatIsGoneLeavesNothing) {
    begin(policy("{at_once: 5}"));
    ASSERT_EQ(open(4), 4u);
    replace("policy: {rules: [{name: other, proto: udp, action: accept}]}\n");
    EXPECT_EQ(open_now(), 0u);
    end_all();
    EXPECT_EQ(open_now(), 0u);
}

TEST_P(LimitOfRule, RecheckMovesTheCount) {
    begin(policy("{at_once: 5}"));
    ASSERT_EQ(open(4), 4u);
    replace(
        "policy: {on_change: recheck, rules: [{name: new, proto: udp, action: accept, limit: "
        "{at_once: 2}}, {name: dns, proto: tcp, action: accept, limit: {at_once: 1}}]}\n");
    EXPECT_EQ(open_now(0), 0u);
    EXPECT_EQ(open_now(1), 4u) << "more than the limit: none of them ends for that";
    EXPECT_EQ(open(1), 0u);
    end_all();
    EXPECT_EQ(open_now(1), 0u);
}

TEST_P(LimitOfRule, PacketsWithoutAConnection) {
    begin(
        "policy: {rules: [{proto: udp, track: no, action: accept,\n"
        "                  limit: {packets: 5/s, per_source: {packets: 3/s}}},\n"
        "                 {proto: icmp, action: accept, limit: {packets: 2/s}}]}\n");
    EXPECT_EQ(open(9, "192.0.2.1"), 3u);
    EXPECT_EQ(open(9, "192.0.2.2"), 2u);
    // Of the second source, too, three may try.
    EXPECT_EQ(world().drops(DropReason::rule_source_rate), 12u);
    EXPECT_EQ(world().drops(DropReason::rule_rate), 1u);
    const auto advert = frames::icmp(*IpAddr::parse("192.0.2.1"), *IpAddr::parse("192.0.2.2"), 9, 0,
                                     frames::Frame(12));
    unsigned passed = 0;
    for (unsigned i = 0; i < 5; ++i)
        passed += world().from_inside(advert);
    EXPECT_EQ(passed, 2u);
}

// --- the arithmetic -----------------------------------------------------------------------------

/// A bucket of tokens, in exact numbers.
struct Model {
    std::uint64_t most, cost, debt = 0;
    std::uint32_t at = 0;
    bool take(std::uint32_t now) {
        const std::uint64_t paid = std::uint64_t{now - at} * RuleRate::kUnitsPerMs;
        debt -= std::min(debt, paid);
        at = now;
        if (debt + cost > most) return false;
        debt += cost;
        return true;
    }
};

TEST(RuleLimitNumbers, AgreeWithAModel) {
    auto limits = RuleLimits::create(HashSecret::from_seed(3));
    ASSERT_TRUE(limits.ok());
    std::mt19937 random(5);
    for (unsigned round = 0; round < 40; ++round) {
        const std::uint64_t cost = 1 + random() % (round % 2 ? 50'000'000 : 5'000'000);
        const RuleRate rate{cost, cost * (1 + random() % 50)};
        RuleLimit limit;
        (round % 4 < 2 ? limit.connections : limit.source_connections) = rate;
        // Also over the end of the time's numbers.
        std::uint32_t now =
            round % 3 == 0 ? UINT32_MAX - 1000 : static_cast<std::uint32_t>(random());
        Model model{rate.most, rate.cost};
        model.at = now;
        const IpAddr source = IpAddr::v4(10, 0, 0, static_cast<std::uint8_t>(round));
        unsigned accepted = 0;
        for (unsigned i = 0; i < 2000; ++i) {
            now += random() % 3 == 0 ? static_cast<std::uint32_t>(random() % 1000) : 0u;
            const bool expected = model.take(now);
            const bool got = (*limits)->open({RuleId{round}, ZoneId{0}, source}, limit,
                                             Tick{now}) == DropReason::none;
            ASSERT_EQ(got, expected) << "round " << round << ", " << i;
            accepted += got;
        }
        EXPECT_GT(accepted, 0u);
        EXPECT_LT(accepted, 2001u);
    }
}

TEST(RuleLimitNumbers, AWorkerWhoseClockIsBehindGetsNothingMore) {
    auto limits = RuleLimits::create(HashSecret::from_seed(3));
    RuleLimit limit;
    limit.connections = {1000 * RuleRate::kUnitsPerMs, 2 * 1000 * RuleRate::kUnitsPerMs};
    const IpAddr source = IpAddr::v4(10, 0, 0, 1);
    const auto take = [&](std::uint32_t now) {
        return (*limits)->open({RuleId{1}, ZoneId{0}, source}, limit, Tick{now}) ==
               DropReason::none;
    };
    EXPECT_TRUE(take(10'000));
    EXPECT_TRUE(take(9'000));
    EXPECT_FALSE(take(9'500));
    EXPECT_FALSE(take(10'000));
    EXPECT_TRUE(take(11'000));
    EXPECT_FALSE(take(10'500));
}

/// Many sources: none gets more than its limit, and hardly one gets less.
TEST(RuleLimitNumbers, ManySources) {
    auto limits = RuleLimits::create(HashSecret::from_seed(11));
    RuleLimit limit;
    limit.source_at_once = 2;
    limit.source_connections = {3'600'000 * RuleRate::kUnitsPerMs / 3,
                                3'600'000 * RuleRate::kUnitsPerMs};
    constexpr unsigned kSources = 20'000;
    unsigned refused = 0;
    for (unsigned i = 0; i < kSources; ++i) {
        const IpAddr source =
            IpAddr::v4(10, static_cast<std::uint8_t>(i >> 16), static_cast<std::uint8_t>(i >> 8),
                       static_cast<std::uint8_t>(i));
        const RuleLimits::Who who{RuleId{1}, ZoneId{0}, source};
        for (unsigned k = 0; k < 2; ++k)
            refused += (*limits)->open(who, limit, Tick{5000}) != DropReason::none;
        ASSERT_EQ((*limits)->open(who, limit, Tick{5000}), DropReason::rule_source_at_once);
    }
    // (n / kSourceCells)^2 of them share both cells: 0.6 percent at the end, a third on average.
    EXPECT_LT(refused, kSources / 100);
}

}  // namespace
}  // namespace postern
