// SPDX-License-Identifier: BSD-3-Clause
// UserspaceDesk: one worker's part in asking helper processes: questions out, and the packets that
// wait for an answer.
//
// What: a packet that completes a message of a helper in another process waits, unread as far as
// its stream is concerned, until the answer has come; so its expectations are filed before it
// leaves, as with any helper. Packets of the same connection that carry payload wait behind it, in
// order; all others go on. Nobody else waits, and the worker never does. Who calls: Worker only
// (userspace.cc); the desk keeps the books, the worker moves the packets. Life-cycle: memory is
// taken by the constructor. A connection that ends takes its packets with it. Synchronisation: none
// but the two rings of its lane. Cost: nothing for connections of other helpers. A turn with
// nothing waiting reads one line of the ring of answers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/drop_reason.h"
#include "base/types.h"
#include "net/packet.h"
#include "userspace/counters.h"
#include "userspace/link.h"

struct rte_mbuf;

namespace postern {

class UserspaceDesk {
  public:
    struct Held {
        rte_mbuf* packet = nullptr;
        PacketInfo info;
        std::uint32_t next = 0;
    };
    /// What a helped connection waits for.
    struct Waiting {
        std::uint32_t first = 0, last = 0;  ///< packets, oldest first; 0 = none
        std::uint32_t next = 0, end = 0;    ///< answers to come to the first packet: their numbers
        std::uint32_t place = 0;            ///< among those that wait for an answer, plus 1
        Tick deadline;
        bool ready = false;     ///< is on the list of those to be gone on with
        bool asked = false;     ///< the first packet's question is out, its answer not in
        bool decided = false;   ///< the first packet's fate is known
        bool consumed = false;  ///< its stream has read the first packet already
        DropReason fate = DropReason::none;  ///< none: it passes
    };

    /// `slots`: helper slots of the worker's engine.
    UserspaceDesk(UserspaceLink& link, WorkerId worker, std::uint32_t slots);

    bool serves(HelperId helper) const noexcept { return settings_[helper] != nullptr; }
    const UserspaceHelper& settings(HelperId helper) const noexcept { return *settings_[helper]; }
    Waiting& waiting(std::uint32_t slot) noexcept { return waiting_[slot]; }
    UserspaceLink::Lane& lane() noexcept { return lane_; }

    /// Whether asking makes sense; if not, and its traffic may bypass it, it passes at once.
    bool present(HelperId helper) const noexcept { return link_.connected(helper); }
    bool served() const noexcept { return link_.served(); }
    /// Its last question was not answered in time. Until something comes from it, traffic that may
    /// bypass it does not wait.
    bool late(HelperId helper) const noexcept { return (late_ >> helper & 1) != 0; }
    void set_late(HelperId helper, bool on) noexcept {
        const std::uint64_t b = std::uint64_t{1} << helper;
        late_ = on ? late_ | b : late_ & ~b;
    }

    /// Once a turn: a process that has come or gone is not late.
    void look_who_is_there() noexcept {
        const std::uint64_t now = link_.connected();
        late_ &= ~(now ^ there_);
        there_ = now;
    }

    // --- one packet's questions ---
    enum class Mode : std::uint8_t {
        pass_by,  ///< the messages have been answered, or shall not be asked about
        ask
    };
    struct Asking {
        Mode mode = Mode::pass_by;
        HelperId helper = kNoHelper;
        ConnId conn;
        CtZone zone = 0;
        const Tuple* original = nullptr;
        const std::uint8_t* state = nullptr;
        Tick deadline;
        // What came of it:
        std::uint32_t messages = 0;  ///< that there were
        std::uint32_t asked = 0;     ///< of these, questions put
        bool too_long = false;       ///< of the others, at least one
    };
    Asking& asking() noexcept { return asking_; }
    /// One message of it. Numbers of a packet's questions follow each other.
    void message(Direction direction, Bytes bytes) noexcept;
    std::uint32_t next_number() const noexcept { return number_; }
    /// False: the ring is full.
    bool tell_ended(HelperId helper, ConnId conn, CtZone zone, const Tuple& original,
                    const std::uint8_t* state) noexcept;

    // --- packets that wait ---
    bool has_room(HelperId helper) const noexcept {
        return free_ != 0 && held_by_[helper] < settings_[helper]->queue;
    }
    /// There is room. `front`: before all others of its connection.
    void hold(std::uint32_t slot, HelperId helper, rte_mbuf* packet, const PacketInfo& info,
              bool front) noexcept;
    /// Who said what the connection's oldest packet says.
    Direction direction(std::uint32_t slot) const noexcept {
        return pool_[waiting_[slot].first].info.dir;
    }
    /// The oldest packet of a connection that has one; its entry may be reused now.
    Held take(std::uint32_t slot, HelperId helper) noexcept;
    std::uint32_t held() const noexcept { return held_; }

    // --- connections whose first packet waits for an answer ---
    void await(std::uint32_t slot, Tick deadline) noexcept;
    void stop_awaiting(std::uint32_t slot) noexcept;
    /// Some slot's time may be over, or its process gone: f(slot) for all that wait; it may stop
    /// their waiting.
    template <class F>
    void look_through(F&& f) noexcept {
        for (std::size_t i = awaiting_.size(); i != 0; --i)
            f(awaiting_[i - 1]);
    }
    bool awaits() const noexcept { return !awaiting_.empty(); }

    // --- connections to be gone on with ---
    void make_ready(std::uint32_t slot) noexcept;
    bool any_ready() const noexcept { return !ready_.empty(); }
    std::uint32_t next_ready() noexcept;
    void forget_ready(std::uint32_t slot) noexcept;

  private:
    UserspaceLink& link_;
    UserspaceLink::Lane& lane_;
    std::array<const UserspaceHelper*, kMaxHelpers> settings_{};
    std::array<std::uint32_t, kMaxHelpers> held_by_{};  ///< packets
    std::unique_ptr<Waiting[]> waiting_;                ///< by helper slot
    std::vector<Held> pool_;                            ///< [0] is none
    std::uint32_t free_ = 0;
    std::uint32_t held_ = 0;
    std::vector<std::uint32_t> awaiting_, ready_;  ///< slots; reserved for all
    std::uint32_t number_ = 1;
    std::uint64_t late_ = 0;
    std::uint64_t there_ = 0;  ///< who was connected in the last turn
    Asking asking_;
};

}  // namespace postern
