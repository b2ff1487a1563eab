// SPDX-License-Identifier: BSD-3-Clause
// `conntrack flush`.
#include "commands/context.h"
#include "conn_conditions.h"

namespace postern {

Command command_conntrack_flush(const CommandContext& context) {
    return {
        .name = "conntrack flush",
        .help = "End all connections, or those that match",
        .args = connection_conditions(plan_of(context)),
        .handler = [&fw = context.fw, owners = context.query_owners](
                       const Json& args) { return query_connections<EndSource>(fw, owners, args); },
        .effect = Effect::write,
        .columns = {number("DELETED", "deleted")}};
}

}  // namespace postern
