// SPDX-License-Identifier: BSD-3-Clause
// The helper's part of one connection, and of one that is saved.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/types.h"
#include "helper/descriptor.h"
#include "helper/stream.h"
#include "net/addr.h"

namespace postern {

/// The helper's state of one connection.
struct alignas(64) HelperConn {
    std::array<Stream, 2> stream;  ///< by Direction
    std::uint32_t owner = 0;       ///< the caller's: its connection
    HelperId helper = kNoHelper;   ///< kNoHelper: the slot is free
    bool proven : 1 = false;       ///< proof of protocol: it may open
    bool stranger : 1 = false;     ///< its standing is Standing::unproven
    bool picked_up : 1 = false;    ///< picked up in mid-stream, see pick_up()
    // Of a restored TCP connection, see resynchronise():
    bool learning : 1 = false;        ///< its numbers are not known yet
    bool resumable : 1 = false;       ///< its protocol was proven, and its helper can resynchronise
    bool resumed : 1 = false;         ///< resynchronised: View::resumed
    std::uint8_t unsure : 2 = 0;      ///< by Direction: its first line may be the rest of one
    std::uint16_t min_timeout_s = 0;  ///< Emit::min_timeout()
    std::array<std::uint32_t, 2> skip{};  ///< bytes still to be skipped, by Direction
    alignas(8) std::array<std::uint8_t, kPrivateBytes> state{};
    Tuple original;

    Standing standing() const noexcept { return stranger ? Standing::unproven : Standing::proven; }
    bool blind(Direction d) const noexcept { return stream[index(d)].state == StreamState::blind; }
};
static_assert(sizeof(HelperConn) == 128 && offsetof(HelperConn, min_timeout_s) < 64);

/// The helper's state of a connection in a form from which another engine can continue.
struct HelperImage {
    static constexpr std::size_t kWaiting = 256;
    bool there = false;
    bool cut = false;  ///< buffered bytes are missing, in one direction or both
    HelperConn conn;   ///< its buffers are undefined; Stream::fill bytes of `waiting` replace them
    std::array<std::array<std::uint8_t, kWaiting>, 2> waiting{};  ///< by Direction
};

}  // namespace postern
