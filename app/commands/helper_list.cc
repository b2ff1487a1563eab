// SPDX-License-Identifier: BSD-3-Clause
// `helper list`: a view of the helpers' metrics, and of the processes of those that have one.
#include <array>
#include <map>
#include <string>

#include "commands/context.h"
#include "metric_sources.h"

namespace postern {
namespace {

std::string transports_text(const HelperDesc& desc) {
    if (desc.transports == (transport::tcp | transport::udp)) return "tcp, udp";
    return desc.transports == transport::tcp ? "tcp" : "udp";
}

/// Of a helper whose parser is another process.
Json process_json(const UserspaceServer::Status& s) {
    Json row{{"state", s.connected ? "pid " + std::to_string(s.pid) : "absent"},
             {"connected", s.connected},
             {"pid", s.pid == 0 ? Json(nullptr) : Json(s.pid)},
             {"socket", s.socket}};
    s.counters.each([&row](const MetricDesc& desc, const Counter& c) { row[desc.name] = c.get(); });
    return row;
}

/// Resources of the helper framework held by connections of one standing, for all helpers.
Json pool_json(Firewall& fw, Standing standing) {
    std::uint64_t slots = 0, max = 0, buffers = 0;
    for (unsigned w = 0; w < fw.workers(); ++w) {
        const HelperEngine::PoolUse& use = fw.worker(w).helpers().use(standing);
        slots += use.slots.get();
        max += use.max_slots;
        buffers += use.buffers.get();
    }
    return Json{{"slots", slots}, {"max", max}, {"buffers", buffers}};
}

/// Sums over the workers, by helper and name, in the order of their declarations.
struct HelperSums {
    std::map<std::string, Json, std::less<>> counters, process;
};
HelperSums sums_of(const MetricRegistry& metrics) {
    HelperSums sums;
    metrics.for_each([&sums](const MetricSample& s) {
        const bool process = s.group == metric_group::process;
        if (!process && s.group != metric_group::helper) return;
        Json& of = (process ? sums.process : sums.counters)[std::string(s.label("helper"))];
        const std::string name(s.desc.name);
        if (of.is_null()) of = Json::object();
        of[name] = of.value(name, std::uint64_t{0}) + s.value;
    });
    return sums;
}

std::vector<Json> helper_rows(const CommandContext& context) {
    Firewall& fw = context.fw;
    HelperSums sums = sums_of(context.metrics);
    std::vector<Json> rows;
    for (std::size_t h = 0; h < fw.plan().helpers.size(); ++h) {
        const auto id = static_cast<HelperId>(h + 1);
        const HelperInstance* instance = fw.helpers().find(id);
        if (instance == nullptr) continue;
        const Json& counters = sums.counters[fw.plan().helpers[h].name];
        rows.push_back({{"name", instance->name},
                        {"kind", instance->desc->name},
                        {"proto", transports_text(*instance->desc)},
                        {"state", fw.is_removed(id) ? "removed" : "active"},
                        {"removed", fw.is_removed(id)},
                        {"ports", fw.plan().helpers[h].ports},
                        {"attached", counters["attached"]},
                        {"messages", counters["messages"]},
                        {"expectations", counters["expectations"]},
                        {"proven", pool_json(fw, Standing::proven)},
                        {"unproven", pool_json(fw, Standing::unproven)},
                        {"counters", counters}});
        if (context.processes == nullptr) continue;
        if (const auto s = context.processes->status(id)) {
            rows.back()["process"] = process_json(*s);
            rows.back()["process"].update(sums.process[fw.plan().helpers[h].name]);
        }
    }
    return rows;
}

}  // namespace

Command command_helper_list(const CommandContext& context) {
    return {.name = "helper list",
            .help = "List the helpers with their counters",
            .args = {},
            .handler = [&context](const Json&) { return Source(rows_of(helper_rows(context))); },
            .effect = Effect::read,
            .columns = {
                {"NAME", {"name"}},
                ranked(5, {"KIND", {"kind"}}),
                {"STATE", {"state"}},
                ranked(3, {"PROTO", {"proto"}}),
                ranked(4, {"PORTS", {"ports"}}),
                ranked(2, {"PROCESS", {"process.state"}}),
                number("ATTACHED", "attached"),
                number("MESSAGES", "messages"),
                number("EXPECTATIONS", "expectations"),
                ranked(6, {"PROVEN", {"proven.slots", "proven.max"}, CellForm::pair, true}),
                ranked(7, {"UNPROVEN", {"unproven.slots", "unproven.max"}, CellForm::pair, true}),
                ranked(8, {.title = "COUNTERS",
                           .fields = {"counters"},
                           .except = {"attached", "messages", "expectations"}})}};
}

}  // namespace postern
