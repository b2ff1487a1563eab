// SPDX-License-Identifier: BSD-3-Clause
// `set list`.
#include <algorithm>
#include <deque>
#include <string>

#include "commands/sets.h"
#include "net/address_set.h"

namespace postern {
namespace {

/// Entries in no order. Each that is there from the beginning to the end comes once. Holds names
/// and a line's entries only: a client that does not read on keeps no contents in memory.
class SetListSource : public RowSource {
  public:
    SetListSource(Firewall& fw, std::deque<std::string> names)
        : fw_(fw), names_(std::move(names)) {}

    Pull next(Json& row) override {
        const SetPlan* of = first();
        for (unsigned lines = 0; of != nullptr && found_.empty(); ++lines) {
            if (lines == kLinesAStep) return Pull::pending;
            if (of->set->list(at_, [this](const SetEntry& e) { found_.push_back(e); })) continue;
            names_.pop_front();
            at_ = {};
            of = first();
        }
        if (of == nullptr) return Pull::done;
        const SetEntry e = found_.front();
        found_.pop_front();
        const SetTime now = of->set->now();
        if (e.until <= now) return Pull::pending;  // expired meanwhile
        row["set"] = of->name;
        row["entry"] = AddressRange::of(e.prefix).to_string();  // a host without its length
        // Whole seconds that it lasts at least, and never 0: `set load` would refuse that.
        row["timeout_s"] =
            e.until == kForEver ? Json(nullptr) : Json(std::max<SetTime>(e.until - now - 1, 1));
        return Pull::row;
    }

  private:
    /// The set that is listed. Another configuration may have come without it.
    const SetPlan* first() {
        for (; !names_.empty(); names_.pop_front(), at_ = {}, found_.clear())
            if (const SetPlan* const set = fw_.plan().find_set(names_.front())) return set;
        return nullptr;
    }

    static constexpr unsigned kLinesAStep = 4096;
    Firewall& fw_;
    std::deque<std::string> names_;  ///< still to be listed
    SetCursor at_;
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
                    std::deque<std::string> names;
                    for (const SetPlan& s : fw.plan().sets)
                        if (only == nullptr || only == &s) names.push_back(s.name);
                    return Source(std::make_unique<SetListSource>(fw, std::move(names)));
                },
            .effect = Effect::read,
            .columns = {{"SET", {"set"}}, {"ENTRY", {"entry"}}, number("TIMEOUT", "timeout_s")}};
}

}  // namespace postern
