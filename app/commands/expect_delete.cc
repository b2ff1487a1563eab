// SPDX-License-Identifier: BSD-3-Clause
// `expect delete`.
#include "commands/context.h"
#include "expect_conditions.h"

namespace postern {

Command command_expect_delete(const CommandContext& context) {
    return {.name = "expect delete",
            .help = "End the expectations that match (at least one condition)",
            .args = expectation_conditions(plan_of(context)),
            .handler =
                [&fw = context.fw, now = context.now](const Json& args) {
                    if (args.empty()) return Source(Error{"which ones? (`expect flush` ends all)"});
                    auto filter = ExpectFilter::read(fw.plan(), args);
                    if (!filter) return Source(filter.error());
                    return Source(std::make_unique<DeleteSource>(fw, *filter, now));
                },
            .effect = Effect::write,
            .columns = {number("DELETED", "deleted")}};
}

}  // namespace postern
