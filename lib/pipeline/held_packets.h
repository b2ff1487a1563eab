// SPDX-License-Identifier: BSD-3-Clause
// HeldPackets: packets of one worker that wait for the answer of a helper's process.
//
// What: a packet that completes a message of a helper in another process waits, unread as far as
// its stream is concerned, until the answer has come; so its expectations are filed before it
// leaves, as with any helper. Packets of the same connection that carry payload wait behind it, in
// order; all others go on. Nobody else waits, and the worker never does. Who calls: Helping only
// (userspace.cc); this keeps the books, Helping moves the packets. Life-cycle: memory is taken by
// the constructor. A connection that ends takes its packets with it. Synchronisation: none. Cost:
// nothing for connections of other helpers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/drop_reason.h"
#include "base/types.h"
#include "net/packet.h"
#include "userspace/link.h"

struct rte_mbuf;

namespace postern {

class HeldPackets {
  public:
    struct Held {
        rte_mbuf* packet = nullptr;
        unsigned frames = 1;  ///< it came in; more than one: a datagram in fragments
        PacketInfo info;
        std::uint32_t next = 0;
    };
    /// What a helped connection waits for.
    struct Waiting {
        std::uint32_t first = 0, last = 0;  ///< packets, oldest first; 0 = none
        std::uint32_t next = 0, end = 0;    ///< answers to come to the first packet: their numbers
        std::uint32_t at = 0;               ///< where it is in the list of those that wait, plus 1
        Tick deadline;
        bool ready = false;     ///< is on the list of those that can go on
        bool asked = false;     ///< the first packet's question is out, its answer not in
        bool decided = false;   ///< the first packet's fate is known
        bool consumed = false;  ///< its stream has read the first packet already
        DropReason fate = DropReason::none;  ///< none: it passes
    };

    /// `slots`: helper slots of the worker's engine, numbered from 1.
    HeldPackets(const UserspaceLink& link, std::uint32_t slots);

    Waiting& waiting(std::uint32_t slot) noexcept { return waiting_[slot]; }
    bool has_room(HelperId helper) const noexcept {
        return free_ != 0 && held_by_[helper] < queue_[helper];
    }
    /// There is room. `front`: before all others of its connection.
    void hold(std::uint32_t slot, HelperId helper, const Held& packet, bool front) noexcept;
    /// The oldest packet of a connection that has one.
    const Held& oldest(std::uint32_t slot) const noexcept { return pool_[waiting_[slot].first]; }
    /// The same; its entry may be reused now.
    Held take(std::uint32_t slot, HelperId helper) noexcept;
    std::uint32_t frames() const noexcept { return frames_; }

    // --- connections whose first packet waits for an answer ---
    void await(std::uint32_t slot, Tick deadline) noexcept;
    void stop_awaiting(std::uint32_t slot) noexcept;
    /// f(slot) for all that wait, some of which may be overdue; it may stop their waiting.
    template <class F>
    void for_each_awaiting(F&& f) noexcept {
        for (std::size_t i = awaiting_.size(); i != 0; --i)
            f(awaiting_[i - 1]);
    }

    // --- connections that can go on ---
    void make_ready(std::uint32_t slot) noexcept;
    bool any_ready() const noexcept { return !ready_.empty(); }
    std::uint32_t next_ready() noexcept;
    void forget_ready(std::uint32_t slot) noexcept;

  private:
    std::array<std::uint32_t, kMaxHelpers> queue_{};    ///< packets that may wait
    std::array<std::uint32_t, kMaxHelpers> held_by_{};  ///< packets that do
    std::unique_ptr<Waiting[]> waiting_;                ///< by helper slot
    std::vector<Held> pool_;                            ///< [0] is none
    std::uint32_t free_ = 0;
    std::uint32_t frames_ = 0;
    std::vector<std::uint32_t> awaiting_, ready_;  ///< slots; reserved for all
};

}  // namespace postern
