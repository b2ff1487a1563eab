// SPDX-License-Identifier: BSD-3-Clause
// StateSaver: saves the state of a running firewall into a file, again and again, in bounded steps
// of control's thread. The file is always a complete one: the former until the new one is on the
// disk.
//
// Cost: control a fraction of a millisecond a step; workers as `conntrack list`. A thread of its
// own waits for the disk at the end of a save, on control's processor.
#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "save_stream.h"
#include "state/file.h"

namespace postern {

class StateSaver {
  public:
    enum class Step : std::uint8_t {
        idle,     ///< no save is in progress
        working,  ///< call step() again at once
        waiting,  ///< a worker or the disk has not answered: call step() again in a moment
        saved,    ///< the file is complete; see totals()
        failed    ///< see error(); the former file is unchanged
    };

    StateSaver(Firewall& fw, std::shared_ptr<QueryOwners> owners, std::function<Tick()> now,
               std::string path);

    /// Begins a save; nothing if one is in progress.
    void begin();
    /// Ends a save in progress; the former file stays. One that the disk is completing is
    /// completed.
    void cancel();
    bool in_progress() const noexcept { return stream_ != nullptr; }
    /// Does the next part of a save. `saved` and `failed` are returned once.
    Step step();

    const std::string& path() const noexcept { return path_; }
    /// Of the last save that succeeded, and its duration.
    const StateTotals& totals() const noexcept { return totals_; }
    std::chrono::milliseconds duration() const noexcept { return duration_; }
    /// Of the last save that failed.
    const std::string& error() const noexcept { return error_; }

  private:
    using Clock = std::chrono::steady_clock;
    /// Of a step: a few hundred microseconds.
    static constexpr std::uint32_t kRecordsAStep = 512;

    Step fail(std::string why);
    Step finish();

    Firewall& fw_;
    std::shared_ptr<QueryOwners> owners_;
    std::function<Tick()> now_;
    std::string path_;
    std::unique_ptr<SaveStream> stream_;  ///< none: no save is in progress
    std::optional<StateFileWriter> file_;
    std::future<Result<void>> committed_;  ///< valid: the disk is completing `file_`
    Clock::time_point begun_;
    std::string bytes_;
    StateTotals totals_;
    std::chrono::milliseconds duration_{0};
    std::string error_;
};

}  // namespace postern
