// SPDX-License-Identifier: BSD-3-Clause
// Another configuration while connections run: what they keep, what they lose, and when.
#include <set>

#include <gtest/gtest.h>

#include "replaced_world.h"
#include "support/eal.h"
#include "support/requests.h"

namespace postern {
namespace {

const auto* const kEal = ::testing::AddGlobalTestEnvironment(new EalEnvironment);

const std::string kFtp = "helpers: [{name: ftp}]\n";

std::string policy(const std::string& rules) {
    return "policy:\n  default: drop\n  rules:\n" + rules;
}
std::string rule(const std::string& name, const std::string& rest) {
    return "    - {name: " + name + ", action: accept, " + rest + "}\n";
}
const std::string kWeb = rule("web", "from: inside, to: outside, proto: tcp, dport: 80");
const std::string kMail = rule("mail", "from: inside, to: outside, proto: tcp, dport: 25");
const std::string kFtpRules =
    rule("ftp-control", "from: inside, to: outside, proto: tcp, dport: 21, helper: ftp") +
    rule("ftp-data", "ct: [related], related: [ftp]");

Spec spec_of(const std::string& text) {
    auto loaded = load_spec_text(text, "next.yaml", build_schema());
    for (const auto& e : loaded.errors)
        ADD_FAILURE() << e.to_string();
    return loaded.ok() ? *loaded.spec : Spec{};
}

class Replaced : public ReplacedWorld {
  protected:
    Talk talk(unsigned dport, unsigned sport = 40000) {
        return Talk(world(), frames::flow("192.0.2.1", sport, "192.0.2.2", dport));
    }
    std::string rule_of(std::uint16_t dport) {
        const auto found = world().connection(dport);
        return found ? fw().plan().rule_name(found->conn.rule) : "no connection";
    }
};
INSTANTIATE_TEST_SUITE_P(Workers, Replaced, ::testing::Values(1u, 4u));

TEST_P(Replaced, NewConnectionsAreJudgedByTheNewRules) {
    begin(kZones + policy(kWeb));
    EXPECT_FALSE(talk(25).open());
    Talk web = talk(80);
    EXPECT_TRUE(web.open());
    replace(kZones + policy(kMail));
    EXPECT_TRUE(talk(25).open());
    EXPECT_FALSE(talk(80, 40001).open());
    EXPECT_TRUE(web.client("GET / HTTP/1.0\r\n\r\n"));  // it was accepted
}

TEST_P(Replaced, ARuleKeepsItsNumberWhateverIsWrittenBeforeIt) {
    begin(kZones + policy(kWeb + kMail));
    EXPECT_TRUE(talk(80).open());
    EXPECT_TRUE(talk(25).open());
    replace(kZones + policy(rule("first", "from: outside, proto: udp") + kMail + kWeb));
    world().turn();
    EXPECT_EQ(rule_of(80), "web");
    EXPECT_EQ(rule_of(25), "mail");
    Talk more = talk(80, 40001);
    EXPECT_TRUE(more.open());
    EXPECT_EQ(rule_of(80), "web");
    EXPECT_EQ(number_of("first"), RuleId{2});
}

TEST_P(Replaced, TheFirstRuleThatMatchesDecidesWhateverItsNumber) {
    begin(kZones + policy(kWeb));
    const std::string no =
        "    - {name: no-web, action: drop, from: inside, proto: tcp, dport: 80}\n";
    replace(kZones + policy(no + kWeb));
    EXPECT_GT(number_of("no-web"), number_of("web"));
    EXPECT_FALSE(talk(80).open());
    replace(kZones + policy(kWeb + no));
    EXPECT_TRUE(talk(80, 40001).open());
}

TEST_P(Replaced, ConnectionsOfARuleThatIsGoneHaveNone) {
    begin(kZones + policy(kWeb + kMail));
    EXPECT_TRUE(talk(80).open());
    replace(kZones + policy(kMail));
    EXPECT_EQ(rule_of(80), "");  // also before a worker has looked
    world().turn();
    EXPECT_EQ(world().connection(80)->conn.rule, kNoRule);
}

TEST_P(Replaced, TheNumberOfARuleThatIsGoneIsFreeAfterTheSweepOnly) {
    begin(kZones + policy(kWeb + kMail));
    EXPECT_TRUE(talk(80).open());
    const RuleId old = number_of("web");
    replace(kZones + policy(kMail));
    replace(kZones + policy(kMail + rule("a", "proto: udp")));
    EXPECT_NE(number_of("a"), old);
    world().turn();
    replace(kZones + policy(kMail + rule("b", "proto: udp")));
    EXPECT_EQ(number_of("b"), old);
    EXPECT_EQ(rule_of(80), "");
}

std::string recheck(const std::string& rules) {
    return "policy:\n  on_change: recheck\n  rules:\n" + rules;
}

TEST_P(Replaced, RecheckEndsWhatTheNewRulesRefuse) {
    begin(kZones + policy(kWeb + kMail));
    EXPECT_TRUE(talk(80).open());
    Talk mail = talk(25);
    EXPECT_TRUE(mail.open());
    replace(kZones + recheck(kMail));
    world().turn();
    EXPECT_FALSE(world().connection(80));
    EXPECT_EQ(world().sum(&WorkerCounters::connections_refused), 1u);
    EXPECT_EQ(rule_of(25), "mail");
    EXPECT_TRUE(mail.client("QUIT\r\n"));
}

TEST_P(Replaced, RecheckAsksAboutConnectionsWhoseOwnRuleIsThereAsWell) {
    const std::string no =
        "    - {name: no-web, action: reject, from: inside, proto: tcp, dport: 80}\n";
    begin(kZones + policy(kWeb + kMail));
    EXPECT_TRUE(talk(80).open());
    EXPECT_TRUE(talk(25).open());
    replace(kZones + policy(no + kWeb + kMail));
    world().turn();
    EXPECT_EQ(rule_of(80), "web");  // keep is the default
    replace(kZones + recheck(no + kWeb + kMail));
    world().turn();
    EXPECT_FALSE(world().connection(80));
    EXPECT_EQ(rule_of(25), "mail");
}

TEST_P(Replaced, RecheckNamesTheRuleThatAcceptsNow) {
    begin(kZones + policy(kWeb));
    EXPECT_TRUE(talk(80).open());
    replace(kZones + recheck(rule("renamed", "from: inside, to: outside, proto: tcp, dport: 80")));
    world().turn();
    EXPECT_EQ(rule_of(80), "renamed");
}

TEST_P(Replaced, RecheckAsksAsAboutTheFirstPacket) {
    const std::string ping = rule("ping", "from: inside, proto: icmp, icmp_type: echo-request"),
                      dns = rule("dns", "from: inside, proto: udp, sport: 40000, dport: 53"),
                      tunnel = rule("tunnel", "from: outside, proto: gre");
    begin(kZones + policy(ping + dns + tunnel));
    const frames::Flow f = frames::flow("192.0.2.1", 40000, "192.0.2.2", 53);
    EXPECT_TRUE(world().from_inside(frames::udp(f)));
    EXPECT_TRUE(world().from_outside(frames::udp(f.back())));
    EXPECT_TRUE(world().from_inside(frames::echo(f, true, 1)));
    EXPECT_TRUE(world().from_outside(frames::ip(f.dst, f.src, proto::gre, frames::Frame(8))));
    const auto connections = [&] {
        std::size_t n = 0;
        for (unsigned w = 0; w < fw().workers(); ++w)
            n += fw().worker(w).conns().size();
        return n;
    };
    ASSERT_EQ(connections(), 3u);
    replace(kZones + recheck(ping + dns + tunnel));
    world().turn();
    EXPECT_EQ(connections(), 3u);
    replace(kZones + recheck(rule("other-type",
                                  "from: inside, proto: icmp, icmp_type: "
                                  "timestamp-request") +
                             rule("other-port", "from: inside, proto: udp, dport: 40000") +
                             rule("other-way", "from: inside, proto: gre")));
    world().turn();
    EXPECT_EQ(connections(), 0u);
}

/// An FTP session with running transfers, most of them on other workers than it.
class Transfers : public Replaced {
  protected:
    static constexpr unsigned kTransfers = 6;
    void begin_transfers() {
        begin(kZones + kFtp + policy(kFtpRules + kMail));
        control.emplace(talk(21));
        ASSERT_TRUE(control->open());
        ASSERT_TRUE(control->server("220 hello\r\n"));
        for (unsigned i = 0; i < kTransfers; ++i) {
            ASSERT_TRUE(control->client("PASV\r\n"));
            ASSERT_TRUE(control->server("227 Entering Passive Mode (192,0,2,2,195," +
                                        std::to_string(80 + i) + ")\r\n"));
            ASSERT_TRUE(talk(50000 + i, 41000 + i).open());
        }
        ASSERT_EQ(running(), kTransfers);
    }
    unsigned running() {
        unsigned n = 0;
        for (unsigned i = 0; i < kTransfers; ++i)
            n += world().connection(static_cast<std::uint16_t>(50000 + i)).has_value();
        return n;
    }
    void turns() {
        for (unsigned i = 0; i < 4; ++i)
            world().turn();
    }
    std::optional<Talk> control;
};
INSTANTIATE_TEST_SUITE_P(Workers, Transfers, ::testing::Values(1u, 4u));

TEST_P(Transfers, FollowTheirMasterThatRecheckEnds) {
    begin_transfers();
    // What is related would still be accepted by itself.
    replace(kZones + kFtp + recheck(rule("ftp-data", "ct: [related], related: [ftp]") + kMail));
    turns();
    EXPECT_FALSE(world().connection(21));
    EXPECT_EQ(running(), 0u);
    EXPECT_EQ(world().sum(&WorkerCounters::children_ended), kTransfers);
}

TEST_P(Transfers, FollowTheirMasterThatRecheckKeeps) {
    begin_transfers();
    // What is related would not be accepted any more.
    replace(kZones + kFtp +
            recheck(rule("ftp-control",
                         "from: inside, to: outside, proto: tcp, dport: 21, helper: ftp") +
                    kMail));
    turns();
    EXPECT_EQ(rule_of(21), "ftp-control");
    EXPECT_EQ(running(), kTransfers);
}

TEST_P(Replaced, RecheckKeepsWhatAnOperatorExpected) {
    // The rule changes the mark by which it was chosen.
    const std::string rules =
        recheck(rule("by-hand", "ct: [related], mark: 0x10/0xff, set: {mark: 0x20/0xff}"));
    begin(kZones + rules);
    ExpectRequest r;
    r.protocol = proto::tcp;
    r.dst = *IpAddr::parse("192.0.2.2");
    r.dport = Be16::from_host(80);
    r.mark = 0x10;
    r.timeout_ms = 5000;
    const auto by = static_cast<OwnerId>(fw().workers());
    ASSERT_EQ(fw().expectations().owner(by).insert(r, nullptr, {world().now}).outcome,
              InsertOutcome::created);
    ASSERT_TRUE(talk(80).open());
    ASSERT_EQ(world().connection(80)->conn.mark, 0x20u);
    replace(kZones + rules + rule("more", "proto: udp"));
    world().turn();
    EXPECT_TRUE(world().connection(80));
}

TEST_P(Replaced, RecheckAsksAboutABoundedNumberOfConnectionsATurn) {
    begin(kZones + policy(kWeb + kMail));
    replace(kZones + recheck(kMail));
    Worker& w = fw().worker(0);
    w.begin_turn(world().now);
    unsigned turns = 1;
    while (!w.housekeeping(world().now))
        ++turns;
    EXPECT_GE(turns, w.conns().capacity() / kMaxBurst);
}

TEST_P(Replaced, AConnectionRestoredBehindTheSweepHoldsNothingThatIsGone) {
    begin(kZones + policy(kWeb + kMail));
    EXPECT_TRUE(talk(80).open());
    const auto found = world().connection(80);
    Worker& w = fw().worker(found->worker);
    w.tracking().end(found->id.index, ConnEnd::control);
    replace(kZones + policy(kMail));
    w.begin_turn(world().now);
    ASSERT_FALSE(w.housekeeping(world().now)) << "the sweep is through";
    // Control has read it by the plan before.
    ASSERT_EQ(restore_into(w, {found->conn, {}}, 0, 0).outcome, RestoreRequest::Outcome::restored);
    while (!w.housekeeping(world().now)) {
    }
    EXPECT_EQ(world().connection(80)->conn.rule, kNoRule);
}

/// Together they have more rules than 16 bits can number.
class ManyRules : public ::testing::Test {
  protected:
    static constexpr unsigned kRules = 60'000;

    /// "web", and PREFIX0 and on, one for each of so many destinations.
    static Spec spec_of_rules(const std::string& prefix) {
        Spec spec = spec_of(kBase + kZones + policy(kWeb));
        const RuleSpec like = spec.policy.rules[0];
        spec.policy.rules.reserve(kRules + 1);
        for (unsigned i = 0; i < kRules; ++i) {
            RuleSpec r = like;
            r.name = prefix + std::to_string(i);
            r.dst = {Prefix{address(i), 32}};
            r.dport = {{1000, 2000}};
            spec.policy.rules.push_back(std::move(r));
        }
        return spec;
    }
    static IpAddr address(unsigned i) {
        return IpAddr::v4(10, 1, static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i));
    }
    /// The rule of a new connection to this port of the i-th destination.
    RuleId rule_of(unsigned i, std::uint16_t dport) {
        Talk talk(world, frames::flow("192.0.2.1", 40000, address(i).to_string(), dport));
        EXPECT_TRUE(talk.open());
        return world.connection(dport)->conn.rule;
    }
    void replace(const std::string& prefix) {
        const auto done = world.fw().replace_plan(spec_of_rules(prefix));
        ASSERT_TRUE(done.ok()) << done.error().message;
    }
    const NameTable& names() { return world.fw().plan().names.rules; }
    void sweep() {
        for (unsigned i = 0; i < 4; ++i)
            world.turn();
    }

    World world{World::Whole{kBase + kZones + policy(kWeb)}, 1};
};

TEST_F(ManyRules, AllOfAPlanReplacedByAsManyOthers) {
    replace("a");
    sweep();
    const RuleId old = rule_of(7, 1007);
    Talk web(world, frames::flow("192.0.2.1", 40000, "192.0.2.2", 80));
    ASSERT_TRUE(web.open());
    EXPECT_EQ(names().name(old.number()), "a7");

    // Before the sweep: each number still means the one name that it meant.
    replace("b");
    EXPECT_EQ(world.connection(1007)->conn.rule, old);
    EXPECT_EQ(names().name(old.number()), "a7");
    EXPECT_TRUE(names().is_gone(old.number()));
    EXPECT_GT(names().end(), 0x10000u + kRules / 2);
    const RuleId fresh = rule_of(kRules - 1, 1008);
    EXPECT_GT(fresh.number(), 0xffffu);
    EXPECT_EQ(world.fw().plan().rule_name(fresh), "b" + std::to_string(kRules - 1));

    sweep();
    EXPECT_EQ(world.connection(1007)->conn.rule, kNoRule);
    EXPECT_EQ(world.connection(1008)->conn.rule, fresh);
    EXPECT_EQ(world.fw().plan().rule_name(world.connection(80)->conn.rule), "web");

    // The old numbers are free for the next plan.
    Names next = world.fw().next_names();
    EXPECT_FALSE(next.has_gone());
    EXPECT_EQ(next.rules.use("c"), old.number() - 7);
}

TEST_P(Replaced, TheSweepLooksAtABoundedNumberOfConnectionsATurn) {
    begin(kZones + policy(kWeb + kMail));
    replace(kZones + policy(kMail));
    Worker& w = fw().worker(0);
    const std::uint64_t before = w.sweep().swept();
    w.begin_turn(world().now);
    unsigned turns = 1;
    while (!w.housekeeping(world().now))
        ++turns;
    EXPECT_GE(turns, w.conns().capacity() / 256);
    EXPECT_GT(w.sweep().swept(), before);
}

TEST_P(Replaced, AnExpectationHoldsTheNumberOfItsRule) {
    begin(kZones + kFtp + policy(kFtpRules + kMail));
    Talk control = talk(21);
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("220 hello\r\n"));
    ASSERT_TRUE(control.client("PASV\r\n"));
    ASSERT_TRUE(control.server("227 Entering Passive Mode (192,0,2,2,195,80)\r\n"));
    ASSERT_EQ(fw().expectations().live(), 1u);
    const RuleId old = number_of("ftp-control");
    // The helper stays by another rule; the expectation, too.
    const std::string renamed =
        rule("renamed", "from: inside, to: outside, proto: tcp, dport: 21, helper: ftp") +
        rule("ftp-data", "ct: [related], related: [ftp]");
    replace(kZones + kFtp + policy(renamed + kMail));
    world().turn();
    EXPECT_EQ(fw().expectations().live(), 1u);
    replace(kZones + kFtp + policy(renamed + kMail + rule("a", "proto: udp")));
    EXPECT_NE(number_of("a"), old);
    EXPECT_TRUE(talk(50000, 41000).open());  // the data connection
    world().turn();
    world().pass(2000);  // what has been claimed is free after a grace period
    replace(kZones + kFtp + policy(renamed + kMail + rule("b", "proto: udp")));
    EXPECT_EQ(number_of("b"), old);
}

TEST_P(Replaced, AHelperGoesOnReadingWithItsNewParameters) {
    begin(kZones + kFtp + policy(kFtpRules));
    Talk control = talk(21);
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("220 hello\r\n"));
    ASSERT_TRUE(control.client("PA"));
    replace(kZones + "helpers: [{name: ftp, params: {loose: true, own_address: false}}]\n" +
            policy(kFtpRules));
    ASSERT_TRUE(control.client("SV\r\n"));
    // Loose: another host's address.
    ASSERT_TRUE(control.server("227 Entering Passive Mode (192,0,2,77,195,80)\r\n"));
    EXPECT_NE(fw().expectations().live(), 0u);
    EXPECT_TRUE(Talk(world(), frames::flow("192.0.2.1", 41000, "192.0.2.77", 50000)).open());
}

// A connection that was seen from its first packet is not one met in mid-stream once it is
// forgotten, also where no helper picked up when it began. Until then nobody sets memory aside for
// that.
TEST_P(Replaced, TheFirstHelperThatPicksUpKnowsTheConnectionsThatRun) {
    const auto passive = [](Talk& t, const std::string& port) {
        return t.client("NOOP\r\n") && t.server("200 ok\r\n") &&
               t.packet(Direction::original, tcp_flag::ack) && t.client("PASV\r\n") &&
               t.server("227 ok (192,0,2,2,195," + port + ")\r\n");
    };
    const auto reset = [](Talk& t) {
        return t.packet(Direction::reply, tcp_flag::rst | tcp_flag::ack);
    };
    const auto forget = [&] {
        world().now = world().now + 60'000;
        world().turn();
    };
    const std::string with =
        kZones + "helpers: [{name: ftp, params: {pick_up: true}}]\n" + policy(kFtpRules);
    begin(kZones + kFtp + policy(kFtpRules));
    Talk before = talk(21, 40000), during = talk(21, 40001);
    ASSERT_TRUE(before.open());
    ASSERT_TRUE(during.open());
    ASSERT_TRUE(reset(before));
    forget();
    for (unsigned w = 0; w < fw().workers(); ++w)
        EXPECT_FALSE(fw().worker(w).helping().has_known_flows());

    replace(with);
    ASSERT_TRUE(during.client("NOOP\r\n"));  // it runs on
    ASSERT_TRUE(reset(during));
    forget();
    ASSERT_TRUE(passive(during, "80"));
    EXPECT_FALSE(talk(50000, 41000).open());
    // Nothing was noted before that plan: as after a start.
    ASSERT_TRUE(passive(before, "81"));
    EXPECT_TRUE(talk(50001, 41001).open());

    // What was noted stays noted while no helper picks up.
    replace(kZones + kFtp + policy(kFtpRules));
    ASSERT_TRUE(reset(during));
    forget();
    replace(with);
    ASSERT_TRUE(passive(during, "82"));
    EXPECT_FALSE(talk(50002, 41002).open());
}

TEST_P(Replaced, AHelperThatIsGoneReadsNothingMore) {
    begin(kZones + kFtp + policy(kFtpRules));
    Talk control = talk(21);
    ASSERT_TRUE(control.open());
    ASSERT_TRUE(control.server("220 hello\r\n"));
    ASSERT_TRUE(control.client("PASV\r\n"));
    ASSERT_TRUE(control.server("227 Entering Passive Mode (192,0,2,2,195,80)\r\n"));
    ASSERT_EQ(fw().expectations().live(), 1u);
    const std::string without =
        kZones + policy(rule("ftp-control", "from: inside, to: outside, proto: tcp, dport: 21"));
    replace(without);
    // Its next packet comes before the sweep has found it.
    const unsigned on = world().connection(21)->worker;
    frames::TcpFields t{.flags = 0x18, .seq = 1007, .ack = 5000 + 1 + 11 + 46};
    t.payload = "PASV\r\n";
    EXPECT_EQ(
        world().send_burst(
            {{frames::tcp(frames::flow("192.0.2.1", 40000, "192.0.2.2", 21), t), World::kInside}},
            on),
        "a");
    world().turn();
    EXPECT_EQ(fw().expectations().live(), 0u);
    EXPECT_EQ(world().connection(21)->conn.helper, kNoHelper);
    EXPECT_EQ(world().sum(&WorkerCounters::helpers_detached), 1u);
    EXPECT_FALSE(talk(50000, 41000).open());
    // And back: for new connections.
    replace(kZones + kFtp + policy(kFtpRules));
    Talk again = talk(21, 40005);
    ASSERT_TRUE(again.open());
    ASSERT_TRUE(again.server("220 hello\r\n"));
    ASSERT_TRUE(again.client("PASV\r\n"));
    ASSERT_TRUE(again.server("227 Entering Passive Mode (192,0,2,2,195,81)\r\n"));
    EXPECT_TRUE(talk(50001, 41001).open());
}

TEST_P(Replaced, AHelperThatWasRemovedComesBackWithThePlanThatHasIt) {
    begin(kZones + kFtp + policy(kFtpRules));
    fw().remove_helper(1);
    world().turn();
    EXPECT_TRUE(fw().is_gone(1));
    replace(kZones + kFtp + policy(kFtpRules));
    EXPECT_FALSE(fw().is_removed(1));
    ASSERT_TRUE(talk(21).open());
    world().turn();
    EXPECT_NE(world().connection(21)->conn.helper, kNoHelper);
}

TEST_P(Replaced, ZonesInAnotherOrderAreTheSameZones) {
    begin(kZones + policy(kWeb));
    Talk web = talk(80);
    EXPECT_TRUE(web.open());
    replace("zones: [dmz, outside, inside]\n" + policy(kWeb));
    EXPECT_TRUE(web.client("GET / HTTP/1.0\r\n\r\n"));
    EXPECT_TRUE(web.server("HTTP/1.0 200 OK\r\n\r\n"));
    EXPECT_TRUE(talk(80, 40001).open());
    EXPECT_FALSE(Talk(world(), frames::flow("192.0.2.9", 40002, "192.0.2.1", 80), false).open());
    EXPECT_EQ(world().drops(DropReason::wrong_zone), 0u);
}

TEST_P(Replaced, ConnectionsFollowTheirZoneWhereItIsLooseNow) {
    const std::string loose =
        "zones: [{name: inside, sides: loose}, outside, {name: lab, sides: loose}]\n";
    begin(kZones + policy(kWeb));
    Talk web = talk(80);
    EXPECT_TRUE(web.open());
    replace(loose + policy(kWeb));
    EXPECT_TRUE(web.client("a"));
    world().turn();
    EXPECT_TRUE(web.server("b"));
    replace(kZones + policy(kWeb));
    EXPECT_TRUE(web.client("c"));
    world().turn();
    EXPECT_TRUE(web.server("d"));
    EXPECT_EQ(world().drops(DropReason::wrong_zone), 0u);
}

TEST_P(Replaced, ConnectionsOfAZoneThatIsGoneEnd) {
    begin(kZones + policy(kWeb));
    EXPECT_TRUE(talk(80).open());
    std::string moved = kBase;
    moved.replace(moved.find("zone: inside"), 12, "zone: branch");
    const auto done = fw().replace_plan(
        spec_of(moved + "zones: [branch, outside]\n" +
                policy(rule("web", "from: branch, to: outside, proto: tcp, dport: 80"))));
    ASSERT_TRUE(done.ok());
    world().turn();
    EXPECT_FALSE(world().connection(80));
    EXPECT_TRUE(talk(80, 40001).open());
    EXPECT_EQ(fw().plan().edges[world().connection(80)->conn.edge(Direction::original)].name,
              "branch");
}

TEST_P(Replaced, ATimeoutProfileKeepsItsNumberAndItsConnectionsLoseOneThatIsGone) {
    const std::string profiles =
        "timeouts:\n  profiles: {short: {tcp: {established: 60}}, shorter: {tcp: {established: "
        "30}}}\n";
    const auto with = [](const std::string& profile) {
        return rule("web",
                    "from: inside, to: outside, proto: tcp, dport: 80, timeouts: " + profile);
    };
    begin(kZones + profiles + policy(with("short") + rule("udp", "proto: udp, timeouts: shorter")));
    Talk web = talk(80);
    EXPECT_TRUE(web.open());
    EXPECT_EQ(world().connection(80)->conn.timeout_ms, 60'000u);
    replace(kZones + profiles +
            policy(rule("udp", "proto: udp, timeouts: shorter") + with("short")));
    world().turn();
    EXPECT_EQ(fw().plan().timeouts_name(world().connection(80)->conn.timeouts()), "short");
    replace(kZones + policy(kWeb));
    world().turn();
    EXPECT_EQ(world().connection(80)->conn.timeouts(), 0u);
    EXPECT_EQ(world().connection(80)->conn.timeout_ms, 5u * 24 * 3600 * 1000);
}

TEST_P(Replaced, APlanThatDoesNotCompileChangesNothing) {
    begin(kZones + policy(kWeb));
    EXPECT_TRUE(talk(80).open());
    const std::uint64_t version = fw().plan().version;
    Spec bad = spec_of(kBase + kZones + policy(kMail));
    bad.pipeline = {"forward", "parse"};
    EXPECT_FALSE(fw().replace_plan(bad).ok());
    EXPECT_EQ(fw().plan().version, version);
    EXPECT_EQ(rule_of(80), "web");
    EXPECT_FALSE(talk(25).open());
}

TEST_P(Replaced, HelpersThatAreTheSameAreShared) {
    begin(kZones + kFtp + policy(kFtpRules));
    const auto before = fw().plan().helper_instances;
    replace(kZones + kFtp + policy(kFtpRules + kWeb));
    EXPECT_EQ(fw().plan().helper_instances, before);
    replace(kZones + "helpers: [{name: ftp, params: {loose: true, own_address: false}}]\n" +
            policy(kFtpRules));
    EXPECT_NE(fw().plan().helper_instances, before);
}

TEST_P(Replaced, ReplacedPlansAreFreed) {
    begin(kZones + kFtp + policy(kFtpRules));
    std::weak_ptr<const Policy> old = fw().plan().policy;
    replace(kZones + kFtp + policy(kFtpRules + kWeb));
    fw().reclaim_plans();
    EXPECT_FALSE(old.expired());
    world().turn();
    fw().reclaim_plans();
    EXPECT_TRUE(old.expired());
    EXPECT_TRUE(talk(80).open());
}

}  // namespace
}  // namespace postern
