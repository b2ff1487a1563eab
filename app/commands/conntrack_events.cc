// SPDX-License-Identifier: BSD-3-Clause
// `conntrack events`.
#include "commands/context.h"
#include "conn_conditions.h"
#include "conn_hub.h"
#include "list_rows.h"

namespace postern {
namespace {

constexpr std::string_view kTypes[] = {"new", "update", "destroy"};

Source events(Firewall& fw, const std::shared_ptr<ConnHub>& hub, const std::function<Tick()>& now,
              const Json& args) {
    const Plan& plan = fw.plan();
    auto filter = read_connection_filter(plan, args);
    if (!filter) return filter.error();
    Args a(plan, args);
    const auto only = a.word("event", kTypes);
    const auto count = a.uint("count", UINT32_MAX);
    if (!a.problem.empty()) return Error{a.problem};
    const auto wanted = [filter = *filter, only](const ConnEvent& e) {
        return (!only || static_cast<std::size_t>(e.type) == *only) &&
               filter.matches(e.conn, {e.slot, e.conn.generation, e.worker}, e.at);
    };
    const auto to_row = [&fw](const ConnEvent& e, Json& row) {
        row.update(connection_row(fw.plan(), e.worker, e.slot, e.conn, e.at));
    };
    return Source(std::make_unique<EventSource<ConnEvent, ConnEvents>>(hub, ConnEvents::all, wanted,
                                                                       count, now, to_row));
}

}  // namespace

Command command_conntrack_events(const CommandContext& context) {
    Firewall& fw = context.fw;
    auto args = connection_conditions(plan_of(context));
    args.push_back({.name = "event", .help = "only these", .values = words_of(kTypes)});
    args.push_back({"count", ArgType::integer, false, "end after this many events"});
    std::vector<Column> columns{
        {"TIME", {"time"}, CellForm::clock}, {"EVENT", {"event"}}, {"CAUSE", {"cause"}}};
    const auto tuple = tuple_columns();
    columns.insert(columns.end(), tuple.begin(), tuple.end());
    columns.insert(
        columns.end(),
        {ranked(3, {"STATE", {"state"}}), ranked(4, {"PROTO_STATE", {"proto_state"}}),
         ranked(2, {"RULE", {"rule"}}), ranked(5, {"HELPER", {"helper"}}),
         ranked(6, {"PACKETS", {"packets_original", "packets_reply"}, CellForm::pair, true}),
         ranked(7, {"ID", {"id"}}), ranked(8, {"MASTER", {"master_id"}})});
    return {.name = "conntrack events",
            .help = "Show events of connections as they happen, until interrupted",
            .args = std::move(args),
            .handler = [&fw, hub = context.conn_events,
                        now = context.now](const Json& json) { return events(fw, hub, now, json); },
            .effect = Effect::read,
            .columns = std::move(columns),
            .endless = true};
}

}  // namespace postern
