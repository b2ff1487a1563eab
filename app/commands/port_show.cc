// SPDX-License-Identifier: BSD-3-Clause
// `port show`: everything that is known of one port, one field a row.
#include "commands/context.h"
#include "control/suggest.h"
#include "metric_sources.h"
#include "port_watch.h"
#include "value_text.h"

namespace postern {
namespace {

std::vector<std::string> port_names(const Plan& plan) {
    std::vector<std::string> names;
    for (const auto& port : plan.ports)
        names.push_back(port.name);
    return names;
}

/// Packets of this port that went no further, by reason; none of reasons that did not occur.
std::vector<Json> port_drops(const CommandContext& context, const std::string& name) {
    std::vector<Json> rows;
    context.metrics.for_each([&](const MetricSample& s) {
        if (s.desc.name == WorkerCounters::kDropsAtDesc.name && s.value != 0 &&
            s.group == metric_group::port && s.label("port") == name)
            rows.push_back(
                {{"field", "drops_" + std::string(s.label("reason"))}, {"value", s.value}});
    });
    return rows;
}

Source show_port(const CommandContext& context, const Json& args) {
    const auto wanted = args["name"].get<std::string>();
    if (context.watch == nullptr) return rows_of({});
    for (const Json& port : context.watch->rows()) {
        if (!same_word(port["name"].get<std::string>(), wanted)) continue;
        std::vector<Json> rows;
        for (const auto& [field, value] : port.items())
            rows.push_back({{"field", field}, {"value", value}});
        for (Json& drop : port_drops(context, port["name"].get<std::string>()))
            rows.push_back(std::move(drop));
        return rows_of(std::move(rows));
    }
    return Error{"there is no port \"" + wanted + "\"" +
                 suggestion(wanted, port_names(context.fw.plan()))};
}

}  // namespace

Command command_port_show(const CommandContext& context) {
    return {.name = "port show",
            .help = "Show a port: link, device, queues, rates, counters, drops",
            .args = {{.name = "name",
                      .required = true,
                      .help = "its name in the configuration",
                      .positional = true,
                      .candidates = [&fw = context.fw] { return port_names(fw.plan()); }}},
            .handler = [&context](const Json& args) { return show_port(context, args); },
            .effect = Effect::read,
            .columns = {{"FIELD", {"field"}}, {"VALUE", {"value"}}}};
}

}  // namespace postern
