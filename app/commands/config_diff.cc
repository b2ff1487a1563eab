// SPDX-License-Identifier: BSD-3-Clause
// `config diff`.
#include "commands/config.h"

namespace postern {

Command command_config_diff(const CommandContext& context) {
    return {.name = "config diff",
            .help = "Show how a file differs from the configuration in force, loadable or not",
            .args = {config_file_argument()},
            .handler = with_config(
                context,
                [asked_by = context.asked_by](LiveConfig& config, const Json& args) -> Source {
                    return answer_of(config.diff(args["file"].get<std::string>(), asked_by()));
                }),
            // An error may quote lines of any file that the daemon can read.
            .effect = Effect::write,
            .columns = change_columns()};
}

}  // namespace postern
