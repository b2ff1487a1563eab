// SPDX-License-Identifier: BSD-3-Clause
// View: a helper's input, one message. Valid only during the call.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "base/types.h"
#include "helper/descriptor.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {

/// A parameter's value in this instance, in the order of HelperDesc::params.
struct ParamSetting {
    /// boolean (0, 1) and uint; ports: the first in bits 16 to 31, the last below, 0: none
    std::uint64_t number = 0;
    std::string_view text;  ///< text; owned by the HelperSet, as is the next
    std::span<const Prefix> networks;
};

/// Private state as the helper's own struct.
template <class State>
State load_state(std::span<const std::uint8_t, kPrivateBytes> state) noexcept {
    static_assert(std::is_trivially_copyable_v<State> && sizeof(State) <= kPrivateBytes);
    State s;
    std::memcpy(&s, state.data(), sizeof s);
    return s;
}

struct View {
    const Tuple& original;  ///< of the helped connection
    Bytes message;          ///< one whole message, in order, framing included
    std::span<const ParamSetting> params;
    std::span<std::uint8_t, kPrivateBytes> state;  ///< private to the helper, zero at attach
    Direction direction;                           ///< its sender: original = the client
    /// Id of the pattern that woke the parser; kNoPattern when all messages are read.
    std::uint8_t pattern = kNoPattern;
    HelperId helper = kNoHelper;  ///< this instance
    /// The connection was picked up in mid-stream (kPickUpParam): its first messages were not seen,
    /// and an apparent first line of a side may be the rest of one.
    bool picked_up = false;
    /// As picked_up, but the connection was proven before the firewall restarted: one request with
    /// its matching answer proves it again.
    bool resumed = false;
    bool unsure = false;  ///< the message may be the rest of one, whose beginning was not seen
    bool reread = false;  ///< of a client's: or was seen, so the server may choose where it begins

    bool from_client() const noexcept { return direction == Direction::original; }
    const IpAddr& speaker() const noexcept { return from_client() ? original.src : original.dst; }
    const IpAddr& listener() const noexcept { return from_client() ? original.dst : original.src; }

    /// The helper's private state; save() writes it back.
    template <class State>
    State load() const noexcept {
        return load_state<State>(state);
    }
    template <class State>
    void save(const State& s) noexcept {
        static_assert(std::is_trivially_copyable_v<State> && sizeof(State) <= kPrivateBytes);
        std::memcpy(state.data(), &s, sizeof s);
    }
};

}  // namespace postern
