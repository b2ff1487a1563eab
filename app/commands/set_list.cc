// SPDX-License-Identifier: BSD-3-Clause
// `set list`.
#include <algorithm>
#include <deque>
#include <optional>

#include "commands/sets.h"
#include "net/address_set.h"

namespace postern {
namespace {

/// Entries in no order. Each that is there from the beginning to the end comes once.
class SetListSource : public RowSource {
  public:
    explicit SetListSource(std::deque<SetPlan> sets) : sets_(std::move(sets)) {}

    Pull next(Json& row) override {
        for (unsigned lines = 0; found_.empty() && !sets_.empty(); ++lines) {
            if (lines == kLinesAStep) return Pull::pending;
            if (!walk_) walk_.emplace(*sets_.front().set);
            if (walk_->step([this](const SetEntry& e) { found_.push_back(e); })) continue;
            walk_.reset();
            sets_.pop_front();
        }
        if (found_.empty()) return Pull::done;
        const SetPlan& of = sets_.front();
        const SetEntry& e = found_.front();
        const SetTime now = of.set->now();
        if (e.until <= now) {  // expired since the walk
            found_.pop_front();
            return Pull::pending;
        }
        row["set"] = of.name;
        row["entry"] = AddressRange::of(e.prefix).to_string();  // a host without its length
        // Whole seconds that it lasts at least, and never 0: `set load` would refuse that.
        row["timeout_s"] =
            e.until == kForEver ? Json(nullptr) : Json(std::max<SetTime>(e.until - now - 1, 1));
        found_.pop_front();
        return Pull::row;
    }

  private:
    static constexpr unsigned kLinesAStep = 4096;
    std::deque<SetPlan> sets_;
    std::optional<LiveSet::Walk> walk_;
    std::deque<SetEntry> found_;  ///< of the first set
};

}  // namespace

Command command_set_list(const CommandContext& context) {
    return {.name = "set list",
            .help = "List the entries of the sets",
            .args = {set_argument(context, false)},
            .handler =
                [&fw = context.fw](const Json& args) {
                    Args a(fw.plan(), args);
                    const SetPlan* const only = a.set("set");
                    if (!a.problem.empty()) return Source(Error{a.problem});
                    std::deque<SetPlan> sets;
                    for (const SetPlan& s : fw.plan().sets)
                        if (only == nullptr || only == &s) sets.push_back(s);
                    return Source(std::make_unique<SetListSource>(std::move(sets)));
                },
            .effect = Effect::read,
            .columns = {{"SET", {"set"}}, {"ENTRY", {"entry"}}, number("TIMEOUT", "timeout_s")}};
}

}  // namespace postern
