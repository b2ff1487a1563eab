// SPDX-License-Identifier: BSD-3-Clause
// `set count`.
#include "commands/sets.h"

namespace postern {
namespace {

Source count(Firewall& fw, const Json& args) {
    Args a(fw.plan(), args);
    const SetPlan* const only = a.set("set");
    if (!a.problem.empty()) return Error{a.problem};
    std::vector<Json> rows;
    for (const SetPlan& s : fw.plan().sets) {
        if (only != nullptr && only != &s) continue;
        const LiveSet::Counters& c = s.set->counters();
        rows.push_back({{"set", s.name},
                        {"entries", s.set->size()},
                        {"max", s.max},
                        {"bytes", s.set->bytes()},
                        {"added", c.added},
                        {"deleted", c.deleted},
                        {"expired", c.expired},
                        {"refused", c.refused}});
    }
    return rows_of(std::move(rows));
}

}  // namespace

Command command_set_count(const CommandContext& context) {
    return {.name = "set count",
            .help = "Show how many entries each set has, and what it takes of memory",
            .args = {set_argument(context, false)},
            .handler = [&fw = context.fw](const Json& args) { return count(fw, args); },
            .effect = Effect::read,
            .columns = {{"SET", {"set"}},
                        number("ENTRIES", "entries"),
                        number("MAX", "max"),
                        ranked(1, number("BYTES", "bytes")),
                        ranked(2, number("ADDED", "added")),
                        ranked(3, number("DELETED", "deleted")),
                        ranked(4, number("EXPIRED", "expired")),
                        ranked(5, number("REFUSED", "refused"))}};
}

}  // namespace postern
