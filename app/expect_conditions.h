// SPDX-License-Identifier: BSD-3-Clause
// The conditions of `expect` commands, which select expectations; and the command that ends them.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "args.h"
#include "base/result.h"
#include "control/command.h"
#include "control_reader.h"
#include "expect/table.h"

namespace postern {

/// `plan` has the valid names.
std::vector<ArgSpec> expectation_conditions(const PlanSource& plan);
/// Columns of its two ends.
std::vector<Column> expected_columns();

struct ExpectFilter {
    std::optional<HelperId> helper;
    std::optional<std::uint8_t> protocol;
    std::optional<Prefix> src, dst;
    std::optional<Interval> dport, timeout_s;
    std::optional<std::uint32_t> zone;
    std::optional<ConnId> master;
    std::optional<std::pair<OwnerId, ExpectId>> id;
    std::set<std::string, std::less<>> negated;  ///< names of arguments

    static Result<ExpectFilter> read(const Plan& plan, const Json& json);
    bool matches(const ExpectInfo& e) const;
};

/// Expectations visited in one step: control is a reader of the table meanwhile.
inline constexpr std::uint32_t kObjectsAStep = 1024;

/// Ends the matching expectations, and returns their number.
class DeleteSource : public RowSource {
  public:
    DeleteSource(Firewall& fw, ExpectFilter filter, std::function<Tick()> now)
        : fw_(fw), filter_(std::move(filter)), now_(std::move(now)) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        if (more_) {
            Online online(fw_);
            more_ = fw_.expectations().walk(cursor_, kObjectsAStep, [this](const ExpectInfo& e) {
                if (filter_.matches(e) &&
                    control_owner(fw_).remove(e.id, ExpectEnd::control, {now_()}))
                    ++deleted_;
            });
            if (more_) return Pull::pending;
        }
        row["deleted"] = deleted_;
        said_ = true;
        return Pull::row;
    }

  private:
    Firewall& fw_;
    ExpectFilter filter_;
    std::function<Tick()> now_;
    std::uint32_t cursor_ = 0;
    std::uint64_t deleted_ = 0;
    bool more_ = true, said_ = false;
};

}  // namespace postern
