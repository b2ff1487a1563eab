// SPDX-License-Identifier: BSD-3-Clause
// `config check`.
#include "commands/config.h"

namespace postern {

Command command_config_check(const CommandContext& context) {
    return {.name = "config check",
            .help = "Check whether a configuration could be loaded now, and show what would change",
            .args = {config_file_argument()},
            .handler = with_config(context,
                                   [](LiveConfig& config, const Json& args) -> Source {
                                       auto change = config.check(args["file"].get<std::string>());
                                       if (!change) return change.error();
                                       return rows_of(rows_of_change(*change));
                                   }),
            // An error may quote lines of any file that the daemon can read.
            .effect = Effect::write,
            .columns = change_columns()};
}

}  // namespace postern
