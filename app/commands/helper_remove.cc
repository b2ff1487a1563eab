// SPDX-License-Identifier: BSD-3-Clause
// `helper remove`.
#include "commands/context.h"
#include "control_reader.h"
#include "expect_conditions.h"

namespace postern {
namespace {

/// Notifies the workers, waits until all have finished, then ends remaining expectations of other
/// masters or operators in its name.
class RemoveHelperSource : public RowSource {
  public:
    RemoveHelperSource(Firewall& fw, HelperId id, std::function<Tick()> now)
        : fw_(fw), id_(id), now_(std::move(now)), detached_before_(detached()) {
        fw_.remove_helper(id);
    }

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        if (!fw_.is_removed(id_))
            throw Refusal("a configuration that was loaded meanwhile has brought the helper back");
        if (!fw_.is_gone(id_)) return Pull::pending;
        if (more_) {
            Online online(fw_);
            more_ = fw_.expectations().walk(cursor_, kObjectsAStep, [this](const ExpectInfo& e) {
                if (e.helper == id_ || e.child_helper == id_)
                    control_owner(fw_).remove(e.id, ExpectEnd::helper_removed, {now_()});
            });
            if (more_) return Pull::pending;
        }
        row["helper"] = fw_.plan().helpers[id_ - 1u].name;
        row["removed"] = true;
        row["connections_detached"] = detached() - detached_before_;
        said_ = true;
        return Pull::row;
    }

  private:
    std::uint64_t detached() const {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw_.workers(); ++w)
            n += fw_.worker(w).counters().helpers_detached.get();
        return n;
    }

    Firewall& fw_;
    HelperId id_;
    std::function<Tick()> now_;
    std::uint64_t detached_before_;
    std::uint32_t cursor_ = 0;
    bool more_ = true, said_ = false;
};

}  // namespace

Command command_helper_remove(const CommandContext& context) {
    return {.name = "helper remove",
            .help = "Take a helper out of service, under traffic, until the next start",
            .args = {{.name = "name",
                      .required = true,
                      .help = "its name in the configuration",
                      .positional = true,
                      .candidates = helper_names(plan_of(context))}},
            .handler =
                [&fw = context.fw, now = context.now](const Json& args) {
                    Args a(fw.plan(), args);
                    const auto id = a.helper("name");
                    if (!id) return Source(Error{a.problem});
                    return Source(std::make_unique<RemoveHelperSource>(fw, *id, now));
                },
            .effect = Effect::write,
            .columns = {{"HELPER", {"helper"}},
                        {"REMOVED", {"removed"}},
                        number("CONNECTIONS_DETACHED", "connections_detached")}};
}

}  // namespace postern
