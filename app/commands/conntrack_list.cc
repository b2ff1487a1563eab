// SPDX-License-Identifier: BSD-3-Clause
// `conntrack list`.
#include "commands/context.h"
#include "conn_conditions.h"
#include "list_rows.h"

namespace postern {
namespace {

class ConnListSource : public RowSource {
  public:
    ConnListSource(Firewall& fw, std::shared_ptr<QueryOwners> owners, const ConnFilter& filter)
        : fw_(fw), queries_(fw, std::move(owners), ConnQuery::Action::list, filter) {}

    Pull next(Json& row) override {
        const Pull pull = queries_.next(found_);
        if (pull == Pull::row)
            row =
                connection_row(fw_.plan(), queries_.worker(), found_.slot, found_.conn, found_.now);
        return pull;
    }

  private:
    Firewall& fw_;
    ConnQueries queries_;
    ConnQuery::Row found_;
};

}  // namespace

Command command_conntrack_list(const CommandContext& context) {
    auto columns = tuple_columns();
    columns.insert(
        columns.end(),
        {{"STATE", {"state"}},
         ranked(2, {"PROTO_STATE", {"proto_state"}}),
         ranked(8, {"ZONE", {"zone"}}),
         ranked(4, {"RULE", {"rule"}}),
         ranked(3, {"HELPER", {"helper"}}),
         ranked(1, number("TIMEOUT", "timeout_s")),
         ranked(6, {"PACKETS", {"packets_original", "packets_reply"}, CellForm::pair, true}),
         ranked(5, {"BYTES", {"bytes_original", "bytes_reply"}, CellForm::pair, true}),
         ranked(7, {"ID", {"id"}}),
         ranked(9, {"MASTER", {"master_id"}})});
    return {.name = "conntrack list",
            .help = "List the connections",
            .args = connection_conditions(plan_of(context)),
            .handler =
                [&fw = context.fw, owners = context.query_owners](const Json& args) {
                    return query_connections<ConnListSource>(fw, owners, args);
                },
            .effect = Effect::read,
            .columns = std::move(columns)};
}

}  // namespace postern
