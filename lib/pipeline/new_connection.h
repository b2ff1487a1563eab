// SPDX-License-Identifier: BSD-3-Clause
// NewConnection: the transaction that makes a connection.
//
// What: a slot in the table and what hangs on it (a second key, a share of the limits, a helper and
// what it expects), all of which its destructor gives back unless commit() was called. What cannot
// be given back comes between find_room(), after which nothing fails for want of room, and
// create(). Who: the commit stage, and Tracking::restore(). Cost: none beyond what it does.
#pragma once

#include <cstdint>
#include <utility>

#include "pipeline/tracking.h"

namespace postern {

class NewConnection {
  public:
    /// `expected`: it may use the room that is kept for expected ones.
    NewConnection(Tracking& tracking, bool expected) noexcept
        : tracking_(tracking), expected_(expected) {}
    ~NewConnection() {
        if (slot_ != 0) tracking_.discard(slot_);
    }
    NewConnection(const NewConnection&) = delete;
    NewConnection& operator=(const NewConnection&) = delete;

    /// Whether there is room for the connection of packet i, a call's with its second key, or will
    /// be once a less valuable connection has ended. Nothing is done yet; nothing else may happen
    /// to the table before create().
    bool find_room(unsigned i) noexcept;
    /// Takes the slot, in the room that was found, and counts it for its zone and source.
    bool create(unsigned i) noexcept;
    /// The same for a connection from elsewhere, without a room.
    bool adopt(const Conn& image, const ZonePair& zones) noexcept;
    /// Packet i begins an expected GRE call: gives it the second key, which has the call id of its
    /// sender that the expectation knows, and the answers will carry. A connection that was made of
    /// such answers before the call was expected ends. False: the table is full.
    bool pair_call(unsigned i) noexcept;

    std::uint32_t slot() const noexcept { return slot_; }
    Conn& conn() noexcept { return tracking_.conns_.at(slot_); }
    /// It stays: arms its timer, counts it, tells listeners. Returns its slot.
    std::uint32_t commit() noexcept;

  private:
    Tracking& tracking_;
    bool expected_;
    std::uint32_t slot_ = 0;
    std::uint32_t victim_ = 0;  ///< has to end for it; 0: none
};

}  // namespace postern
