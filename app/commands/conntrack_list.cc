// SPDX-License-Identifier: BSD-3-Clause
// `conntrack list`.
#include "commands/context.h"
#include "conn_conditions.h"
#include "list_rows.h"

namespace postern {
namespace {

class ListSource : public RowSource {
  public:
    ListSource(Firewall& fw, std::shared_ptr<QueryOwners> owners, const ConnFilter& filter)
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
    columns.insert(columns.end(),
                   {{"STATE", {"state"}},
                    {"PROTO_STATE", {"proto_state"}},
                    {"ZONE", {"zone"}},
                    {"RULE", {"rule"}},
                    {"HELPER", {"helper"}},
                    number("TIMEOUT", "timeout_s"),
                    {"PACKETS", {"packets_original", "packets_reply"}, CellForm::pair, true},
                    {"BYTES", {"bytes_original", "bytes_reply"}, CellForm::pair, true},
                    {"ID", {"id"}},
                    {"MASTER", {"master_id"}}});
    return {.name = "conntrack list",
            .help = "List the connections",
            .args = connection_conditions(plan_of(context)),
            .handler =
                [&fw = context.fw, owners = context.query_owners](const Json& args) {
                    return query_connections<ListSource>(fw, owners, args);
                },
            .effect = Effect::read,
            .columns = std::move(columns)};
}

}  // namespace postern
