// SPDX-License-Identifier: BSD-3-Clause
#include "describe.h"

#include <cstdio>
#include <string>

#include <unistd.h>

#include "commands/context.h"
#include "config/load.h"
#include "firewall.h"
#include "port/eal.h"

namespace postern {
namespace {

// Commands describe themselves with a firewall behind them: the smallest one. Nothing of it is in a
// description.
constexpr const char* kSmallest =
    "zones: [inside, outside]\n"
    "ports: [{name: a, device: net_null0, zone: inside}, {name: b, device: net_null1, zone: "
    "outside}]\n"
    "bridges: [{ports: [a, b]}]\n"
    "limits: {connections: 1024, expectations: 64, helped_connections: 64, fragments: 64}\n"
    "policy: {default: drop}\n";

int refuse(const std::string& message) {
    std::fprintf(stderr, "%s\n", message.c_str());
    return 1;
}

int print_descriptions() {
    const auto loaded = load_spec_text(kSmallest, "commands", build_schema());
    if (!loaded.spec) return refuse(loaded.errors.front().to_string());
    FirewallOptions options;
    options.workers = 1;
    options.secret = HashSecret::random();
    options.expect_events = kExpectEvents;
    options.conn_events = kConnEvents;
    auto firewall = Firewall::build(*loaded.spec, options);
    if (!firewall) return refuse(firewall.error().message);
    const MetricRegistry metrics;
    const CommandContext context(
        **firewall, [] { return Tick{}; }, metrics);
    for (const Command& command : all_commands(context))
        std::printf("%s\n", describe(command).dump().c_str());
    return std::fflush(stdout) == 0 ? 0 : 1;
}

}  // namespace

int run_describe() {
    EalConfig eal;
    eal.hugepages = EalConfig::Huge::no;
    eal.memory_mb = 128;
    if (auto r = start_eal(eal); !r) return refuse(r.error().message);
    // DPDK's threads need no orderly end.
    _exit(print_descriptions());
}

}  // namespace postern
