// SPDX-License-Identifier: BSD-3-Clause
#include "check.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include <unistd.h>

#include "config/describe_rules.h"
#include "firewall.h"
#include "plan/policy_rules.h"
#include "port_config.h"

namespace postern {
namespace {

constexpr int kRefused = 1;

int refuse(const Error& error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return kRefused;
}

/// Creates what `run` would create, on one thread and without hugepages, so that any user may
/// check.
Result<void> compile(const Spec& spec) {
    FirewallOptions options;
    options.workers = spec.workers.count;
    options.secret = HashSecret::random();
    options.expect_events = kExpectEvents;
    options.conn_events = kConnEvents;
    auto firewall = Firewall::build(spec, options);
    if (!firewall) return firewall.error();
    return PortSet::check(port_config(spec, **firewall));
}

/// Rules as they are understood, what they cost, and which of them can never match.
void explain(const Spec& spec, const std::string& file) {
    std::fputs((describe(spec) + "rules, first to last:\n" + describe_rules(spec)).c_str(), stdout);
    const auto begin = std::chrono::steady_clock::now();
    auto policy = build_policy(spec);
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    if (!policy) return;  // it has been built before: memory is scarce
    std::printf("policy: %.1f MiB, built in %.0f ms on this machine\n",
                static_cast<double>((*policy)->bytes()) / (1 << 20), took.count());
    for (const Diagnostic& warning : shadow_warnings(spec, **policy, file))
        std::fprintf(stderr, "%s (warning)\n", warning.to_string().c_str());
}

}  // namespace

int run_check(const Spec& spec, const std::string& file) {
    EalConfig eal;
    eal.hugepages = EalConfig::Huge::no;
    eal.memory_mb = spec.eal.memory_mb;
    // The target machine may have more memory, or has set it aside as hugepages.
    const std::uint64_t here = available_memory_mb();
    const bool less = here != 0 && here * 9 / 10 < eal.memory_mb;
    if (less)
        eal.memory_mb = static_cast<std::uint32_t>(std::max<std::uint64_t>(here * 9 / 10, 64));
    int code = 0;
    if (auto r = start_eal(eal); !r)
        code = refuse(r.error());
    else if (auto compiled = compile(spec); !compiled)
        code = refuse(compiled.error());
    else
        explain(spec, file);
    if (code != 0 && less)
        std::fprintf(stderr, "(tried with %u MiB, not eal.memory_mb: this machine has no more)\n",
                     eal.memory_mb);
    std::fflush(stdout);
    // DPDK's threads need no orderly end.
    _exit(code);
}

}  // namespace postern
