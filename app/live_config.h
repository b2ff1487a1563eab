// SPDX-License-Identifier: BSD-3-Clause
// LiveConfig: the configuration in force, and how another one takes its place while packets flow.
//
// A load is atomic: all of it or nothing, and each packet is judged by one plan. Connections,
// expectations and helpers' streams stay. What cannot change without a restart is refused by name.
// A load may have to be confirmed in time; otherwise the last confirmed configuration comes back
// by itself, also if the process ends meanwhile.
//
// The file of the start always holds what the next start is to run: a confirmed load from another
// file is copied there.
//
// Used by the daemon's commands, and by its loop for SIGHUP and the time limit. Control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/differences.h"
#include "config/spec.h"
#include "config_history.h"
#include "firewall.h"

namespace postern {

class LiveConfig {
  public:
    using Clock = std::chrono::steady_clock;

    /// A configuration and where it was read from.
    struct Source {
        Spec spec;
        std::string path;
        std::string text;
        std::vector<std::string> warnings;  ///< of the loader, with their places
    };
    struct Change {
        unsigned number = 0;  ///< in the history
        std::vector<Difference> differences;
        std::vector<std::string> warnings;
    };

    /// `fw` runs `start`.
    LiveConfig(Firewall& fw, Source start, ConfigHistory history);

    /// Reads a regular file. An error has a line for each mistake.
    static Result<Source> read(const std::string& path);

    /// The differences that a load would make. An error: it would be refused, and why.
    Result<Change> check(const std::string& path);
    /// The differences to the one in force, also if it could not be loaded.
    Result<std::vector<Difference>> diff(const std::string& path) const;
    /// `confirm_within`: it goes back unless confirm() is called in this time. `by`: for the log.
    Result<Change> load(const std::string& path, const std::string& by,
                        std::optional<std::chrono::seconds> confirm_within = std::nullopt);
    /// Loads the file of the start again.
    Result<Change> reload(const std::string& by) { return load(start_path_, by); }
    /// Back to a configuration of the history; none: the last confirmed one before this.
    Result<Change> rollback(std::optional<unsigned> number, const std::string& by);
    Result<void> confirm(const std::string& by);
    /// Goes back if the time for a confirmation is over. Call regularly.
    void turn(Clock::time_point now = Clock::now());

    const ConfigHistory& history() const noexcept { return history_; }
    /// The time left for a confirmation; nothing: none is awaited.
    std::optional<std::chrono::seconds> awaits(Clock::time_point now = Clock::now()) const;

  private:
    Result<Change> compare(const Source& next) const;
    void follow_schedules();
    /// Puts `next` into force and into the history.
    Result<Change> adopt(Source next, const std::string& by, bool confirmed);
    Result<void> write_start_file();

    Firewall& fw_;
    Source now_;
    ConfigHistory history_;
    std::string start_path_;
    std::string confirmed_;  ///< the last confirmed text
    std::optional<Clock::time_point> confirm_by_;
    bool schedule_failed_ = false;
};

}  // namespace postern
