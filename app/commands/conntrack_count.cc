// SPDX-License-Identifier: BSD-3-Clause
// `conntrack count`. Without conditions it reads counters; with them the workers visit their
// connections.
#include "commands/context.h"
#include "conn_conditions.h"

namespace postern {
namespace {

std::uint64_t capacity_of(Firewall& fw) {
    std::uint64_t capacity = 0;
    for (unsigned w = 0; w < fw.workers(); ++w)
        capacity += fw.worker(w).conns().capacity();
    return capacity;
}

Json count_row(Firewall& fw) {
    std::uint64_t total = 0;
    for (unsigned w = 0; w < fw.workers(); ++w)
        total += fw.worker(w).conns().count().get();
    return {{"connections", total}, {"max", capacity_of(fw)}};
}

class ConnCountSource : public RowSource {
  public:
    ConnCountSource(Firewall& fw, std::shared_ptr<QueryOwners> owners, const ConnFilter& filter)
        : fw_(fw), queries_(fw, std::move(owners), ConnQuery::Action::count, filter) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        ConnQuery::Row none;
        if (queries_.next(none) != Pull::done) return Pull::pending;
        row = {{"connections", queries_.matched()}, {"max", capacity_of(fw_)}};
        said_ = true;
        return Pull::row;
    }

  private:
    Firewall& fw_;
    ConnQueries queries_;
    bool said_ = false;
};

}  // namespace

Command command_conntrack_count(const CommandContext& context) {
    return {.name = "conntrack count",
            .help = "Count the connections, or those that match",
            .args = connection_conditions(plan_of(context)),
            .handler =
                [&fw = context.fw, owners = context.query_owners](const Json& args) {
                    if (args.empty()) return Source(rows_of({count_row(fw)}));
                    return query_connections<ConnCountSource>(fw, owners, args);
                },
            .effect = Effect::read,
            .columns = {number("CONNECTIONS", "connections"), number("MAX", "max")}};
}

}  // namespace postern
