// SPDX-License-Identifier: BSD-3-Clause
// `config show`: the text of a configuration that was in force.
#include "commands/config.h"

namespace postern {

Command command_config_show(const CommandContext& context) {
    return {.name = "config show",
            .help = "Show the text of the configuration in force, or of an earlier one",
            .args = {{.name = "number",
                      .type = ArgType::integer,
                      .help = "of `config list`; default: the one in force",
                      .positional = true}},
            .handler = with_config(
                context,
                [](LiveConfig& config, const Json& args) -> Source {
                    const auto& entries = config.history().entries();
                    if (entries.empty()) return Error{"there is no configuration"};
                    const auto number =
                        args.contains("number") ? number_of(args["number"]) : entries.back().number;
                    const ConfigHistory::Entry* entry =
                        number ? config.history().find(*number) : nullptr;
                    if (entry == nullptr) return Error{"number: expected a number of config list"};
                    std::vector<Json> rows;
                    std::string_view rest = entry->text;
                    while (!rest.empty()) {
                        const std::string_view line = rest.substr(0, rest.find('\n'));
                        rows.push_back({{"line", line}});
                        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
                    }
                    return rows_of(std::move(rows));
                }),
            // It may hold a password of the operator's own.
            .effect = Effect::write,
            .columns = {{"LINE", {"line"}}}};
}

}  // namespace postern
