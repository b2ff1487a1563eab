// SPDX-License-Identifier: BSD-3-Clause
// `expect flush`.
#include "commands/context.h"
#include "expect_conditions.h"

namespace postern {

Command command_expect_flush(const CommandContext& context) {
    return {.name = "expect flush",
            .help = "End all expectations",
            .args = {},
            .handler =
                [&fw = context.fw, now = context.now](const Json&) {
                    return Source(std::make_unique<DeleteSource>(fw, ExpectFilter{}, now));
                },
            .effect = Effect::write,
            .columns = {number("DELETED", "deleted")}};
}

}  // namespace postern
