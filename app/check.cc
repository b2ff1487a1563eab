// SPDX-License-Identifier: BSD-3-Clause
#include "check.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <optional>

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/huge_pages.h"
#include "config/describe_rules.h"
#include "firewall.h"
#include "plan/policy_rules.h"
#include "port_config.h"
#include "state_start.h"

namespace postern {
namespace {

constexpr int kRefused = 1;
/// A real start takes up to this much longer: the machine has more to do, and caches are cold.
constexpr double kSlower = 1.5;

int refuse(const Error& error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return kRefused;
}

/// What a start costs, as far as it can be known without devices.
struct StartCost {
    StepTimes times;
    double used_mb = 0;                ///< of DPDK's memory
    std::optional<std::string> lacks;  ///< why saved connections are not included
};

/// Creates what `run` would create, on one thread and without huge pages, so that any user may
/// check.
Result<void> compile(const Spec& spec, StartCost& cost) {
    FirewallOptions options;
    options.workers = spec.workers.count;
    options.secret = HashSecret::random();
    options.expect_events = kExpectEvents;
    options.conn_events = kConnEvents;
    options.packet_records = kPacketRecords;
    ScannerCache cache(spec.scanner_cache, ScannerCache::Use::read);
    if (!spec.scanner_cache.empty()) options.scanner_cache = &cache;
    options.times = &cost.times;
    auto firewall = Firewall::build(spec, options);
    if (!firewall) return firewall.error();
    if (auto r = PortSet::check(port_config(spec, **firewall)); !r) return r;
    cost.times.end_of("packet buffers");
    cost.used_mb = static_cast<double>(total_memory_mb() - free_memory_mb());
    struct stat st {};
    if (spec.state.file.empty() || ::stat(spec.state.file.c_str(), &st) != 0) return {};
    if (auto seconds = estimate_restore(**firewall, spec.state.file); seconds)
        cost.times.add("saved connections", *seconds);
    else
        cost.lacks = seconds.error().message;
    return {};
}

/// Seconds in which the kernel gives, and clears, a MiB of huge pages; 0 if it has none to try.
double seconds_of_huge_mb() {
    constexpr std::size_t kPages = 16;
    constexpr std::size_t kBytes = (kPages + 1) * kHugePageBytes;
    void* const memory =
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 0;
    (void)::madvise(memory, kBytes, MADV_HUGEPAGE);
    auto* const bytes = static_cast<volatile char*>(memory);
    const auto begun = StepTimes::Clock::now();
    for (std::size_t at = 0; at < kBytes; at += 4096)
        bytes[at] = 1;
    const std::chrono::duration<double> took = StepTimes::Clock::now() - begun;
    ::munmap(memory, kBytes);
    return took.count() * (1 << 20) / kBytes;
}

/// With huge pages DPDK takes, and the kernel clears, all of its memory at once; the tables find it
/// cleared.
void move_to_huge_pages(const Spec& spec, StartCost& cost) {
    const double one = seconds_of_huge_mb();
    cost.times.add("DPDK", spec.eal.memory_mb * one);
    cost.times.add("tables", -cost.used_mb * one);
}

/// Rules as they are understood, what they cost, and which of them can never match.
void explain(const Spec& spec, const std::string& file, StartCost cost) {
    std::fputs((describe(spec) + "rules, first to last:\n" + describe_rules(spec)).c_str(), stdout);
    StepTimes building;
    auto policy = build_policy(spec);
    building.end_of("policy");
    if (!policy) return;  // it has been built before: memory is scarce
    std::printf("policy: %.1f MiB, built in %.0f ms on this machine\n",
                static_cast<double>((*policy)->bytes()) / (1 << 20), building.total() * 1000);
    const bool huge = takes_huge_pages(eal_config(spec, false).hugepages);
    if (huge) move_to_huge_pages(spec, cost);
    const double least = cost.times.total();
    std::printf("start: about %s to %s on this machine%s, of which %s; without its devices%s\n",
                StepTimes::text_of(least).c_str(), StepTimes::text_of(least * kSlower).c_str(),
                huge ? " with huge pages" : "", cost.times.longest().c_str(),
                cost.lacks ? (" and saved connections (" + *cost.lacks + ")").c_str() : "");
    for (const Diagnostic& warning : shadow_warnings(spec, **policy, file))
        std::fprintf(stderr, "%s (warning)\n", warning.to_string().c_str());
}

}  // namespace

int run_check(const Spec& spec, const std::string& file, StepTimes times) {
    EalConfig eal;
    eal.hugepages = EalConfig::Huge::no;
    eal.memory_mb = spec.eal.memory_mb;
    // The target machine may have more memory, or has set it aside as hugepages.
    const std::uint64_t here = available_memory_mb();
    const bool less = here != 0 && here * 9 / 10 < eal.memory_mb;
    if (less)
        eal.memory_mb = static_cast<std::uint32_t>(std::max<std::uint64_t>(here * 9 / 10, 64));
    int code = 0;
    StartCost cost{.times = std::move(times)};
    if (auto r = start_eal(eal); !r) {
        code = refuse(r.error());
    } else {
        cost.times.end_of("DPDK");
        if (auto compiled = compile(spec, cost); !compiled)
            code = refuse(compiled.error());
        else
            explain(spec, file, std::move(cost));
    }
    if (code != 0 && less)
        std::fprintf(stderr, "(tried with %u MiB, not eal.memory_mb: this machine has no more)\n",
                     eal.memory_mb);
    std::fflush(stdout);
    // DPDK's threads need no orderly end.
    _exit(code);
}

}  // namespace postern
