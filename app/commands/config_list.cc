// SPDX-License-Identifier: BSD-3-Clause
// `config list`: the configurations that were in force.
#include "commands/config.h"

namespace postern {

Command command_config_list(const CommandContext& context) {
    return {
        .name = "config list",
        .help = "Show the last configurations that were in force; the last line is in force now",
        .args = {},
        .handler = with_config(context,
                               [](LiveConfig& config, const Json&) -> Source {
                                   std::vector<Json> rows;
                                   for (const ConfigHistory::Entry& e : config.history().entries())
                                       rows.push_back({{"number", e.number},
                                                       {"since", wall_time(e.since_ms)},
                                                       {"by", e.by},
                                                       {"confirmed", e.confirmed},
                                                       {"file", e.file}});
                                   if (const auto left = config.awaits(); left && !rows.empty())
                                       rows.back()["goes_back_in_s"] = left->count();
                                   return rows_of(std::move(rows));
                               }),
        .effect = Effect::read,
        .columns = {number("NUMBER", "number"),
                    {"SINCE", {"since"}},
                    {"BY", {"by"}},
                    {"CONFIRMED", {"confirmed"}},
                    number("GOES_BACK_IN_S", "goes_back_in_s"),
                    {"FILE", {"file"}}}};
}

}  // namespace postern
