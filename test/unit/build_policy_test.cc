// SPDX-License-Identifier: BSD-3-Clause
// From a file in conf/ to verdicts: what its comments promise is what classify() says.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rte_eal.h>

#include "config/load.h"
#include "plan/policy_rules.h"
#include "sets/live_set.h"

namespace postern {
namespace {

class Eal : public ::testing::Environment {
  public:
    void SetUp() override {
        std::vector<const char*> args = {
            "build_policy_test", "--no-huge", "--no-shconf", "--no-pci",  "--no-telemetry",
            "--log-level=error", "-m",        "512",         "--lcores=0"};
        ASSERT_GE(rte_eal_init(static_cast<int>(args.size()), const_cast<char**>(args.data())), 0);
    }
    void TearDown() override { rte_eal_cleanup(); }
};
const auto* const kEal = ::testing::AddGlobalTestEnvironment(new Eal);

class BuiltOf {
  public:
    explicit BuiltOf(const char* file) {
        const Schema schema{
            .helpers = {{.name = "ftp",
                         .protocols = {proto::tcp},
                         .ports = {21},
                         .params = {{.name = "loose", .fallback = false}}},
                        {.name = "tftp", .protocols = {proto::udp}, .ports = {69}, .params = {}}},
            .stages = {"parse"},
            .default_pipeline = {"parse"}};
        auto loaded = load_spec(std::string(POSTERN_CONF_DIR "/") + file, schema);
        EXPECT_TRUE(loaded.ok());
        if (!loaded.ok()) return;
        spec_ = std::move(*loaded.spec);
        // With the contents at the start, as a plan has them.
        PolicyLiveSets sets;
        const auto shared = std::make_shared<SetShared>();
        for (const LiveSetSpec& set : spec_.sets) {
            auto live = std::make_shared<LiveSet>(shared);
            for (const TimedPrefix& e : *set.entries)
                live->add({e.prefix, kForEver});
            sets.push_back(live);
            sets_[set.name] = std::move(live);
        }
        auto built = build_policy(spec_, {}, std::move(sets));
        EXPECT_TRUE(built.ok()) << (built ? "" : built.error().message);
        if (built) policy_ = std::move(built.value());
    }
    /// The name of the rule that decides, and what it says.
    std::string ask(const PolicyQuery& q) const {
        if (!policy_) return "no policy";
        PolicyVerdict v;
        PolicyBurst burst;
        burst.add(0, q);
        policy_->classify(burst, &v);
        const char* const kActions[] = {"drop", "reject", "accept"};
        return (v.rule == kNoRule ? "default" : spec_.policy.rules[v.rule.number()].name) + " " +
               kActions[static_cast<unsigned>(v.action)] +
               (v.helper ? " " + spec_.helper(v.helper).name : "");
    }

    LiveSet& set(const std::string& name) { return *sets_.at(name); }

  private:
    Spec spec_;
    std::map<std::string, std::shared_ptr<LiveSet>> sets_;
    std::unique_ptr<Policy> policy_;
};

struct Packet {
    const char* src;
    const char* dst;
    std::uint8_t protocol;
    std::uint16_t dport;
    bool from_first_zone = true;
};
PolicyQuery fresh(const Packet& p) {
    return {.tuple = {*IpAddr::parse(p.src), *IpAddr::parse(p.dst), Be16::from_host(40000),
                      Be16::from_host(p.dport), p.protocol},
            .context = {.from = ZoneId::from(p.from_first_zone ? 0 : 1),
                        .to = ZoneId::from(p.from_first_zone ? 1 : 0)}};
}
PolicyQuery related(const Packet& p, HelperId by) {
    auto q = fresh(p);
    q.context.state = CtState::related;
    q.context.related_by = by;
    return q;
}

TEST(BuildPolicy, Demo) {
    const BuiltOf demo("demo.yaml");
    for (const bool v6 : {false, true}) {
        const char* in = v6 ? "2001:db8:1::1" : "192.0.2.1";
        const char* out = v6 ? "2001:db8:2::1" : "198.51.100.1";
        EXPECT_EQ(demo.ask(fresh({in, out, proto::tcp, 21})), "ftp-control accept ftp");
        EXPECT_EQ(demo.ask(fresh({in, out, proto::udp, 21})), "default drop");
        EXPECT_EQ(demo.ask(fresh({in, out, proto::tcp, 20})), "default drop");
        EXPECT_EQ(demo.ask(fresh({out, in, proto::tcp, 21, false})), "default drop");
        EXPECT_EQ(demo.ask(related({in, out, proto::tcp, 50000}, 1)), "ftp-data accept");
        EXPECT_EQ(demo.ask(related({out, in, proto::tcp, 50000, false}, 1)), "ftp-data accept");
        EXPECT_EQ(demo.ask(related({in, out, proto::tcp, 50000}, 2)), "default drop");
        EXPECT_EQ(demo.ask(related({in, out, proto::tcp, 21}, 1)), "ftp-data accept")
            << "ftp-control is for new connections";
    }
}

TEST(BuildPolicy, DemoWithoutHelper) {
    const BuiltOf demo("demo-no-helper.yaml");
    EXPECT_EQ(demo.ask(fresh({"192.0.2.1", "198.51.100.1", proto::tcp, 21})), "ftp-control accept");
    EXPECT_EQ(demo.ask(fresh({"192.0.2.1", "198.51.100.1", proto::tcp, 50000})), "default drop");
}

TEST(BuildPolicy, Sets) {
    BuiltOf sets("sets.yaml");
    const char* server = "192.0.2.80";
    const auto from = [&](const char* src, std::uint16_t port) {
        return sets.ask(fresh({src, server, proto::tcp, port, false}));
    };
    EXPECT_EQ(from("198.51.100.1", 443), "web accept");
    EXPECT_EQ(from("198.51.100.1", 22), "default drop");
    EXPECT_EQ(from("203.0.113.5", 22), "files accept") << "a partner, by the file";
    EXPECT_EQ(from("203.0.113.80", 22), "files accept");
    EXPECT_EQ(from("203.0.113.81", 22), "default drop");
    EXPECT_EQ(from("198.51.100.25", 22), "files accept") << "an address beside the set";
    EXPECT_EQ(from("192.0.2.200", 22), "login accept");
    EXPECT_EQ(sets.ask(fresh({server, "198.51.100.1", proto::tcp, 443})), "updates accept");
    for (const char* blocked : {"198.51.100.0/24", "203.0.113.0/24", "2001:db8:bad::/48"})
        sets.set("blocked").add({Prefix::parse(blocked).value(), kForEver});
    EXPECT_EQ(from("198.51.100.1", 443), "blocked drop");
    EXPECT_EQ(from("203.0.113.81", 443), "blocked drop");
    EXPECT_EQ(from("203.0.113.5", 443), "web accept") << "partners are exceptions";
    EXPECT_EQ(sets.ask(fresh({server, "198.51.100.1", proto::tcp, 443})), "not-there reject");
    EXPECT_EQ(sets.ask(fresh({"2001:db8:bad::1", "2001:db8:1::80", proto::tcp, 80, false})),
              "blocked drop");
    EXPECT_TRUE(sets.set("blocked").remove(Prefix::parse("198.51.100.0/24").value()));
    EXPECT_EQ(from("198.51.100.1", 443), "web accept");
}

TEST(BuildPolicy, Bridge) {
    const BuiltOf office("bridge.yaml");
    const char* host = "192.0.2.7";
    const char* world = "198.51.100.1";
    EXPECT_EQ(office.ask(fresh({host, world, proto::tcp, 443})), "out accept");
    EXPECT_EQ(office.ask(fresh({host, world, proto::tcp, 2121})), "ftp-out accept ftp");
    EXPECT_EQ(office.ask(fresh({host, world, proto::tcp, 25})), "no-spam reject");
    EXPECT_EQ(office.ask(fresh({"192.0.2.25", world, proto::tcp, 25})), "mail-out accept");
    EXPECT_EQ(office.ask(fresh({"2001:db8:1::7", "2001:db8::9", proto::udp, 138})),
              "no-smb reject");
    EXPECT_EQ(office.ask(fresh({world, "192.0.2.80", proto::tcp, 443, false})), "web-in accept");
    EXPECT_EQ(office.ask(fresh({world, "192.0.2.81", proto::tcp, 443, false})), "default drop");
    EXPECT_EQ(office.ask(related({world, host, proto::tcp, 50000, false}, 1)), "ftp-data accept");
    EXPECT_EQ(office.ask(related({"203.0.113.66", host, proto::tcp, 50000, false}, 1)),
              "blocked drop")
        << "a drop rule without ct: holds for expected connections too";
    // What the router says that no connection knows of.
    const auto from = [&](const Packet& p, std::uint16_t sport) {
        auto q = fresh(p);
        q.tuple.sport = Be16::from_host(sport);
        return office.ask(q);
    };
    for (const char* client : {"255.255.255.255", host}) {
        EXPECT_EQ(from({"192.0.2.1", client, proto::udp, 68, false}, 67), "dhcp accept");
        EXPECT_EQ(from({world, client, proto::udp, 68, false}, 67), "default drop");
    }
    EXPECT_EQ(from({"fe80::1", "fe80::7", proto::udp, 546, false}, 547), "dhcpv6 accept");
    EXPECT_EQ(from({"2001:db8::9", "2001:db8:1::7", proto::udp, 546, false}, 547), "default drop");
    EXPECT_EQ(from({"192.0.2.1", "224.0.0.1", 2, 0, false}, 0), "igmp accept");
    EXPECT_EQ(from({world, "224.0.0.1", 2, 0, false}, 0), "default drop");
    EXPECT_EQ(from({"192.0.2.1", "224.0.0.251", proto::udp, 5353, false}, 5353), "mdns accept");
    auto ping = fresh({world, host, proto::icmp, 0, false});
    ping.tuple.dport = icmp_port(8, 0);
    EXPECT_EQ(office.ask(ping), "ping4-in accept");
    ping.tuple.dport = icmp_port(13, 0);
    EXPECT_EQ(office.ask(ping), "default drop");
}

}  // namespace
}  // namespace postern
