// SPDX-License-Identifier: BSD-3-Clause
// `conntrack restore`: recreates connections from records of `conntrack save`, each on its home
// worker, with their helpers' state, masters and pending expectations. The client sends some
// records a request, masters before their children; the map from old ids to new connections lasts
// from one request to the next.
#include <algorithm>
#include <optional>
#include <unordered_map>

#include "commands/context.h"
#include "control_reader.h"
#include "state/json_record.h"

namespace postern {
namespace {

using Clock = std::function<Tick()>;
struct IdHash {
    std::size_t operator()(ConnId id) const noexcept {
        return std::hash<std::uint64_t>()(std::uint64_t{id.index} << 32 |
                                          std::uint32_t{id.generation} << 8 | id.worker.number());
    }
};
using Ids = std::unordered_map<ConnId, ConnId, IdHash>;  ///< new ones, by old

const char* to_string(RestoreRequest::Outcome o) {
    constexpr const char* kNames[] = {"restored", "without_helper", "exists", "expired", "full"};
    return kNames[static_cast<unsigned>(o)];
}

class RestoreSource : public RowSource {
  public:
    struct Shared {
        std::shared_ptr<RequestSlots> expects, restores;
        std::shared_ptr<Ids> ids;
        Clock now;
    };
    RestoreSource(Firewall& fw, Json records, std::uint32_t elapsed_ms, Shared shared)
        : fw_(fw),
          records_(std::move(records)),
          elapsed_ms_(elapsed_ms),
          shared_(std::move(shared)) {}
    ~RestoreSource() override {
        shared_.expects->forget(this);
        shared_.restores->forget(this);
    }
    RestoreSource(const RestoreSource&) = delete;
    RestoreSource& operator=(const RestoreSource&) = delete;

    /// A row a record.
    Pull next(Json& row) override {
        if (at_ == records_.size()) return Pull::done;
        std::string outcome;
        // Its numbers may mean other names in another plan.
        if (read_ && !sent_ && version_ != fw_.plan().version) {
            read_.reset();
            asked_ = false;
        }
        if (!read_) {
            version_ = fw_.plan().version;
            auto record = read_record(fw_.plan(), fw_.helpers(), records_[at_]);
            if (record)
                read_ = std::move(*record);
            else
                outcome = record.error().message;
        }
        if (read_) {
            auto* const connection = std::get_if<SavedConnection>(&*read_);
            outcome = connection != nullptr ? restore(*connection)
                                            : restore(std::get<SavedExpectation>(*read_));
        }
        if (outcome.empty()) return Pull::pending;
        row["outcome"] = outcome;
        row["good"] = good_;
        good_ = false;
        asked_ = sent_ = false;
        read_.reset();
        ++at_;
        return Pull::row;
    }

  private:
    /// The result; empty while the worker has not answered.
    std::string restore(SavedConnection& saved) {
        if (!asked_) {
            worker_ = home_of(fw_.steering(), saved.image.conn);
            if (const auto master = shared_.ids->find(saved.master); master != shared_.ids->end())
                saved.image.conn.master = master->second;
            asked_ = true;
        }
        RestoreRequest& m = fw_.worker(worker_).requests().restore();
        if (!shared_.restores->answered(this, worker_, m, [this, &saved](RestoreRequest& request) {
                sent_ = true;
                request.image = saved.image;
                const std::uint64_t idle = std::uint64_t{saved.idle_ms} + elapsed_ms_;
                request.idle_ms =
                    static_cast<std::uint32_t>(std::min<std::uint64_t>(idle, INT32_MAX));
                request.age_ms = saved.age_ms + elapsed_ms_;
            }))
            return {};
        const auto outcome = m.outcome;
        const ConnId id = m.id;
        shared_.restores->take(worker_, m);
        using enum RestoreRequest::Outcome;
        good_ = outcome == restored || outcome == without_helper;
        if (good_) (*shared_.ids)[saved.id] = id;
        return good_ && saved.forgets ? to_string(without_helper) : to_string(outcome);
    }

    std::string restore(SavedExpectation& saved) {
        if (!asked_) {
            ExpectRequest& r = saved.request;
            if (r.timeout_ms <= elapsed_ms_) return "expired";
            r.timeout_ms -= elapsed_ms_;
            if (!saved.master) {
                Online online(fw_);
                return outcome_of(control_owner(fw_).insert(r, nullptr, {shared_.now()}).outcome);
            }
            const auto master = shared_.ids->find(saved.master);
            if (master == shared_.ids->end()) return "master_gone";
            master_ = master->second;
            asked_ = true;
        }
        CreateExpectRequest& m = fw_.worker(master_.worker).requests().expect();
        if (!shared_.expects->answered(this, master_.worker, m,
                                       [this, &saved](CreateExpectRequest& request) {
                                           sent_ = true;
                                           request.master = master_;
                                           request.request = saved.request;
                                       }))
            return {};
        const auto outcome = m.found ? m.result.outcome : InsertOutcome::master_gone;
        shared_.expects->take(master_.worker, m);
        return outcome_of(outcome);
    }
    std::string outcome_of(InsertOutcome outcome) {
        good_ = ok(outcome);
        return std::string(good_ ? "restored" : postern::to_string(outcome));
    }

    Firewall& fw_;
    Json records_;
    std::uint32_t elapsed_ms_;
    Shared shared_;
    std::size_t at_ = 0;
    std::optional<SavedRecord> read_;  ///< the record at at_
    std::uint64_t version_ = 0;        ///< of the plan by which it was read
    bool asked_ = false;               ///< a request to its worker is pending
    bool sent_ = false;                ///< and has the request
    bool good_ = false;
    WorkerId worker_;
    ConnId master_;
};

}  // namespace

Command command_conntrack_restore(const CommandContext& context) {
    const RestoreSource::Shared shared{context.expects, context.restores, std::make_shared<Ids>(),
                                       context.now};
    return {.name = "conntrack restore",
            .help = "Restore the connections and expectations that conntrack save wrote",
            .args = {{"records", ArgType::string, true, "some of them, a JSON list as text"},
                     {"elapsed_ms", ArgType::integer, true, "time since they were saved"},
                     {"first", ArgType::boolean, false,
                      "earlier restored records are of another file"}},
            .handler =
                [&fw = context.fw, shared](const Json& args) {
                    Args a(fw.plan(), args);
                    const auto elapsed_ms = a.uint("elapsed_ms", INT32_MAX);
                    if (!a.problem.empty()) return Source(Error{a.problem});
                    Json records = Json::parse(args["records"].get<std::string>(), nullptr, false);
                    if (!records.is_array()) return Source(Error{"records: expected a JSON list"});
                    if (a.flag("first")) shared.ids->clear();
                    return Source(std::make_unique<RestoreSource>(fw, std::move(records),
                                                                  elapsed_ms.value_or(0), shared));
                },
            .effect = Effect::write,
            .columns = {{"OUTCOME", {"outcome"}}, {"GOOD", {"good"}}},
            .file = FileUse::read};
}

}  // namespace postern
