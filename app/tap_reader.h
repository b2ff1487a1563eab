// SPDX-License-Identifier: BSD-3-Clause
// TapReader: a capture or a trace as its command reads it: the records of all workers, in order of
// time as far as they have come.
//
// Used by: the commands `capture` and `trace`, control's thread only. Life-cycle: the tap runs
// until this is destroyed (its client is gone), or until its time is over.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "firewall.h"
#include "pipeline/tap.h"

namespace postern {

class TapReader {
  public:
    /// The Error: there are too many taps.
    static Result<std::unique_ptr<TapReader>> start(Firewall& fw, TapConfig config,
                                                    std::uint32_t seconds) {
        const auto until = TapStore::Clock::now() + std::chrono::seconds(seconds);
        auto tap = fw.taps().add(std::move(config), until);
        if (!tap) return tap.error();
        return std::unique_ptr<TapReader>(new TapReader(fw, std::move(*tap), until));
    }
    ~TapReader() { fw_.taps().remove(*tap_); }
    TapReader(const TapReader&) = delete;
    TapReader& operator=(const TapReader&) = delete;

    /// The oldest record, until drop_front(); null: none has come.
    const TapRecord* front() {
        const TapRecord* oldest = nullptr;
        for (unsigned w = 0; w < tap_->workers(); ++w) {
            const TapRecord* r = tap_->of(w).ring.front();
            if (r == nullptr || (oldest != nullptr && r->packet.tsc >= oldest->packet.tsc))
                continue;
            oldest = r;
            from_ = w;
        }
        return oldest;
    }
    void drop_front() { tap_->of(from_).ring.drop_front(); }
    /// Records that found no room since the last call.
    std::uint64_t newly_lost() {
        const std::uint64_t lost = tap_->lost();
        return lost - std::exchange(lost_, lost);
    }
    std::uint64_t lost() const { return tap_->lost(); }
    /// Its time has passed: no more records come, except those of a turn that has begun.
    bool is_over() const { return TapStore::Clock::now() >= until_; }

  private:
    TapReader(Firewall& fw, std::shared_ptr<Tap> tap, TapStore::Clock::time_point until)
        : fw_(fw), names_(fw), tap_(std::move(tap)), until_(until) {}

    Firewall& fw_;
    Firewall::NamesHold names_;  ///< records have numbers of rules, helpers, zones
    std::shared_ptr<Tap> tap_;
    TapStore::Clock::time_point until_;
    unsigned from_ = 0;
    std::uint64_t lost_ = 0;
};

}  // namespace postern
