// SPDX-License-Identifier: BSD-3-Clause
// What a new connection pays for policy: a burst of 32 queries against 10, 1,000 and 50,000 rules,
// random over the rules, and what building that policy costs. `per_query` is the figure to compare.
//
// Rows `sets/KIND/SETS/ENTRIES`: ten rules behind one for each of SETS live sets, which have
// ENTRIES addresses or prefixes together. Half of the sources are in one of them. 0 sets: the ten
// rules alone, the price of sets that nobody has.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>

#include "policy/policy.h"
#include "sets/live_set.h"

namespace postern {
namespace {

constexpr unsigned kBurst = 32;

unsigned draw(std::mt19937& rng, unsigned below) {
    return static_cast<unsigned>(rng() % below);
}

IpAddr address(Family family, std::mt19937& rng) {
    IpAddr a;
    a.family = family;
    const unsigned n = address_bytes(family);
    // Half of an IPv6 address is a site's own; the rest differs.
    for (unsigned i = 0; i < n; ++i)
        a.bytes[i] = static_cast<std::uint8_t>(n == 16 && i < 6 ? 0x20 + i : rng());
    return a;
}
Prefix prefix(const IpAddr& a, unsigned length) {
    Prefix p{a, static_cast<std::uint8_t>(length)};
    for (unsigned bit = length; bit < address_bytes(a.family) * 8; ++bit)
        p.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> (bit % 8)));
    return p;
}

/// As operators write them: a source network, a server, a port or two; the last rule takes the
/// rest.
PolicyRules make_rules(std::size_t n, Family family, std::mt19937& rng) {
    const unsigned bits = address_bytes(family) * 8;
    PolicyRules rules;
    for (std::size_t i = 0; i + 1 < n; ++i) {
        PolicyRule r{.from = {ZoneId::from(i % 3)},
                     .to = {ZoneId{3}},
                     .family = family,
                     .dst = {prefix(address(family, rng), bits - draw(rng, 3) * 4)},
                     .protocols = {i % 4 ? proto::tcp : proto::udp},
                     .action = PolicyAction::accept};
        if (i % 2) r.src = {prefix(address(family, rng), bits / 2 + draw(rng, 3) * 4)};
        const auto port = static_cast<std::uint16_t>(rng() % 10000);
        r.dport = {{port, static_cast<std::uint16_t>(i % 8 ? port : port + 100)}};
        rules.rules.push_back(std::move(r));
    }
    rules.rules.push_back({.to = {ZoneId{3}}, .family = family, .action = PolicyAction::accept});
    return rules;
}

/// Rule sets of which no two rules merge, one kind each.
enum class Kind {
    hosts,     ///< a distinct host each, every other one with a destination host
    ranges,    ///< random ranges of source and destination ports
    prefixes,  ///< random prefixes of 8 bits or more on both sides, and a port range
    lists      ///< five distinct sources, five destinations, four ports
};

PolicyRules make_distinct(std::size_t n, Kind kind, Family family, std::mt19937& rng) {
    const unsigned bits = address_bytes(family) * 8;
    const auto hosts = [&](unsigned count) {
        std::vector<Prefix> out;
        for (unsigned i = 0; i < count; ++i)
            out.push_back(prefix(address(family, rng), bits));
        return AddressSet(out);
    };
    const auto some = [&] {
        return AddressSet{prefix(address(family, rng), 8 + draw(rng, bits - 7))};
    };
    const auto range = [&] {
        const auto a = static_cast<std::uint16_t>(rng()), b = static_cast<std::uint16_t>(rng());
        return PolicyRange{std::min(a, b), std::max(a, b)};
    };
    PolicyRules rules;
    for (std::size_t i = 0; i < n; ++i) {
        PolicyRule r{.from = {ZoneId::from(i % 3)},
                     .to = {ZoneId{3}},
                     .family = family,
                     .protocols = {i % 4 ? proto::tcp : proto::udp},
                     .action = PolicyAction::accept};
        const auto port = static_cast<std::uint16_t>(rng());
        if (kind == Kind::hosts) {
            r.src = hosts(1);
            if (i % 2) r.dst = hosts(1);
            r.dport = {{port, port}};
        } else if (kind == Kind::ranges) {
            r.sport = {range()};
            r.dport = {range()};
        } else if (kind == Kind::prefixes) {
            r.src = some();
            r.dst = some();
            r.dport = {range()};
        } else {
            r.src = hosts(5);
            r.dst = hosts(5);
            for (unsigned p = 0; p < 4; ++p)
                r.dport.push_back({static_cast<std::uint16_t>(port + 2 * p),
                                   static_cast<std::uint16_t>(port + 2 * p)});
        }
        rules.rules.push_back(std::move(r));
    }
    return rules;
}

/// Half of the queries meet a rule of the list, half fall through to the last.
std::vector<PolicyQuery> make_queries(const PolicyRules& rules, Family family, std::mt19937& rng) {
    std::vector<PolicyQuery> out(4096);
    for (auto& q : out) {
        const PolicyRule& r = rules.rules[rng() % rules.rules.size()];
        q.tuple = {address(family, rng), address(family, rng),
                   Be16::from_host(static_cast<std::uint16_t>(rng())),
                   Be16::from_host(static_cast<std::uint16_t>(rng())), proto::tcp};
        q.context.to = ZoneId{3};
        if (rng() % 2 || r.dst.is_any()) continue;
        q.context.from = r.from[0];
        q.tuple.dst = r.dst.ranges()[0].first;
        if (!r.src.is_any()) q.tuple.src = r.src.ranges()[0].first;
        q.tuple.dport = Be16::from_host(r.dport[0].first);
        q.tuple.protocol = r.protocols[0];
    }
    return out;
}

/// Built once for all repetitions of a row: 50,000 rules take a while.
struct Built {
    std::vector<PolicyQuery> queries;
    std::unique_ptr<const Policy> policy;
    std::string problem;

    static const Built& of(std::size_t count, Family family) {
        static std::map<std::pair<std::size_t, Family>, Built> all;
        const auto [it, fresh] = all.try_emplace({count, family});
        if (!fresh) return it->second;
        std::mt19937 rng(1);
        const PolicyRules rules = make_rules(count, family, rng);
        it->second.queries = make_queries(rules, family, rng);
        if (auto policy = Policy::build(rules))
            it->second.policy = std::move(policy).value();
        else
            it->second.problem = policy.error().message;
        return it->second;
    }
};

void run_queries(benchmark::State& state, const std::vector<PolicyQuery>& queries,
                 const Policy& policy) {
    std::array<PolicyVerdict, kBurst> verdicts;
    PolicyBurst burst;
    std::size_t at = 0;
    for (auto _ : state) {
        burst.clear();
        for (unsigned i = 0; i < kBurst; ++i)
            burst.add(i, queries[at + i]);
        policy.classify(burst, verdicts.data());
        benchmark::DoNotOptimize(verdicts);
        at = (at + kBurst) % queries.size();
    }
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * kBurst);
    state.counters["per_query"] =
        benchmark::Counter(static_cast<double>(state.iterations()) * kBurst,
                           benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void classify(benchmark::State& state, Family family) {
    const auto& [queries, policy, problem] =
        Built::of(static_cast<std::size_t>(state.range(0)), family);
    if (!policy) return state.SkipWithError(problem.c_str());
    run_queries(state, queries, *policy);
}

/// Entries of live sets.
enum class Content {
    hosts,
    networks  ///< /16 to /32, or /20 to /64
};

Prefix entry_of(Family family, Content content, std::mt19937& rng) {
    std::uint8_t bytes[16];
    for (std::uint8_t& b : bytes)
        b = static_cast<std::uint8_t>(rng());
    if (family == Family::ipv6) bytes[0] = 0x20;
    const IpAddr a = family == Family::ipv4 ? IpAddr::v4(bytes) : IpAddr::v6(bytes);
    const unsigned bits = address_bytes(family) * 8;
    if (content == Content::hosts) return prefix(a, bits);
    return prefix(a, family == Family::ipv4 ? 32 - draw(rng, 17) : 64 - draw(rng, 45));
}

constexpr std::size_t kSetQueries = 32768;

/// A policy with live sets. Made once for all repetitions of a row.
struct WithSets {
    std::vector<PolicyQuery> queries;
    std::unique_ptr<const Policy> policy;
    std::size_t bytes = 0;  ///< of the sets

    WithSets(unsigned sets, std::size_t entries, Family family, Content content) {
        std::mt19937 rng(3);
        PolicyRules rules = make_rules(10, family, rng);
        const std::vector<PolicyQuery> some_queries = make_queries(rules, family, rng);
        auto shared = std::make_shared<SetShared>();
        shared->secret = HashSecret::from_seed(1);
        std::vector<Prefix> some;
        for (unsigned i = 0; i < sets; ++i) {
            auto set = std::make_shared<LiveSet>(shared);
            for (std::size_t n = 0; n < entries / sets; ++n) {
                const Prefix p = entry_of(family, content, rng);
                set->add({p, kForEver});
                if (n == 0 || rng() % 64 == 0) some.push_back(p);
            }
            bytes += set->bytes();
            rules.sets.push_back(std::move(set));
            PolicyRule rule{.to = {ZoneId{3}}, .family = family};
            rule.src_sets.any = 1u << i;
            rules.rules.insert(rules.rules.begin(), std::move(rule));
        }
        // So many that their lines of the sets do not stay in the cache.
        for (std::size_t i = 0; i < kSetQueries; ++i) {
            PolicyQuery& q = queries.emplace_back(some_queries[i % some_queries.size()]);
            q.tuple.src = i % 2 != 0 && !some.empty()
                              ? some[rng() % some.size()].address
                              : entry_of(family, Content::hosts, rng).address;
        }
        if (auto built = Policy::build(rules)) policy = std::move(built).value();
    }

    static const WithSets& of(unsigned sets, std::size_t entries, Family family, Content content) {
        static std::map<std::tuple<unsigned, std::size_t, Family, Content>, WithSets> all;
        return all.try_emplace({sets, entries, family, content}, sets, entries, family, content)
            .first->second;
    }
};

void sets(benchmark::State& state, Family family, Content content) {
    const WithSets& with = WithSets::of(static_cast<unsigned>(state.range(0)),
                                        static_cast<std::size_t>(state.range(1)), family, content);
    if (!with.policy) return state.SkipWithError("the policy was not built");
    run_queries(state, with.queries, *with.policy);
    state.counters["MiB"] = static_cast<double>(with.bytes) / (1 << 20);
}

void build(benchmark::State& state, Family family) {
    std::mt19937 rng(1);
    const PolicyRules rules = make_rules(static_cast<std::size_t>(state.range(0)), family, rng);
    for (auto _ : state) {
        auto policy = Policy::build(rules);
        if (!policy) return state.SkipWithError(policy.error().message.c_str());
    }
}
/// As build(), of rules that do not merge; and the memory of the result.
void build_distinct(benchmark::State& state, Kind kind, Family family) {
    std::mt19937 rng(2);
    const PolicyRules rules =
        make_distinct(static_cast<std::size_t>(state.range(0)), kind, family, rng);
    for (auto _ : state) {
        auto policy = Policy::build(rules);
        if (!policy) return state.SkipWithError(policy.error().message.c_str());
        state.counters["MiB"] = static_cast<double>(policy.value()->bytes()) / (1 << 20);
    }
}

BENCHMARK_CAPTURE(classify, ipv4, Family::ipv4)->Arg(10)->Arg(1000)->Arg(50000);
BENCHMARK_CAPTURE(classify, ipv6, Family::ipv6)->Arg(10)->Arg(1000)->Arg(50000);
BENCHMARK_CAPTURE(build, ipv4, Family::ipv4)
    ->Arg(1000)
    ->Arg(50000)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);
BENCHMARK_CAPTURE(build, ipv6, Family::ipv6)
    ->Arg(1000)
    ->Arg(50000)
    ->Unit(benchmark::kMillisecond)
    ->Iterations(1);
#define BUILD_DISTINCT(kind)                                                 \
    BENCHMARK_CAPTURE(build_distinct, kind##_ipv4, Kind::kind, Family::ipv4) \
        ->Arg(50000)                                                         \
        ->Arg(65000)                                                         \
        ->Unit(benchmark::kMillisecond)                                      \
        ->Iterations(1);                                                     \
    BENCHMARK_CAPTURE(build_distinct, kind##_ipv6, Kind::kind, Family::ipv6) \
        ->Arg(50000)                                                         \
        ->Arg(65000)                                                         \
        ->Unit(benchmark::kMillisecond)                                      \
        ->Iterations(1)
BUILD_DISTINCT(hosts);
BUILD_DISTINCT(ranges);
BUILD_DISTINCT(prefixes);
BUILD_DISTINCT(lists);
#define SETS(name, family, content)                                 \
    BENCHMARK_CAPTURE(sets, name, Family::family, Content::content) \
        ->Args({0, 0})                                              \
        ->Args({1, 1000})                                           \
        ->Args({8, 1000})                                           \
        ->Args({32, 1000})                                          \
        ->Args({1, 1'000'000})                                      \
        ->Args({8, 1'000'000})                                      \
        ->Args({32, 1'000'000})
SETS(ipv4_hosts, ipv4, hosts);
SETS(ipv4_networks, ipv4, networks);
SETS(ipv6_hosts, ipv6, hosts);
SETS(ipv6_networks, ipv6, networks);

}  // namespace
}  // namespace postern
