// SPDX-License-Identifier: BSD-3-Clause
// HeldPackets: packets of one worker that wait for the answer of a helper's process.
//
// What: a packet that completes a message of a helper in another process is held, unread by its
// stream, until the answer has arrived. So its expectations are filed before it leaves, as with any
// helper. Later packets of the same connection are held behind it, in order, if they carry payload;
// all other packets continue. The worker itself never waits.
// Used by: Helping only (userspace.cc): it moves the packets, this keeps the books. Life-cycle: the
// constructor allocates the memory. A connection that ends releases its packets. Synchronisation:
// none. Cost: nothing for connections of other helpers.
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
        unsigned frames = 1;  ///< input port; more than one: a fragmented datagram
        PacketInfo info;
        std::uint32_t next = 0;
    };
    /// The waiting state of a helped connection.
    struct Waiting {
        std::uint32_t first = 0, last = 0;  ///< packets, oldest first; 0 = none
        std::uint32_t next = 0,
                      end = 0;  ///< numbers of the answers that the first packet waits for
        std::uint32_t at = 0;   ///< position in the list of waiting connections, plus 1
        Tick deadline;
        bool ready = false;     ///< is on the list of connections that can continue
        bool asked = false;     ///< the first packet's question is sent, its answer not received
        bool decided = false;   ///< the first packet has a verdict
        bool consumed = false;  ///< its stream has read the first packet already
        DropReason fate = DropReason::none;  ///< none: it passes
    };

    /// `slots`: helper slots of the worker's engine, numbered from 1.
    HeldPackets(const UserspaceLink& link, std::uint32_t slots);

    Waiting& waiting(std::uint32_t slot) noexcept { return waiting_[slot]; }
    bool has_room(HelperId helper) const noexcept {
        return free_ != 0 && held_by_[helper] < queue_[helper];
    }
    /// Requires room. `front`: before all others of its connection.
    void hold(std::uint32_t slot, HelperId helper, const Held& packet, bool front) noexcept;
    /// The oldest packet of a connection with held packets.
    const Held& oldest(std::uint32_t slot) const noexcept { return pool_[waiting_[slot].first]; }
    /// Removes and returns it; its entry may be reused.
    Held take(std::uint32_t slot, HelperId helper) noexcept;
    std::uint32_t frames() const noexcept { return frames_; }

    // --- connections whose first packet waits for an answer ---
    void await(std::uint32_t slot, Tick deadline) noexcept;
    void stop_awaiting(std::uint32_t slot) noexcept;
    /// Calls f(slot) for all waiting connections, including overdue ones; f may end the waiting.
    template <class F>
    void for_each_awaiting(F&& f) noexcept {
        for (std::size_t i = awaiting_.size(); i != 0; --i)
            f(awaiting_[i - 1]);
    }

    // --- connections that can continue ---
    void make_ready(std::uint32_t slot) noexcept;
    bool any_ready() const noexcept { return !ready_.empty(); }
    std::uint32_t next_ready() noexcept;
    void forget_ready(std::uint32_t slot) noexcept;

  private:
    std::array<std::uint32_t, kMaxHelpers> queue_{};    ///< maximum of held packets
    std::array<std::uint32_t, kMaxHelpers> held_by_{};  ///< number of held packets
    std::unique_ptr<Waiting[]> waiting_;                ///< by helper slot
    std::vector<Held> pool_;                            ///< [0] is unused
    std::uint32_t free_ = 0;
    std::uint32_t frames_ = 0;
    std::vector<std::uint32_t> awaiting_, ready_;  ///< slots; reserved for the maximum
};

}  // namespace postern
