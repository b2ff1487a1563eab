// SPDX-License-Identifier: BSD-3-Clause
// The metrics of a running daemon: its owners' counters, with their labels.
#pragma once

#include "metrics/registry.h"

namespace postern {

class ControlServer;
class Firewall;
class RecordLog;
class PortSet;
class PortWatch;
class UserspaceServer;
struct RestoreSummary;

/// Groups of the registry. Labels: `worker` of the first three; `reason`; `helper`; `port`;
/// `outcome`; `rule`.
namespace metric_group {
inline constexpr std::string_view worker = "worker", drops = "drops", helper = "helper",
                                  process = "process", expect = "expect", port = "port",
                                  control = "control", restore = "restore", rule = "rule",
                                  log = "log", set = "set";
}

/// The owners; null: absent (in a test, a replay). All outlive the registry's use.
struct MetricSources {
    Firewall* firewall = nullptr;
    const PortSet* ports = nullptr;
    const PortWatch* watch = nullptr;
    const UserspaceServer* processes = nullptr;
    const ControlServer* control = nullptr;
    const RestoreSummary* restored = nullptr;
    const RecordLog* log = nullptr;
};
void add_metrics(MetricRegistry& registry, const MetricSources& sources);

}  // namespace postern
