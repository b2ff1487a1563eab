// SPDX-License-Identifier: BSD-3-Clause
// `conntrack save`: connections and expectations for `conntrack restore`.
//
// In the binary form each row is {"saved": N, "block": BASE64}: the next bytes of the file, and the
// number of connections so far. In the JSON form each row is a line of the file. The last row of
// both is {"end": {…}} with the totals.
#include <deque>
#include <unordered_set>

#include "base/base64.h"
#include "commands/context.h"
#include "control_reader.h"
#include "save_stream.h"
#include "state/id_text.h"
#include "state/json_record.h"

namespace postern {
namespace {

/// People who want to read a file ask for the other one.
constexpr const char* kDefaultForm = "binary";

Json totals_json(const StateTotals& t) {
    return {{"connections", t.connections},
            {"expectations", t.expectations},
            {"cut", t.cut},
            {"filtered", t.filtered},
            {"zone_gone", t.zone_gone},
            {"expectations_filtered", t.expectations_filtered},
            {"expectations_gone", t.expectations_gone}};
}

class BinarySource : public RowSource {
  public:
    BinarySource(Firewall& fw, std::shared_ptr<QueryOwners> owners, const ConnFilter& filter,
                 bool all, std::function<Tick()> now)
        : stream_(fw, std::move(owners), filter, all, std::move(now)) {}

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        for (unsigned n = 0; bytes_.empty() && !done_; ++n) {
            const Pull pull = n < kSteps ? stream_.step(bytes_, kRecords) : Pull::pending;
            if (pull == Pull::pending) return Pull::pending;
            done_ = pull == Pull::done;
        }
        if (bytes_.empty()) {
            row["end"] = totals_json(stream_.totals());
            said_ = true;
            return Pull::row;
        }
        row["saved"] = stream_.totals().connections;
        std::string text;
        append_base64(text, bytes_);
        row["block"] = std::move(text);
        bytes_.clear();
        return Pull::row;
    }

  private:
    // A step takes some hundred microseconds; other clients wait meanwhile.
    static constexpr std::uint32_t kRecords = 256;
    static constexpr unsigned kSteps = 8;

    SaveStream stream_;
    std::string bytes_;
    bool done_ = false;  ///< all bytes are there
    bool said_ = false;  ///< the end, too
};

class LinesSource : public RowSource {
  public:
    LinesSource(Firewall& fw, std::shared_ptr<QueryOwners> owners, const ConnFilter& filter,
                bool all, std::function<Tick()> now)
        : fw_(fw),
          queries_(fw, std::move(owners), ConnQuery::Action::save, filter),
          all_(all),
          now_(std::move(now)) {}

    Pull next(Json& row) override {
        switch (step_) {
            case Step::head: {
                const StateHeader header = header_now(fw_.plan(), fw_.helpers());
                row["postern_state"] = {{"version", 1},
                                        {"saved_ms", header.saved_ms},
                                        {"boot_ms", header.boot_ms},
                                        {"boot_id", header.boot_id},
                                        {"host", header.host},
                                        {"plan_digest", header.plan_digest}};
                step_ = Step::connections;
                return Pull::row;
            }
            case Step::connections: return next_connection(row);
            case Step::expectations: return next_expectation(row);
            case Step::done: break;
        }
        return Pull::done;
    }

  private:
    Pull next_connection(Json& row) {
        const Pull pull = queries_.next(found_);
        if (pull == Pull::done) {
            totals_.filtered = queries_.passed_over();
            step_ = Step::expectations;
        }
        if (pull != Pull::row) return Pull::pending;
        if (found_.has_helper) queries_.take_helper(image_);
        ++totals_.connections;
        if (found_.has_helper && image_.cut) ++totals_.cut;
        const ConnId id{found_.slot, found_.conn.generation, queries_.worker()};
        if (!all_ && found_.has_helper) masters_.insert(id_text(id));
        row = connection_record(fw_.plan(), fw_.helpers(), id, found_.conn,
                                found_.has_helper ? &image_ : nullptr, found_.now);
        return Pull::row;
    }
    Pull next_expectation(Json& row) {
        if (expected_.empty() && more_) {
            const Online online(fw_);
            more_ = fw_.expectations().walk(
                cursor_, 1024, [this](const ExpectInfo& e) { expected_.push_back(e); });
        }
        while (!expected_.empty()) {
            const ExpectInfo e = expected_.front();
            expected_.pop_front();
            if (!all_ && (!e.master || !masters_.contains(id_text(e.master)))) {
                ++totals_.expectations_filtered;
                continue;
            }
            ++totals_.expectations;
            row = expectation_record(fw_.plan(), e, now_());
            return Pull::row;
        }
        if (more_) return Pull::pending;
        row["end"] = totals_json(totals_);
        step_ = Step::done;
        return Pull::row;
    }

    enum class Step {
        head,
        connections,
        expectations,
        done
    };
    Firewall& fw_;
    ConnQueries queries_;
    bool all_;
    std::function<Tick()> now_;
    Step step_ = Step::head;
    ConnQuery::Row found_;
    HelperImage image_;
    std::unordered_set<std::string> masters_;  ///< with conditions: helped ones that were saved
    std::deque<ExpectInfo> expected_;
    std::uint32_t cursor_ = 0;
    bool more_ = true;
    StateTotals totals_;
};

}  // namespace

Command command_conntrack_save(const CommandContext& context) {
    std::vector<ArgSpec> specs = connection_conditions(plan_of(context));
    specs.push_back({"form",
                     ArgType::string,
                     false,
                     "of the file: binary (the default), or json for people",
                     {"binary", "json"}});
    return {.name = "conntrack save",
            .help = "Write connections and expectations into a file for conntrack restore",
            .args = std::move(specs),
            .handler =
                [&fw = context.fw, owners = context.query_owners, now = context.now](Json args) {
                    const std::string form = args.value("form", kDefaultForm);
                    if (form != "binary" && form != "json")
                        return Source(Error{"form: expected binary or json"});
                    args.erase("form");
                    auto filter = read_connection_filter(fw.plan(), args);
                    if (!filter) return Source(filter.error());
                    const bool all = args.empty();
                    if (form == "json")
                        return Source(std::make_unique<LinesSource>(fw, owners, *filter, all, now));
                    return Source(std::make_unique<BinarySource>(fw, owners, *filter, all, now));
                },
            // Records contain the buffered bytes of incomplete messages: payload.
            .effect = Effect::write,
            .file = FileUse::write};
}

}  // namespace postern
