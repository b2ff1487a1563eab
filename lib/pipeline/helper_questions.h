// SPDX-License-Identifier: BSD-3-Clause
// HelperQuestions: one worker's questions to helpers' processes.
//
// What: puts the messages of one packet at a time into the ring of questions, and stores which
// processes are connected, and which were late.
// Used by: Helping only (userspace.cc). Synchronisation: none except its two rings. Cost: a turn
// without questions reads one line of the ring of answers.
#pragma once

#include <array>
#include <cstdint>

#include "base/types.h"
#include "net/addr.h"
#include "userspace/link.h"

namespace postern {

class HelperQuestions {
  public:
    HelperQuestions(UserspaceLink& link, WorkerId worker);

    /// Whether the helper's parser is another process.
    bool serves(HelperId helper) const noexcept { return settings_[helper] != nullptr; }
    const UserspaceHelper& settings(HelperId helper) const noexcept { return *settings_[helper]; }

    /// Whether a question makes sense; if not, and `bypass` is set, the packet passes at once.
    bool present(HelperId helper) const noexcept { return link_.connected(helper); }
    bool served() const noexcept { return link_.served(); }
    /// Its last question was not answered in time. Until it sends something again, traffic with
    /// `bypass` does not wait.
    bool late(HelperId helper) const noexcept { return (late_ >> helper & 1) != 0; }
    void set_late(HelperId helper, bool on) noexcept {
        const std::uint64_t b = std::uint64_t{1} << helper;
        late_ = on ? late_ | b : late_ & ~b;
    }
    /// Refreshes which processes are connected, once a turn. A process that has connected or
    /// disconnected no longer counts as late.
    void refresh_peers() noexcept {
        const std::uint64_t now = link_.connected();
        late_ &= ~(now ^ there_);
        there_ = now;
    }

    // --- one packet's questions ---
    enum class Mode : std::uint8_t {
        pass_by,  ///< the messages have been answered, or need no question
        ask
    };
    struct Asking {
        Mode mode = Mode::pass_by;
        HelperId helper = kNoHelper;
        ConnId conn;
        CtZone ct_zone;
        const Tuple* original = nullptr;
        const std::uint8_t* state = nullptr;
        Tick deadline;
        // The result:
        std::uint32_t messages = 0;  ///< messages of the packet
        std::uint32_t asked = 0;     ///< of these, questions sent
        bool too_long = false;       ///< at least one of the others is too long
    };
    Asking& asking() noexcept { return asking_; }
    /// Adds one message of it. Numbers of a packet's questions are consecutive.
    void message(Direction direction, Bytes bytes) noexcept;
    std::uint32_t next_number() const noexcept { return number_; }
    /// False: the ring is full.
    bool report_ended(HelperId helper, ConnId conn, CtZone ct_zone, const Tuple& original,
                      const std::uint8_t* state) noexcept;
    auto& answers() noexcept { return rings_.answers; }

  private:
    UserspaceLink& link_;
    UserspaceLink::WorkerRings& rings_;
    std::array<const UserspaceHelper*, kMaxHelpers> settings_{};
    std::uint32_t number_ = 1;
    std::uint64_t late_ = 0;
    std::uint64_t there_ = 0;  ///< processes connected in the last turn
    Asking asking_;
};

}  // namespace postern
