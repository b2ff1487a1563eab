// SPDX-License-Identifier: BSD-3-Clause
// `expect list`.
#include <deque>

#include "commands/context.h"
#include "expect_conditions.h"
#include "list_rows.h"

namespace postern {
namespace {

class ExpectListSource : public RowSource {
  public:
    ExpectListSource(Firewall& fw, ExpectFilter filter) : fw_(fw), filter_(std::move(filter)) {}

    Pull next(Json& row) override {
        if (found_.empty() && more_) {
            Online online(fw_);
            more_ = fw_.expectations().walk(cursor_, kObjectsAStep, [this](const ExpectInfo& e) {
                if (filter_.matches(e)) found_.push_back(e);
            });
        }
        if (found_.empty()) return more_ ? Pull::pending : Pull::done;
        row = expectation_row(fw_.plan(), found_.front());
        found_.pop_front();
        return Pull::row;
    }

  private:
    Firewall& fw_;
    ExpectFilter filter_;
    std::uint32_t cursor_ = 0;
    bool more_ = true;
    std::deque<ExpectInfo> found_;
};

}  // namespace

Command command_expect_list(const CommandContext& context) {
    std::vector<Column> columns{{"HELPER", {"helper"}},
                                ranked(3, {"CLASS", {"class"}}),
                                ranked(8, {"CALL", {"call"}}),
                                {"PROTO", {"proto"}}};
    const auto ends = expected_columns();
    columns.insert(columns.end(), ends.begin(), ends.end());
    columns.insert(columns.end(), {number("TIMEOUT", "timeout_s"), ranked(5, {"FLAGS", {"flags"}}),
                                   ranked(7, {"ZONE", {"zone"}}), ranked(2, {"ID", {"id"}}),
                                   ranked(4, {"MASTER", {"master_id"}}),
                                   ranked(6, {"MASTER_ENDS", {"master"}, CellForm::ends})});
    return {.name = "expect list",
            .help = "List the pending expectations",
            .args = expectation_conditions(plan_of(context)),
            .handler =
                [&fw = context.fw](const Json& args) {
                    auto filter = ExpectFilter::read(fw.plan(), args);
                    if (!filter) return Source(filter.error());
                    return Source(std::make_unique<ExpectListSource>(fw, *filter));
                },
            .effect = Effect::read,
            .columns = std::move(columns)};
}

}  // namespace postern
