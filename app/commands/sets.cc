// SPDX-License-Identifier: BSD-3-Clause
#include "commands/sets.h"

namespace postern {

ArgSpec set_argument(const CommandContext& context, bool required) {
    return {.name = "set",
            .required = required,
            .help = required ? "its name in the configuration" : "only this set",
            .positional = true,
            .candidates = set_names(plan_of(context))};
}

ArgSpec entries_argument() {
    return {.name = "entry",
            .required = true,
            .help =
                "addresses and prefixes, with commas between them: 192.0.2.1, 2001:db8::/32; "
                "each may have its own time: \"192.0.2.1 timeout 1h\"",
            .positional = true,
            .repeated = true};
}

ArgSpec recheck_argument() {
    return {"recheck", ArgType::boolean, false,
            "true: judge running connections again, as at their first packets, and end refused "
            "ones"};
}

Result<std::vector<TimedPrefix>> entries_of(const std::string& text) {
    std::vector<TimedPrefix> out;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find(',', at), text.size());
        auto entry = parse_set_entry(std::string_view(text).substr(at, end - at));
        if (!entry) return Error{"entry: " + entry.error().message};
        out.push_back(*entry);
        at = end + 1;
    }
    return out;
}

void recheck_if(Firewall& fw, const Json& args, bool changed) {
    if (changed && args.value("recheck", false)) fw.recheck();
}

Error no_room(const SetPlan& plan, std::size_t more) {
    plan.set->counters().refused += more;
    return Error{"the set " + plan.name + " has no room for " + std::to_string(more) +
                 " more entries: it has " + std::to_string(plan.set->size()) + " of at most " +
                 std::to_string(plan.max) + " (`max`), so nothing has changed"};
}

}  // namespace postern
