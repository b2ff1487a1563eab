// SPDX-License-Identifier: BSD-3-Clause
// `set delete`.
#include "commands/sets.h"

namespace postern {
namespace {

Source remove(Firewall& fw, const Json& args) {
    Args a(fw.plan(), args);
    const SetPlan* const plan = a.set("set");
    if (!a.problem.empty()) return Error{a.problem};
    auto entries = entries_of(args["entry"].get<std::string>());
    if (!entries) return entries.error();
    for (const TimedPrefix& e : *entries)
        if (e.timeout_s) return Error{"entry: expected no `timeout` of an entry to delete"};
    LiveSet& set = *plan->set;
    std::size_t deleted = 0;
    for (const TimedPrefix& e : *entries)
        deleted += set.remove(e.prefix) ? 1 : 0;
    const std::string name = plan->name;
    recheck_if(fw, args, deleted != 0);
    return rows_of({{{"set", name},
                     {"deleted", deleted},
                     {"missing", entries->size() - deleted},
                     {"entries", set.size()}}});
}

}  // namespace

Command command_set_delete(const CommandContext& context) {
    return {.name = "set delete",
            .help =
                "Delete entries of a set, exactly as they were added; an address that another "
                "entry contains stays in the set",
            .args = {set_argument(context), entries_argument(), recheck_argument()},
            .handler = [&fw = context.fw](const Json& args) { return remove(fw, args); },
            .effect = Effect::write,
            .columns = {{"SET", {"set"}},
                        number("DELETED", "deleted"),
                        number("MISSING", "missing"),
                        number("ENTRIES", "entries")}};
}

}  // namespace postern
