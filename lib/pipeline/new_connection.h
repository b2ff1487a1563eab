// SPDX-License-Identifier: BSD-3-Clause
// NewConnection: the transaction that creates a connection.
//
// What: a slot in the table and everything that depends on it (a second key, a share of the limits,
// a helper and its expectations). Its destructor releases all of them unless commit() was called.
// Steps that cannot be undone come between find_room(), after which nothing fails for lack of room,
// and create().
// Used by: the commit stage, and Tracking::restore(). Cost: none beyond its steps.
#pragma once

#include <cstdint>
#include <utility>

#include "pipeline/tracking.h"

namespace postern {

class NewConnection {
  public:
    /// `expected`: it may use the reserve for expected ones.
    NewConnection(Tracking& tracking, bool expected) noexcept
        : tracking_(tracking), expected_(expected) {}
    ~NewConnection() {
        if (slot_ != 0) tracking_.discard(slot_);
    }
    NewConnection(const NewConnection&) = delete;
    NewConnection& operator=(const NewConnection&) = delete;

    /// Returns whether there is room for the connection of packet i (for a call, with its second
    /// key), or will be once a less valuable connection has ended. Changes nothing yet; the table
    /// must not change before create().
    bool find_room(unsigned i) noexcept;
    /// Takes the slot in the room found, and counts it for its zone and source.
    bool create(unsigned i) noexcept;
    /// The same for a restored connection, without find_room().
    bool adopt(const Conn& image, const ZonePair& zones) noexcept;
    /// Packet i begins an expected GRE call: adds the second key, with the call id of its sender
    /// from the expectation, which the answers will carry. Ends a connection that was made of such
    /// answers before the call was expected. False: the table is full.
    bool pair_call(unsigned i) noexcept;

    std::uint32_t slot() const noexcept { return slot_; }
    Conn& conn() noexcept { return tracking_.conns_.at(slot_); }
    /// Commits it: arms its timer, counts it, emits its event. Returns its slot.
    std::uint32_t commit() noexcept;

  private:
    Tracking& tracking_;
    bool expected_;
    std::uint32_t slot_ = 0;
    std::uint32_t victim_ = 0;  ///< the connection to displace; 0: none
};

}  // namespace postern
