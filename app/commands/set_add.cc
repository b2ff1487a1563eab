// SPDX-License-Identifier: BSD-3-Clause
// `set add`: all entries, or none of them if one is wrong or has no room.
#include <set>
#include <tuple>

#include "commands/sets.h"

namespace postern {
namespace {

/// Those that the set does not have yet, each once.
std::size_t further(const LiveSet& set, const std::vector<TimedPrefix>& entries) {
    std::set<std::tuple<Family, decltype(IpAddr::bytes), unsigned>> out;
    for (const TimedPrefix& e : entries)
        if (!set.has(e.prefix))
            out.insert({e.prefix.address.family, e.prefix.address.bytes, e.prefix.length});
    return out.size();
}

Source add(Firewall& fw, const Json& args) {
    Args a(fw.plan(), args);
    const SetPlan* const plan = a.set("set");
    std::optional<std::uint32_t> timeout_s;
    if (args.value("timeout", Json()) == "never")
        timeout_s = 0;
    else if (timeout_s = a.time("timeout", kMaxEntryTimeoutS); timeout_s == 0u)
        a.wrong("timeout", "expected at least 1 second, or never");
    if (!a.problem.empty()) return Error{a.problem};
    auto entries = entries_of(args["entry"].get<std::string>());
    if (!entries) return entries.error();
    LiveSet& set = *plan->set;
    const std::size_t more = further(set, *entries);
    if (set.size() + more > plan->max) set.expire();
    if (set.size() + more > plan->max) return no_room(*plan, more);
    std::size_t added = 0, updated = 0;
    for (const TimedPrefix& e : *entries) {
        const std::uint32_t s = e.timeout_s.value_or(timeout_s.value_or(plan->timeout_s));
        ++(set.add({e.prefix, set.until(s)}) == LiveSet::Added::added ? added : updated);
    }
    const std::string name = plan->name;
    recheck_if(fw, args, added != 0);
    return rows_of(
        {{{"set", name}, {"added", added}, {"updated", updated}, {"entries", set.size()}}});
}

}  // namespace

Command command_set_add(const CommandContext& context) {
    return {.name = "set add",
            .help = "Add entries to a set; one that is there gets the new time",
            .args = {set_argument(context),
                     entries_argument(),
                     {"timeout", ArgType::time, false,
                      "how long entries stay that name no time, or never; default: the set's"},
                     recheck_argument()},
            .handler = [&fw = context.fw](const Json& args) { return add(fw, args); },
            .effect = Effect::write,
            .columns = {{"SET", {"set"}},
                        number("ADDED", "added"),
                        number("UPDATED", "updated"),
                        number("ENTRIES", "entries")}};
}

}  // namespace postern
