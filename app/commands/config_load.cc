// SPDX-License-Identifier: BSD-3-Clause
// `config load`.
#include "commands/config.h"
#include "value_text.h"

namespace postern {

Command command_config_load(const CommandContext& context) {
    return {
        .name = "config load",
        .help = "Put a configuration into force, under traffic: all of it, or nothing",
        .args = {config_file_argument(),
                 {.name = "confirm",
                  .type = ArgType::time,
                  .help = "unless `config confirm` comes in this time, the "
                          "last confirmed configuration comes back"}},
        .handler = with_config(
            context,
            [asked_by = context.asked_by](LiveConfig& config, const Json& args) -> Source {
                std::optional<std::chrono::seconds> within;
                if (args.contains("confirm")) {
                    const Json& given = args["confirm"];
                    const auto text = given.is_string() ? given.get<std::string>() : given.dump();
                    const auto seconds = seconds_of(text);
                    if (!seconds || *seconds == 0 || *seconds > kMostConfirmS)
                        return Error{"confirm: '" + text +
                                     "' is not a time from 1s to 1h (30s, 5m)"};
                    within = std::chrono::seconds(*seconds);
                }
                return answer_of(config.load(args["file"].get<std::string>(), asked_by(), within),
                                 within ? "in force, not confirmed" : "in force");
            }),
        .effect = Effect::write,
        .columns = change_columns()};
}

}  // namespace postern
