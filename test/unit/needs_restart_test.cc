// SPDX-License-Identifier: BSD-3-Clause
// What of another configuration a running process cannot take over.
#include "plan/needs_restart.h"

#include <functional>

#include <gtest/gtest.h>

namespace postern {
namespace {

using Texts = std::vector<std::string>;

Spec two_ports() {
    Spec spec;
    spec.zones = {{.name = "inside"}, {.name = "outside"}};
    spec.ports.resize(2);
    spec.ports[0].name = "in0";
    spec.ports[1].name = "out0";
    spec.ports[1].zone = ZoneId{1};
    HelperSpec remote;
    remote.name = remote.kind = "remote";
    remote.protocols = {6};
    remote.userspace = UserspaceSpec{};
    spec.helpers = {remote};
    return spec;
}

Texts after(const std::function<void(Spec&)>& change) {
    Spec next = two_ports();
    change(next);
    return needs_restart(two_ports(), next);
}

TEST(NeedsRestart, NothingThatHasNotChanged) {
    EXPECT_EQ(after([](Spec&) {}), Texts{});
}

TEST(NeedsRestart, NothingThatAPlanDecides) {
    EXPECT_EQ(after([](Spec& s) {
                  s.zones.push_back({.name = "dmz"});
                  s.ports[1].zone = ZoneId{2};
                  s.policy.rules.emplace_back().name = "all";
                  s.policy.fallback = RuleAction::reject;
                  s.timeouts[Timeout::udp_stream] = 7;
                  s.timeout_profiles.push_back({"short", {}});
                  s.bridges.push_back({.ports = {PortId{0}, PortId{1}}});
                  s.helpers.push_back({.name = "ftp", .kind = "ftp"});
                  s.pipeline = {"parse"};
                  s.scanner_cache = "/var/cache";
              }),
              Texts{});
}

TEST(NeedsRestart, DpdkAndWorkers) {
    EXPECT_EQ(after([](Spec& s) {
                  s.eal.memory_mb = 64;
                  s.workers.count = 2;
                  s.workers.idle.sleep_us = 0;
              }),
              (Texts{"eal.memory_mb has changed", "workers.count has changed",
                     "workers.idle.sleep has changed"}));
}

TEST(NeedsRestart, DevicesAndTheirOrder) {
    EXPECT_EQ(after([](Spec& s) { s.ports[1].device = "net_null3"; }),
              Texts{"port out0: device has changed"});
    EXPECT_EQ(after([](Spec& s) { s.ports[0].checksums = ChecksumMode::off; }),
              Texts{"port in0: checksums were turned on or off"});
    EXPECT_EQ(after([](Spec& s) { s.ports[0].checksums = ChecksumMode::full; }), Texts{});
    const Texts order{"ports were added, removed, renamed or put in another order"};
    EXPECT_EQ(after([](Spec& s) { std::swap(s.ports[0], s.ports[1]); }), order);
    EXPECT_EQ(after([](Spec& s) { s.ports.pop_back(); }), order);
}

TEST(NeedsRestart, SizesOfTablesAndLimits) {
    EXPECT_EQ(after([](Spec& s) {
                  s.limits.connections = 64;
                  s.limits.per_zone = {0, 9};
                  s.limits.expectations_per.server = 5;
                  s.limits.expectations_per.security_zone = 6;
              }),
              (Texts{"limits.connections has changed", "limits.expectations_per.server has changed",
                     "limits.expectations_per.security_zone has changed",
                     "limits.per_zone has changed"}));
    EXPECT_EQ(after([](Spec& s) { s.limits.per_zone = {0, 0}; }), Texts{});
}

TEST(NeedsRestart, HelpersInOtherProcesses) {
    EXPECT_EQ(after([](Spec& s) { s.helpers.clear(); }),
              Texts{"helper remote, whose parser is a process, was removed"});
    EXPECT_EQ(after([](Spec& s) { s.helpers[0].userspace->wait_ms = 1; }),
              Texts{"helper remote, whose parser is a process, is declared anew"});
    EXPECT_EQ(after([](Spec& s) {
                  s.helpers.push_back(s.helpers[0]);
                  s.helpers.back().name = "more";
              }),
              Texts{"helper more, whose parser is a process, was added"});
    EXPECT_EQ(after([](Spec& s) { s.helpers[0].ports = {99}; }), Texts{});
}

TEST(NeedsRestart, NothingOfTheLog) {
    EXPECT_EQ(after([](Spec& s) { s.log.of_default = {5}; }), Texts{});
    EXPECT_EQ(after([](Spec& s) {
                  s.log.file.keep = 9;
                  s.log.syslog = "/dev/log";
              }),
              Texts{});
}

TEST(NeedsRestart, TheControlSocket) {
    EXPECT_EQ(after([](Spec& s) { s.control.socket = "/run/other"; }),
              Texts{"control.socket has changed"});
}

}  // namespace
}  // namespace postern
