// SPDX-License-Identifier: BSD-3-Clause
#include "metric_sources.h"

#include "control/server.h"
#include "firewall.h"
#include "log/record_log.h"
#include "port/port_set.h"
#include "port_watch.h"
#include "restorer.h"
#include "userspace/server.h"

namespace postern {
namespace {

using Reader = MetricRegistry::Reader;

MetricLabels worker_label(unsigned w) {
    return {{"worker", std::to_string(w)}};
}

void add_worker(MetricRegistry& registry, Firewall& fw, unsigned w) {
    Worker& worker = fw.worker(w);
    registry.add_set(metric_group::worker, worker_label(w), worker.counters());
    registry.add(metric_group::worker, worker_label(w), [&worker](const Reader& read) {
        read(ConnTable::kCountMetric, worker.conns().count());
        read(ConnTable::kCapacityMetric, std::uint64_t{worker.conns().capacity()});
        worker.helpers().each_pool_metric(read);
    });
    const ExpectOwner& owner = fw.expectations().owner(static_cast<OwnerId>(w));
    registry.add(metric_group::expect, worker_label(w), [&owner](const Reader& read) {
        for (unsigned o = 0; o < kInsertOutcomes; ++o) {
            const auto outcome = static_cast<InsertOutcome>(o);
            read(metric_of(outcome), owner.inserted(outcome));
        }
        for (unsigned e = 0; e < kExpectEnds; ++e) {
            const auto end = static_cast<ExpectEnd>(e);
            read(metric_of(end), owner.ended(end));
        }
    });
}

void add_drops(MetricRegistry& registry, Firewall& fw) {
    for (unsigned w = 0; w < fw.workers(); ++w)
        registry.add(metric_group::drops, worker_label(w), [&fw, w](const Reader& read) {
            const WorkerCounters& c = fw.worker(w).counters();
            for (unsigned r = 1; r < kDropReasons; ++r)
                read.with({"reason", std::string(drop_reason_table()[r].name)},
                          WorkerCounters::kDropsDesc, c.drops[r].get());
        });
}

/// Helpers change with plans.
void add_helpers(MetricRegistry& registry, Firewall& fw) {
    for (unsigned w = 0; w < fw.workers(); ++w)
        registry.add(metric_group::helper, worker_label(w), [&fw, w](const Reader& read) {
            for (std::size_t h = 0; h < fw.plan().helpers.size(); ++h) {
                const std::string& name = fw.plan().helpers[h].name;
                if (name.empty()) continue;
                fw.worker(w).helpers().for_each_counter(fw.helpers(), static_cast<HelperId>(h + 1),
                                                        [&](const CounterValue& c) {
                                                            read.with({"helper", name}, c, c.value);
                                                        });
            }
        });
}

/// Rules change with plans.
void add_rules(MetricRegistry& registry, Firewall& fw) {
    static constexpr MetricDesc kPackets{
        "rule_packets",
        "packets of connections that the rule accepted, and packets about which it decided alone",
        Unit::packets};
    static constexpr MetricDesc kBytes{"rule_bytes", "bytes of those packets", Unit::bytes};
    static constexpr MetricDesc kConnections{
        "rule_connections", "connections that the rule accepted", Unit::connections};
    registry.add(metric_group::rule, {}, [&fw](const Reader& read) {
        const auto one = [&read](std::string_view name, const RuleTotals& t) {
            read.with({"rule", std::string(name)}, kPackets, t.packets);
            read.with({"rule", std::string(name)}, kBytes, t.bytes);
            read.with({"rule", std::string(name)}, kConnections, t.connections);
        };
        for (const Plan::RuleLine& line : fw.plan().rule_lines)
            one(fw.plan().rule_name(line.id), fw.rule_book().of(line.id));
        one(kDefaultRule, fw.rule_book().of_default());
    });
}

/// Sets change with plans.
void add_sets(MetricRegistry& registry, Firewall& fw) {
    static constexpr MetricDesc kEntries{"set_entries", "entries of the set", Unit::slots,
                                         MetricKind::gauge};
    static constexpr MetricDesc kMax{"set_entries_max", "entries that the set may have",
                                     Unit::slots, MetricKind::gauge};
    static constexpr MetricDesc kBytes{"set_bytes", "memory of the set", Unit::bytes,
                                       MetricKind::gauge};
    static constexpr MetricDesc kAdded{"set_added", "entries added since the set is there",
                                       Unit::events};
    static constexpr MetricDesc kDeleted{"set_deleted", "entries deleted", Unit::events};
    static constexpr MetricDesc kExpired{"set_expired", "entries that expired", Unit::events};
    static constexpr MetricDesc kNoRoom{"set_refused", "entries refused for lack of room",
                                        Unit::events};
    registry.add(metric_group::set, {}, [&fw](const Reader& read) {
        for (const SetPlan& s : fw.plan().sets) {
            const MetricLabel name{"set", s.name};
            const LiveSet::Counters& c = s.set->counters();
            read.with(name, kEntries, std::uint64_t{s.set->size()});
            read.with(name, kMax, std::uint64_t{s.max});
            read.with(name, kBytes, std::uint64_t{s.set->bytes()});
            read.with(name, kAdded, c.added);
            read.with(name, kDeleted, c.deleted);
            read.with(name, kExpired, c.expired);
            read.with(name, kNoRoom, c.refused);
        }
    });
}

void add_processes(MetricRegistry& registry, Firewall& fw, const UserspaceServer& processes) {
    registry.add(metric_group::process, {}, [&fw, &processes](const Reader& read) {
        for (std::size_t h = 0; h < fw.plan().helpers.size(); ++h)
            if (const auto s = processes.status(static_cast<HelperId>(h + 1)))
                s->counters.each([&](const MetricDesc& desc, const Counter& c) {
                    read.with({"helper", fw.plan().helpers[h].name}, desc, c.get());
                });
    });
}

void add_port(MetricRegistry& registry, const MetricSources& sources, PortId p) {
    Firewall& fw = *sources.firewall;
    registry.add(
        metric_group::port, {{"port", fw.plan().ports[p.number()].name}},
        [sources, p](const Reader& read) {
            for (unsigned r = 1; r < kDropReasons; ++r) {
                std::uint64_t frames = 0;
                for (unsigned w = 0; w < sources.firewall->workers(); ++w)
                    frames += sources.firewall->worker(w).counters().drops_at[p.number()][r].get();
                read.with({"reason", std::string(drop_reason_table()[r].name)},
                          WorkerCounters::kDropsAtDesc, frames);
            }
            if (sources.ports != nullptr) sources.ports->stats(p).each(read);
            if (sources.watch != nullptr) sources.watch->counters(p).each(read);
        });
}

void add_restored(MetricRegistry& registry, const RestoreSummary& restored) {
    static constexpr MetricDesc kConnections{"connections_restored",
                                             "connections of saved files, by what became of them",
                                             Unit::connections};
    static constexpr MetricDesc kExpectations{"expectations_restored",
                                              "expectations of saved files, by what became of them",
                                              Unit::expectations};
    static constexpr MetricDesc kUnusable{
        "records_unusable",
        "records of saved files that mean nothing to this configuration, or "
        "are damaged, by cause",
        Unit::events};
    registry.add(metric_group::restore, {}, [&restored](const Reader& read) {
        for (const auto& [outcome, n] : restored.connections)
            read.with({"outcome", outcome}, kConnections, n);
        for (const auto& [outcome, n] : restored.expectations)
            read.with({"outcome", outcome}, kExpectations, n);
        for (const auto& [cause, n] : restored.unusable)
            read.with({"outcome", cause}, kUnusable, n);
    });
}

}  // namespace

void add_metrics(MetricRegistry& registry, const MetricSources& sources) {
    Firewall& fw = *sources.firewall;
    for (unsigned w = 0; w < fw.workers(); ++w)
        add_worker(registry, fw, w);
    registry.add(metric_group::expect, {}, [&fw](const Reader& read) {
        read(kExpectationsMetric, std::uint64_t{fw.expectations().live()});
        read(kUnprovenExpectationsMetric, std::uint64_t{fw.expectations().live_unproven()});
    });
    for (std::size_t p = 0; p < fw.plan().ports.size(); ++p)
        add_port(registry, sources, PortId::from(p));
    add_drops(registry, fw);
    add_helpers(registry, fw);
    add_rules(registry, fw);
    add_sets(registry, fw);
    if (sources.control != nullptr)
        registry.add_set(metric_group::control, {}, sources.control->counters());
    registry.add_set(metric_group::control, {}, fw.taps().counters());
    if (sources.restored != nullptr) add_restored(registry, *sources.restored);
    if (sources.log != nullptr) registry.add_set(metric_group::log, {}, sources.log->counters());
    if (sources.processes != nullptr) add_processes(registry, fw, *sources.processes);
}

}  // namespace postern
