// SPDX-License-Identifier: BSD-3-Clause
// `conntrack delete`.
#include "commands/context.h"
#include "conn_conditions.h"

namespace postern {

Command command_conntrack_delete(const CommandContext& context) {
    return {.name = "conntrack delete",
            .help = "End the connections that match (at least one condition)",
            .args = connection_conditions(plan_of(context)),
            .handler =
                [&fw = context.fw, owners = context.query_owners](const Json& args) {
                    if (args.empty())
                        return Source(Error{"which ones? (`conntrack flush` ends all)"});
                    return query_connections<EndSource>(fw, owners, args);
                },
            .effect = Effect::write,
            .columns = {number("DELETED", "deleted")}};
}

}  // namespace postern
