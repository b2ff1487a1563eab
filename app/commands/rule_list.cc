// SPDX-License-Identifier: BSD-3-Clause
// `rule list`: the rules in the order of the file, then the default, with their counters.
#include <algorithm>
#include <chrono>

#include <fmt/chrono.h>

#include "base/wall_clock.h"
#include "commands/context.h"

namespace postern {
namespace {

Json rule_row(const std::string& name, PolicyAction action, const RuleTotals& t,
              std::int64_t now_ms) {
    Json row{{"rule", name},
             {"action", to_string(action)},
             {"connections", t.connections},
             {"packets", t.packets},
             {"bytes", t.bytes},
             {"in_force", true},
             {"running", nullptr}};
    if (t.last_ms == 0) {
        row["last"] = row["idle_s"] = nullptr;
        return row;
    }
    const std::chrono::sys_seconds last{std::chrono::seconds(t.last_ms / 1000)};
    row["last"] = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(last));
    row["idle_s"] = std::max<std::int64_t>(0, now_ms - t.last_ms) / 1000;
    return row;
}

Source rules(const CommandContext& context, const Json& args) {
    const Plan& plan = context.fw.plan();
    Args a(plan, args);
    const bool only_default = args.value("rule", std::string()) == kDefaultRule;
    const auto only = only_default ? std::nullopt : a.rule("rule");
    if (!a.problem.empty()) return Error{a.problem};
    RuleBook& book = context.fw.rule_book();
    const std::int64_t now_ms = wall_ms();
    book.look_at_times(context.now(), now_ms);
    std::vector<Json> rows;
    for (const Plan::RuleLine& line : plan.rule_lines) {
        if (only_default || (only && *only != line.id)) continue;
        Json row = rule_row(plan.rule_name(line.id), line.action, book.of(line.id), now_ms);
        row["in_force"] = line.in_force;
        const RuleLimit* const limit = plan.limit_of(line.id);
        if (limit != nullptr && limit->counts())
            row["running"] = context.fw.rule_limits().open_now(line.id);
        rows.push_back(std::move(row));
    }
    if (!only)
        rows.push_back(
            rule_row(std::string(kDefaultRule), plan.fallback, book.of_default(), now_ms));
    return rows_of(std::move(rows));
}

}  // namespace

Command command_rule_list(const CommandContext& context) {
    const auto names = [plan = plan_of(context)] {
        auto all = rule_names(plan)();
        all.emplace_back(kDefaultRule);
        return all;
    };
    return {.name = "rule list",
            .help = "List the rules and the default with their counters",
            .args = {{.name = "rule",
                      .help = "only this rule, or `default`",
                      .positional = true,
                      .candidates = names}},
            .handler = [&context](const Json& args) { return rules(context, args); },
            .effect = Effect::read,
            .columns = {{"RULE", {"rule"}},
                        {"ACTION", {"action"}},
                        number("CONNECTIONS", "connections"),
                        number("PACKETS", "packets"),
                        number("BYTES", "bytes"),
                        {"LAST", {"last"}},
                        ranked(1, {"IN_FORCE", {"in_force"}}),
                        ranked(2, number("RUNNING", "running"))}};
}

}  // namespace postern
