// SPDX-License-Identifier: BSD-3-Clause
// `config rollback`.
#include "commands/config.h"

namespace postern {

Command command_config_rollback(const CommandContext& context) {
    return {.name = "config rollback",
            .help = "Go back to an earlier configuration",
            .args = {{.name = "number",
                      .type = ArgType::integer,
                      .help = "of `config list`; default: the last confirmed one before this",
                      .positional = true}},
            .handler = with_config(
                context,
                [asked_by = context.asked_by](LiveConfig& config, const Json& args) -> Source {
                    std::optional<unsigned> number;
                    if (args.contains("number")) number = number_of(args["number"]);
                    if (args.contains("number") && !number)
                        return Error{"number: expected a number of config list"};
                    return answer_of(config.rollback(number, asked_by()));
                }),
            .effect = Effect::write,
            .columns = change_columns()};
}

}  // namespace postern
