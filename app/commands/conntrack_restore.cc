// SPDX-License-Identifier: BSD-3-Clause
// `conntrack restore`: puts back what `conntrack save` wrote, while packets go on. The client sends
// the bytes of a file in several requests, in their order. The first one begins a session, whose
// number the others name; the last one is answered with the summary.
#include <chrono>
#include <map>

#include "base/base64.h"
#include "commands/context.h"
#include "file_restorer.h"

namespace postern {
namespace {

using Clock = std::chrono::steady_clock;

struct Session {
    Session(Firewall& fw, std::shared_ptr<WorkerRequests> rings, const std::function<Tick()>& now)
        : requests(std::move(rings)), file(fw, *requests, now) {}

    std::shared_ptr<WorkerRequests> requests;
    FileRestorer file;
    Clock::time_point used = Clock::now();
    bool busy = false;  ///< a request of it is being answered
};

/// The files that are being restored. A client that vanishes leaves its session behind, which ends
/// after some time without a request.
class Sessions {
  public:
    static constexpr std::size_t kMost = 4;
    static constexpr std::chrono::seconds kIdle{10};

    /// 0: too many.
    std::uint64_t open(std::shared_ptr<Session> session) {
        std::erase_if(all_, [](const auto& entry) {
            return !entry.second->busy && Clock::now() - entry.second->used > kIdle;
        });
        if (all_.size() >= kMost) return 0;
        all_.emplace(++last_, std::move(session));
        return last_;
    }
    std::shared_ptr<Session> find(std::uint64_t id) const {
        const auto it = all_.find(id);
        return it == all_.end() ? nullptr : it->second;
    }
    void close(std::uint64_t id) { all_.erase(id); }

  private:
    std::map<std::uint64_t, std::shared_ptr<Session>> all_;
    std::uint64_t last_ = 0;
};

/// One request: reads its records as fast as the workers take them.
class RestoreSource : public RowSource {
  public:
    struct Shared {
        Firewall& fw;
        std::shared_ptr<Sessions> sessions;
        std::shared_ptr<RestoreSummary> totals;
    };
    RestoreSource(Shared shared, std::uint64_t id, std::shared_ptr<Session> session, bool last)
        : shared_(std::move(shared)), id_(id), session_(std::move(session)), last_(last) {
        session_->busy = true;
    }
    ~RestoreSource() override {
        session_->busy = false;
        session_->used = Clock::now();
        if (last_) shared_.sessions->close(id_);
    }
    RestoreSource(const RestoreSource&) = delete;
    RestoreSource& operator=(const RestoreSource&) = delete;

    Pull next(Json& row) override {
        if (said_) return Pull::done;
        FileRestorer& file = session_->file;
        switch (file.step()) {
            case FileRestorer::Step::busy: return Pull::pending;
            case FileRestorer::Step::hungry: row["session"] = id_; break;
            case FileRestorer::Step::done:
                // Before the last request, too: the rest of a file that is none is not read.
                if (!last_) {
                    row["session"] = id_;
                    break;
                }
                fill(row);
        }
        said_ = true;
        return Pull::row;
    }

  private:
    void fill(Json& row) {
        const FileRestorer& file = session_->file;
        const RestoreSummary summary = file.summary();
        *shared_.totals += summary;
        row["restored"] = summary.restored;
        row["records"] = summary.records;
        row["connections"] = summary.connections;
        row["expectations"] = summary.expectations;
        row["unusable"] = summary.unusable;
        row["bad_records"] = file.bad_records();
        row["elapsed_ms"] = file.elapsed_ms();
        if (!file.problem().empty()) row["problem"] = file.problem();
    }

    Shared shared_;
    std::uint64_t id_;
    std::shared_ptr<Session> session_;
    bool last_;
    bool said_ = false;
};

}  // namespace

Command command_conntrack_restore(const CommandContext& context) {
    const RestoreSource::Shared shared{context.fw, std::make_shared<Sessions>(), context.restored};
    return {.name = "conntrack restore",
            .help = "Restore the connections and expectations that conntrack save wrote",
            .args = {{"data", ArgType::string, true, "some bytes of the file, as base64"},
                     {"session", ArgType::integer, false,
                      "the number that the first bytes of the file got"},
                     {"last", ArgType::boolean, false, "no more bytes follow"}},
            .handler =
                [shared, requests = context.requests, now = context.now](const Json& args) {
                    Args a(shared.fw.plan(), args);
                    auto id = a.uint("session", UINT32_MAX);
                    if (!a.problem.empty()) return Source(Error{a.problem});
                    std::string bytes;
                    if (!append_from_base64(bytes, args["data"].get_ref<const std::string&>()))
                        return Source(Error{"data: expected base64"});
                    std::shared_ptr<Session> session;
                    if (id) {
                        session = shared.sessions->find(*id);
                        if (!session) return Source(Error{"session: there is none of this number"});
                        if (session->busy) return Source(Error{"session: it is being used"});
                    } else {
                        session = std::make_shared<Session>(shared.fw, requests, now);
                        id = shared.sessions->open(session);
                        if (*id == 0) return Source(Error{"too many files are being restored"});
                    }
                    session->file.feed(bytes);
                    const bool last = a.flag("last");
                    if (last) session->file.feed_end();
                    return Source(
                        std::make_unique<RestoreSource>(shared, *id, std::move(session), last));
                },
            .effect = Effect::write,
            .columns = {{"RESTORED", {"restored"}}, {"RECORDS", {"records"}}},
            .file = FileUse::read};
}

}  // namespace postern
