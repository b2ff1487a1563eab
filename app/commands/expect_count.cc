// SPDX-License-Identifier: BSD-3-Clause
// `expect count`.
#include "commands/context.h"
#include "expect_conditions.h"

namespace postern {
namespace {

class ExpectCountSource : public RowSource {
  public:
    ExpectCountSource(Firewall& fw, ExpectFilter filter) : fw_(fw), filter_(std::move(filter)) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        bool more = false;
        {
            const Online online(fw_);
            more = fw_.expectations().walk(cursor_, kObjectsAStep, [this](const ExpectInfo& e) {
                count_ += filter_.matches(e) ? 1 : 0;
            });
        }
        if (more) return Pull::pending;
        row["expectations"] = count_;
        said_ = true;
        return Pull::row;
    }

  private:
    Firewall& fw_;
    ExpectFilter filter_;
    std::uint32_t cursor_ = 0;
    std::uint64_t count_ = 0;
    bool said_ = false;
};

}  // namespace

Command command_expect_count(const CommandContext& context) {
    return {.name = "expect count",
            .help = "Count the pending expectations, or those that match",
            .args = expectation_conditions(plan_of(context)),
            .handler =
                [&fw = context.fw](const Json& args) {
                    auto filter = ExpectFilter::read(fw.plan(), args);
                    if (!filter) return Source(filter.error());
                    return Source(std::make_unique<ExpectCountSource>(fw, std::move(*filter)));
                },
            .effect = Effect::read,
            .columns = {number("EXPECTATIONS", "expectations")}};
}

}  // namespace postern
