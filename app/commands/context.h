// SPDX-License-Identifier: BSD-3-Clause
// The objects that the daemon's commands use. Each command is one file of this folder, with a
// function that returns its description and its handler (registry.cc is made from the list in
// meson.build).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "args.h"
#include "conn_hub.h"
#include "conn_queries.h"
#include "control/command.h"
#include "firewall.h"
#include "metrics/registry.h"
#include "restorer.h"
#include "userspace/server.h"
#include "worker_requests.h"

namespace postern {

class LiveConfig;
struct LoopStats;
class RecordLog;
class PortWatch;

/// Outlives the commands; objects it refers to outlive the server's last poll(). Control only.
struct CommandContext {
    Firewall& fw;
    std::function<Tick()> now;  ///< the workers' time
    const MetricRegistry& metrics;
    const PortWatch* watch = nullptr;               ///< null: no devices (tests)
    const UserspaceServer* processes = nullptr;     ///< null: no helper is in another process
    const std::vector<LoopStats>* loops = nullptr;  ///< by worker; null: no loops (tests)
    std::uint64_t max_expectations = 0, max_fragments = 0;  ///< 0: not known (tests)
    RecordLog* log = nullptr;                               ///< null: nobody asks for `log follow`
    LiveConfig* config = nullptr;  ///< null: not started from a file (tests)
    std::function<std::string()> asked_by = [] { return std::string("unknown"); };  ///< for logs
    std::shared_ptr<ConnHub> conn_events;
    std::shared_ptr<QueryOwners> query_owners;
    std::shared_ptr<WorkerRequests> requests;
    std::shared_ptr<RestoreSummary> restored;  ///< totals since the start

    CommandContext(Firewall& firewall, std::function<Tick()> clock, const MetricRegistry& registry)
        : CommandContext(firewall, std::move(clock), registry,
                         std::make_shared<WorkerRequests>(firewall),
                         std::make_shared<RestoreSummary>(), make_conn_hub(firewall)) {}
    CommandContext(Firewall& firewall, std::function<Tick()> clock, const MetricRegistry& registry,
                   std::shared_ptr<WorkerRequests> rings, std::shared_ptr<RestoreSummary> totals,
                   std::shared_ptr<ConnHub> hub)
        : fw(firewall),
          now(std::move(clock)),
          metrics(registry),
          conn_events(std::move(hub)),
          query_owners(std::make_shared<QueryOwners>(firewall.workers())),
          requests(std::move(rings)),
          restored(std::move(totals)) {}
};

/// The result of a handler.
using Source = Result<std::unique_ptr<RowSource>>;

/// All commands of the daemon.
std::vector<Command> all_commands(const CommandContext& context);

/// For conditions and completion.
inline PlanSource plan_of(const CommandContext& context) {
    return [&fw = context.fw]() -> const Plan& { return fw.plan(); };
}

/// Numbers are right-aligned.
inline Column number(std::string title, std::string field) {
    return {std::move(title), {std::move(field)}, CellForm::value, true};
}

/// Left out where lines are too long, the highest rank first.
inline Column ranked(unsigned rank, Column column) {
    column.rank = rank;
    return column;
}

}  // namespace postern
