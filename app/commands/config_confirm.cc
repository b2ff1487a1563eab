// SPDX-License-Identifier: BSD-3-Clause
// `config confirm`.
#include "commands/config.h"

namespace postern {

Command command_config_confirm(const CommandContext& context) {
    return {.name = "config confirm",
            .help = "Keep the configuration that `config load confirm=` has put into force",
            .args = {},
            .handler = with_config(
                context,
                [asked_by = context.asked_by](LiveConfig& config, const Json&) -> Source {
                    if (auto confirmed = config.confirm(asked_by()); !confirmed)
                        return confirmed.error();
                    return rows_of({{{"confirmed", config.history().entries().back().number}}});
                }),
            .effect = Effect::write,
            .columns = {number("CONFIRMED", "confirmed")}};
}

}  // namespace postern
