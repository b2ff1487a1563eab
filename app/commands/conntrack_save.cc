// SPDX-License-Identifier: BSD-3-Clause
// `conntrack save`: connections and expectations as records for `conntrack restore`.
#include <deque>

#include "commands/context.h"
#include "control_reader.h"
#include "state/json_record.h"
#include "state_file.h"

namespace postern {
namespace {

/// All of them as records, and their expectations: a file of connections, line by line.
class SaveSource : public RowSource {
  public:
    SaveSource(Firewall& fw, std::shared_ptr<QueryOwners> owners, std::function<Tick()> now)
        : fw_(fw),
          queries_(fw, std::move(owners), ConnQuery::Action::save, {}),
          now_(std::move(now)) {}

    Pull next(Json& row) override {
        switch (step_) {
            case Step::head: {
                using namespace std::chrono;
                const auto wall = system_clock::now().time_since_epoch();
                row["postern_state"] = {{"version", kStateVersion},
                                        {"saved_ms", duration_cast<milliseconds>(wall).count()}};
                step_ = Step::connections;
                return Pull::row;
            }
            case Step::connections: {
                const Pull pull = queries_.next(found_);
                if (pull == Pull::done) step_ = Step::expectations;
                if (pull != Pull::row) return Pull::pending;
                ++connections_;
                if (found_.helper.there && found_.helper.cut) ++cut_;
                row = connection_record(fw_.plan(), fw_.helpers(), queries_.worker(), found_);
                return Pull::row;
            }
            case Step::expectations:
                if (expected_.empty() && more_) {
                    Online online(fw_);
                    more_ = fw_.expectations().walk(
                        cursor_, 1024, [this](const ExpectInfo& e) { expected_.push_back(e); });
                }
                if (expected_.empty() && more_) return Pull::pending;
                if (!expected_.empty()) {
                    ++expectations_;
                    row = expectation_record(fw_.plan(), expected_.front(), now_());
                    expected_.pop_front();
                    return Pull::row;
                }
                row["end"] = {
                    {"connections", connections_}, {"expectations", expectations_}, {"cut", cut_}};
                step_ = Step::done;
                return Pull::row;
            case Step::done: break;
        }
        return Pull::done;
    }

  private:
    enum class Step {
        head,
        connections,
        expectations,
        done
    };
    Firewall& fw_;
    ConnQueries queries_;
    std::function<Tick()> now_;
    Step step_ = Step::head;
    ConnQuery::Row found_;
    std::deque<ExpectInfo> expected_;
    std::uint32_t cursor_ = 0;
    bool more_ = true;
    std::uint64_t connections_ = 0, expectations_ = 0;
    std::uint64_t cut_ = 0;  ///< connections with missing bytes of a control stream
};

}  // namespace

Command command_conntrack_save(const CommandContext& context) {
    return {.name = "conntrack save",
            .help = "Write connections and expectations into a file for conntrack restore",
            .args = {},
            .handler =
                [&fw = context.fw, owners = context.query_owners, now = context.now](const Json&) {
                    return Source(std::make_unique<SaveSource>(fw, owners, now));
                },
            // Records contain the buffered bytes of incomplete messages: payload.
            .effect = Effect::write,
            .file = FileUse::write};
}

}  // namespace postern
