// SPDX-License-Identifier: BSD-3-Clause
// `config check`.
#include "commands/config.h"

namespace postern {

Command command_config_check(const CommandContext& context) {
    return {.name = "config check",
            .help = "Check whether a configuration could be loaded now, and show what would change",
            .args = {config_file_argument()},
            .handler = with_config(
                context,
                [asked_by = context.asked_by](LiveConfig& config, const Json& args) -> Source {
                    return answer_of(config.check(args["file"].get<std::string>(), asked_by()));
                }),
            // An error may quote lines of any file that the daemon can read.
            .effect = Effect::write,
            .columns = change_columns()};
}

}  // namespace postern
