// SPDX-License-Identifier: BSD-3-Clause
// `config diff`.
#include "commands/config.h"

namespace postern {

Command command_config_diff(const CommandContext& context) {
    return {.name = "config diff",
            .help = "Show how a file differs from the configuration in force, loadable or not",
            .args = {config_file_argument()},
            .handler = with_config(context,
                                   [](LiveConfig& config, const Json& args) -> Source {
                                       auto found = config.diff(args["file"].get<std::string>());
                                       if (!found) return found.error();
                                       std::vector<Json> rows;
                                       add_rows(rows, *found);
                                       return rows_of(std::move(rows));
                                   }),
            // An error may quote lines of any file that the daemon can read.
            .effect = Effect::write,
            .columns = change_columns()};
}

}  // namespace postern
