// SPDX-License-Identifier: BSD-3-Clause
// `set flush`.
#include "commands/sets.h"

namespace postern {

Command command_set_flush(const CommandContext& context) {
    return {.name = "set flush",
            .help = "Delete all entries of a set",
            .args = {set_argument(context), recheck_argument()},
            .handler =
                [&fw = context.fw](const Json& args) {
                    Args a(fw.plan(), args);
                    const SetPlan* const plan = a.set("set");
                    if (!a.problem.empty()) return Source(Error{a.problem});
                    const std::string name = plan->name;
                    plan->set->expire();
                    const std::size_t deleted = plan->set->size();
                    plan->set->flush();
                    recheck_if(fw, args, deleted != 0);
                    return Source(rows_of({{{"set", name}, {"deleted", deleted}}}));
                },
            .effect = Effect::write,
            .columns = {{"SET", {"set"}}, number("DELETED", "deleted")}};
}

}  // namespace postern
