// SPDX-License-Identifier: BSD-3-Clause
// `expect events`.
#include "commands/context.h"
#include "event_hub.h"
#include "expect_conditions.h"
#include "list_rows.h"

namespace postern {
namespace {

using ExpectHub = EventHub<ExpectEvent, bool>;

Source events(Firewall& fw, const std::shared_ptr<ExpectHub>& hub, const std::function<Tick()>& now,
              const Json& args) {
    const Plan& plan = fw.plan();
    auto filter = ExpectFilter::read(plan, args);
    if (!filter) return filter.error();
    Args a(plan, args);
    const auto count = a.uint("count", UINT32_MAX);
    if (!a.problem.empty()) return Error{a.problem};
    const auto wanted = [filter = *filter](const ExpectEvent& e) { return filter.matches(e.info); };
    const auto to_row = [&fw](const ExpectEvent& e, Json& row) {
        row["by"] = e.by;
        row.update(expectation_row(fw.plan(), e.info));
    };
    return Source(
        std::make_unique<EventSource<ExpectEvent, bool>>(hub, true, wanted, count, now, to_row));
}

}  // namespace

Command command_expect_events(const CommandContext& context) {
    Firewall& fw = context.fw;
    std::vector<EventRing<ExpectEvent>*> rings;
    for (unsigned o = 0; o < fw.expectations().owners(); ++o)
        rings.push_back(&fw.expectations().owner(static_cast<OwnerId>(o)).events());
    auto hub = std::make_shared<ExpectHub>(std::move(rings), [](bool) {});
    auto args = expectation_conditions(plan_of(context));
    args.push_back({"count", ArgType::integer, false, "end after this many events"});
    std::vector<Column> columns{{"TIME", {"time"}, CellForm::clock},
                                {"EVENT", {"event"}},
                                {"CAUSE", {"cause"}},
                                {"HELPER", {"helper"}},
                                {"PROTO", {"proto"}}};
    const auto ends = expected_columns();
    columns.insert(columns.end(), ends.begin(), ends.end());
    columns.insert(columns.end(), {ranked(2, {"ID", {"id"}}), ranked(3, {"MASTER", {"master_id"}}),
                                   ranked(4, {"MASTER_ENDS", {"master"}, CellForm::ends})});
    return {.name = "expect events",
            .help = "Show events of expectations as they happen, until interrupted",
            .args = std::move(args),
            .handler = [&fw, hub,
                        now = context.now](const Json& json) { return events(fw, hub, now, json); },
            .effect = Effect::read,
            .columns = std::move(columns),
            .endless = true};
}

}  // namespace postern
