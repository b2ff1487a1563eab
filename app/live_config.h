// SPDX-License-Identifier: BSD-3-Clause
// LiveConfig: the configuration in force, and how another one takes its place while packets flow.
//
// A load is atomic: all of it or nothing, and each packet is judged by one plan. Connections,
// expectations and helpers' streams stay. What cannot change without a restart is refused by name.
// A load may have to be confirmed in time; otherwise the last confirmed configuration comes back
// by itself, also if the process ends meanwhile.
//
// A request is read and compiled on a thread of its own (ConfigBuild), one at a time: a further one
// meanwhile is refused. turn() puts the result into force. A client that goes away before that
// takes its request with it.
//
// The file of the start always holds what the next start is to run: a confirmed load from another
// file is copied there.
//
// Used by the daemon's commands, and by its loop for SIGHUP and the time limit. Control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/differences.h"
#include "config_build.h"
#include "config_history.h"
#include "firewall.h"

namespace postern {

class RecordLog;

class LiveConfig {
  public:
    using Clock = std::chrono::steady_clock;
    using Source = ConfigSource;

    struct Change {
        unsigned number = 0;  ///< in the history; 0: nothing was put into force
        std::vector<Difference> differences;
        std::vector<std::string> warnings;
    };
    /// A request in progress. If its owner drops it before it is answered, nothing changes.
    struct Request {
        std::optional<Result<Change>> answer;
    };
    using Ticket = std::shared_ptr<const Request>;

    /// `fw` runs `start`. `log`: its outputs follow the configuration; null: nobody's do.
    LiveConfig(Firewall& fw, Source start, ConfigHistory history, RecordLog* log = nullptr);

    // An error of these: another request is in progress, or it is refused at once.

    /// The differences that a load would make. An error: it would be refused, and why.
    Result<Ticket> check(const std::string& path, const std::string& by);
    /// The differences to the one in force, also if it could not be loaded.
    Result<Ticket> diff(const std::string& path, const std::string& by);
    /// `confirm_within`: it goes back unless confirm() is called in this time. `by`: for the log.
    Result<Ticket> load(const std::string& path, const std::string& by,
                        std::optional<std::chrono::seconds> confirm_within = std::nullopt);
    /// Back to a configuration of the history; none: the last confirmed one before this.
    Result<Ticket> rollback(std::optional<unsigned> number, const std::string& by);

    /// Loads the file of the start again, now or after the present request; the log has the result.
    void reload(const std::string& by);
    Result<void> confirm(const std::string& by);
    /// Puts into force what has been compiled, and goes back if the time for a confirmation is
    /// over. Call regularly.
    void turn(Clock::time_point now = Clock::now());
    /// Whether a request is in progress.
    bool is_busy() const noexcept { return job_ != nullptr; }

    const ConfigHistory& history() const noexcept { return history_; }
    /// The time left for a confirmation; nothing: none is awaited.
    std::optional<std::chrono::seconds> awaits(Clock::time_point now = Clock::now()) const;

  private:
    enum class Kind : std::uint8_t {
        check,
        diff,
        load,
        rollback,
        reload,
        go_back
    };
    struct Job {
        Kind kind;
        std::string by;
        std::weak_ptr<Request> asked{};
        std::optional<std::chrono::seconds> confirm_within{};
        std::unique_ptr<ConfigBuild> build{};
        bool cancelled = false;

        /// Of the daemon's own wish: no client waits for the answer.
        bool is_own() const noexcept { return kind == Kind::reload || kind == Kind::go_back; }
        bool is_trial() const noexcept { return confirm_within.has_value(); }
        std::string name() const;
    };

    ConfigBuild::Order order(std::string path) const;
    Result<void> may_begin() const;
    Ticket begin(Job job, ConfigBuild::Order order);
    /// Its answer; nothing: it is being compiled once more.
    std::optional<Result<Change>> conclude(Clock::time_point now);
    /// Puts what was built into force, and into the history. Nothing: compile again.
    std::optional<Result<Change>> adopt(ConfigBuild::Built built, Clock::time_point now);
    void keep(const Job& job, Change& change);
    void follow_schedules();
    Result<void> write_start_file();

    Firewall& fw_;
    RecordLog* log_;
    // Their sets have no entries any more (release_set_entries): the sets themselves keep theirs.
    std::shared_ptr<Source> now_;
    std::shared_ptr<Source> confirmed_;  ///< the last confirmed one
    ConfigHistory history_;
    std::string start_name_;  ///< the file of the start, as it was named
    std::string start_path_;  ///< the same without links
    std::optional<Clock::time_point> confirm_by_;
    std::optional<std::string> reload_by_;  ///< who wants a reload after the present request
    std::unique_ptr<Job> job_;
    bool schedule_failed_ = false;
};

}  // namespace postern
