// SPDX-License-Identifier: BSD-3-Clause
#include "live_config.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/wall_clock.h"
#include "log/record_log.h"
#include "state/file.h"

namespace postern {
namespace {

constexpr std::size_t kMostLogged = 50;  ///< differences or warnings of one load
constexpr auto kTryAgain = std::chrono::seconds(10);
constexpr const char* kByTimer = "no confirmation in time";

/// Whether a file of this name could be replaced.
Result<void> can_replace(const std::string& path) {
    const std::string folder = std::filesystem::path(path).parent_path().string();
    if (::access(folder.empty() ? "." : folder.c_str(), W_OK) == 0) return {};
    return Error{path + ": the next start reads this file, and it cannot be replaced (" +
                 std::strerror(errno) + "), so nothing has changed"};
}

/// A link would be replaced by a file.
std::string real_path(const std::string& path) {
    std::error_code error;
    const auto real = std::filesystem::canonical(path, error);
    return error ? path : real.string();
}

bool same_file(const std::string& a, const std::string& b) {
    std::error_code ignored;
    return a == b || std::filesystem::equivalent(a, b, ignored);
}

bool same_outputs(const LogSpec& a, const LogSpec& b) {
    return a.file == b.file && a.syslog == b.syslog && a.journal == b.journal &&
           a.ipfix == b.ipfix && a.flows == b.flows;
}

}  // namespace

std::string LiveConfig::Job::name() const {
    constexpr const char* kNames[] = {"config check",    "config diff", "config load",
                                      "config rollback", "a reload",    "going back"};
    return std::string(kNames[static_cast<unsigned>(kind)]) + " by " + by;
}

LiveConfig::LiveConfig(Firewall& fw, Source start, ConfigHistory history, RecordLog* log)
    : fw_(fw),
      log_(log),
      now_(std::make_shared<Source>(std::move(start))),
      confirmed_(now_),
      history_(std::move(history)),
      start_name_(now_->path),
      start_path_(real_path(now_->path)) {
    release_set_entries(now_->spec.sets);
    // What a former process left unconfirmed is decided by now. The file may still have it, for the
    // start after this one.
    auto cleared = history_.has_unconfirmed() ? write_start_file() : Result<void>();
    const auto& entries = history_.entries();
    if (cleared && (entries.empty() || entries.back().text != now_->text))
        cleared = history_.add({0, wall_ms(), "start", now_->path, true, now_->text});
    if (!cleared) spdlog::warn("{}", cleared.error().message);
}

// --- requests ----------------------------------------------------------------------------------

ConfigBuild::Order LiveConfig::order(std::string path) const {
    ConfigBuild::Order out;
    out.path = std::move(path);
    out.now = now_;
    out.start_path = start_name_;
    return out;
}

Result<void> LiveConfig::may_begin() const {
    if (!job_) return {};
    return Error{"another request is in progress: " + job_->name() +
                 (job_->cancelled ? ", which was cancelled" : "") + "; try again when it is done"};
}

LiveConfig::Ticket LiveConfig::begin(Job job, ConfigBuild::Order order) {
    auto asked = std::make_shared<Request>();
    job.asked = asked;
    job_ = std::make_unique<Job>(std::move(job));
    job_->build = std::make_unique<ConfigBuild>(std::move(order));
    return asked;
}

Result<LiveConfig::Ticket> LiveConfig::check(const std::string& path, const std::string& by) {
    if (auto may = may_begin(); !may) return may.error();
    ConfigBuild::Order wanted = order(path);
    wanted.basis = fw_.plan_basis();
    return begin({Kind::check, by}, std::move(wanted));
}

Result<LiveConfig::Ticket> LiveConfig::diff(const std::string& path, const std::string& by) {
    if (auto may = may_begin(); !may) return may.error();
    return begin({Kind::diff, by}, order(path));
}

Result<LiveConfig::Ticket> LiveConfig::load(const std::string& path, const std::string& by,
                                            std::optional<std::chrono::seconds> confirm_within) {
    if (auto may = may_begin(); !may) return may.error();
    const bool is_start_file = same_file(path, start_path_);
    if (is_start_file && confirm_within && !history_.is_on_disk())
        return Error{path +
                     ": the next start reads this file, so it would run what nobody has confirmed. "
                     "Load another file, or set control.history"};
    if (!is_start_file)
        if (auto can = can_replace(start_path_); !can) return can.error();
    ConfigBuild::Order wanted = order(path);
    wanted.basis = fw_.plan_basis();
    Job job{Kind::load, by};
    job.confirm_within = confirm_within;
    return begin(std::move(job), std::move(wanted));
}

Result<LiveConfig::Ticket> LiveConfig::rollback(std::optional<unsigned> number,
                                                const std::string& by) {
    if (auto may = may_begin(); !may) return may.error();
    const ConfigHistory::Entry* to = nullptr;
    if (number) {
        to = history_.find(*number);
        if (to == nullptr)
            return Error{"there is no configuration " + std::to_string(*number) +
                         " (config list shows them)"};
    } else {
        const auto& entries = history_.entries();
        for (auto e = entries.rbegin(); e != entries.rend() && to == nullptr; ++e)
            if (e != entries.rbegin() && e->confirmed && e->text != now_->text) to = &*e;
        if (to == nullptr) return Error{"there is no earlier configuration"};
    }
    ConfigBuild::Order wanted = order(to->file);
    wanted.text = to->text;
    wanted.basis = fw_.plan_basis();
    return begin({Kind::rollback, by}, std::move(wanted));
}

void LiveConfig::reload(const std::string& by) {
    if (job_) {
        reload_by_ = by;
        return;
    }
    // A reload confirms.
    if (const auto there = read_config_file(start_path_);
        confirm_by_ && there && there.value() == now_->text)
        return spdlog::warn("{}: {} is in force and waits for its confirmation; not loaded again",
                            by, start_name_);
    ConfigBuild::Order wanted = order(start_name_);
    wanted.basis = fw_.plan_basis();
    (void)begin({Kind::reload, by}, std::move(wanted));
}

Result<void> LiveConfig::confirm(const std::string& by) {
    if (job_ && job_->kind == Kind::go_back)
        return Error{"too late: the last confirmed configuration is coming back"};
    if (!confirm_by_) return Error{"no configuration waits for a confirmation"};
    if (auto written = write_start_file(); !written)
        return Error{written.error().message + "; so it is not confirmed"};
    confirmed_ = now_;
    confirm_by_.reset();
    fw_.forget_former_sets();
    spdlog::info("configuration {} is confirmed by {}", history_.entries().back().number, by);
    return history_.confirm_newest();
}

void LiveConfig::follow_schedules() {
    const auto changed = fw_.follow_schedules(now_->spec);
    if (!changed) {
        if (std::exchange(schedule_failed_, true)) return;  // once, and tried again
        return spdlog::error("schedule: {}", changed.error().message);
    }
    schedule_failed_ = false;
    std::size_t logged = 0;
    for (const std::size_t i : changed.value()) {
        const bool begins = fw_.plan().rule_lines[i].in_force;
        if (logged++ < kMostLogged)
            spdlog::info("schedule: rule {} {}", now_->spec.policy.rules[i].name,
                         begins ? "begins" : "ends");
    }
}

std::optional<std::chrono::seconds> LiveConfig::awaits(Clock::time_point now) const {
    if (!confirm_by_) return std::nullopt;
    return std::chrono::ceil<std::chrono::seconds>(
        std::max(*confirm_by_ - now, Clock::duration::zero()));
}

// --- results -----------------------------------------------------------------------------------

void LiveConfig::turn(Clock::time_point now) {
    follow_schedules();
    if (job_) {
        if (!job_->is_own() && job_->asked.expired() && !job_->cancelled) {
            job_->cancelled = true;
            job_->build->cancel();
        }
        if (!job_->build->is_done()) return;
        auto answer = conclude(now);
        if (!answer) return;
        if (auto asked = job_->asked.lock()) asked->answer = std::move(answer);
        job_.reset();
    }
    if (confirm_by_ && now >= *confirm_by_) {
        ConfigBuild::Order wanted = order({});
        wanted.source = confirmed_;
        wanted.basis = fw_.plan_basis();
        (void)begin({Kind::go_back, kByTimer}, std::move(wanted));
    } else if (reload_by_) {
        reload(*std::exchange(reload_by_, std::nullopt));
    }
}

std::optional<Result<LiveConfig::Change>> LiveConfig::conclude(Clock::time_point now) {
    Job& job = *job_;
    auto built = job.build->take();
    if (job.cancelled) {
        spdlog::info("{}: cancelled, for nobody waits for its answer any more", job.name());
        return Result<Change>(Change{});
    }
    std::optional<Result<Change>> answer;
    if (!built)
        answer = built.error();
    else if (job.kind == Kind::diff)
        answer = Change{0, std::move(built->differences), std::move(built->warnings)};
    else
        answer = adopt(std::move(*built), now);
    if (answer && !*answer && job.kind == Kind::reload)
        spdlog::error("SIGHUP: {}", answer->error().message);
    if (answer && !*answer && job.kind == Kind::go_back) {
        spdlog::error("going back: {}", answer->error().message);
        if (now_ != confirmed_) confirm_by_ = now + kTryAgain;
    }
    return answer;
}

std::optional<Result<LiveConfig::Change>> LiveConfig::adopt(ConfigBuild::Built built,
                                                            Clock::time_point now) {
    Job& job = *job_;
    const std::shared_ptr<Source> next = built.source;
    Change change{0, std::move(built.differences), std::move(built.warnings)};
    const bool other_outputs = log_ != nullptr && !same_outputs(now_->spec.log, next->spec.log);
    if (job.kind == Kind::check) {
        if (other_outputs)
            if (auto can = RecordLog::can_open(next->spec.log); !can)
                return Result<Change>(can.error());
        return Result<Change>(std::move(change));
    }
    std::optional<RecordLog::Outputs> outputs;
    if (other_outputs) {
        auto opened = log_->open(next->spec.log);
        if (!opened) return Result<Change>(opened.error());
        outputs = std::move(*opened);
    }
    const bool marks = job.is_trial() && same_file(next->path, start_path_);
    if (marks)
        if (auto marked = history_.mark_unconfirmed(next->text); !marked)
            return Result<Change>(marked.error());
    if (!fw_.publish_compiled(std::move(*built.plan), job.build->order().basis.value())) {
        ConfigBuild::Order again = order(next->path);
        again.source = next;
        again.basis = fw_.plan_basis();
        job.build = std::make_unique<ConfigBuild>(std::move(again));
        return std::nullopt;
    }
    if (outputs) log_->use(std::move(*outputs));
    release_set_entries(next->spec.sets);
    now_ = next;
    confirm_by_ = job.is_trial() ? std::optional(now + *job.confirm_within) : std::nullopt;
    keep(job, change);
    if (job.is_trial()) return Result<Change>(std::move(change));
    confirmed_ = now_;
    fw_.forget_former_sets();
    if (auto written = write_start_file(); !written)
        return Result<Change>(Error{
            "configuration " + std::to_string(change.number) +
            " is in force, but the next start would run another one: " + written.error().message});
    return Result<Change>(std::move(change));
}

/// In the history and in the log. What fails here is no reason to go back.
void LiveConfig::keep(const Job& job, Change& change) {
    change.number = history_.next_number();
    if (auto added = history_.add({0, wall_ms(), job.by, now_->path, !job.is_trial(), now_->text});
        !added)
        change.warnings.push_back("its text could not be kept for `config rollback`: " +
                                  added.error().message);
    spdlog::info("configuration {} is in force: {}, loaded by {}, {} differences{}", change.number,
                 now_->path, job.by, change.differences.size(),
                 job.is_trial() ? ", not confirmed yet" : "");
    for (std::size_t i = 0; i < change.differences.size() && i < kMostLogged; ++i)
        spdlog::info("  {} {}", to_string(change.differences[i].change),
                     change.differences[i].path);
    for (std::size_t i = 0; i < change.warnings.size() && i < kMostLogged; ++i)
        spdlog::warn("  {}", change.warnings[i]);
}

/// The next start runs the text in force.
Result<void> LiveConfig::write_start_file() {
    auto there = read_config_file(start_path_);
    if (!there || *there != now_->text) {
        struct stat st {};
        const bool known = ::stat(start_path_.c_str(), &st) == 0;
        auto file = StateFileWriter::beside(start_path_);
        if (!file) return file.error();
        file->write(now_->text);
        if (auto kept = file->commit(); !kept) return kept;
        // Its readers stay the same.
        if (known && (::chmod(start_path_.c_str(), st.st_mode & 07777) != 0 ||
                      ::chown(start_path_.c_str(), st.st_uid, st.st_gid) != 0))
            spdlog::warn("{}: its mode or owner could not be kept", start_path_);
    }
    return history_.clear_unconfirmed();
}

}  // namespace postern
