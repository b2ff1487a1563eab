// SPDX-License-Identifier: BSD-3-Clause
// H.245 messages that open, answer and close logical channels (ITU-T H.245 annex C.4), on a
// connection of its own (h245.cc) or tunnelled in call signalling (q931.cc).
#pragma once

#include <array>
#include <cstdint>

#include "h323/requests.h"

namespace postern::h323 {

/// Channels proposed and not yet answered; part of a helper's private state. A number is stored
/// modulo 64, which is exact for the few channels of a call.
struct OpenChannels {
    std::array<std::uint64_t, 2> asked{};  ///< by the Direction of the proposer

    void propose(Direction by, std::uint32_t number) noexcept {
        asked[index(by)] |= std::uint64_t{1} << number % 64;
    }
    /// False: there was no such proposal.
    bool answer(Direction proposed_by, std::uint32_t number) noexcept {
        const std::uint64_t bit = std::uint64_t{1} << number % 64;
        const bool was = (asked[index(proposed_by)] & bit) != 0;
        asked[index(proposed_by)] &= ~bit;
        return was;
    }
};

/// Kind of the message, for the caller's counters.
enum class ControlMessage : std::uint8_t {
    unreadable,
    other,
    capabilities,  ///< the TerminalCapabilitySet with which both sides begin (annex C.3)
    open,
    open_ack,
    unasked_ack,  ///< it opens nothing
    open_reject,
    close,
    end_session
};

/// Reads an H.245 message and requests its expectations, in the class, with the tag. With `tag` 0
/// each channel's expectations have a tag of their own, and are removed when the channel is closed.
ControlMessage read_control(Bytes message, OpenChannels& channels, Requests& requests,
                            std::uint8_t class_index, std::uint32_t tag) noexcept;

/// The same for an element of fastStart: a proposal, or the answer to one, in the form of an
/// OpenLogicalChannel (ITU-T H.323 section 8.1.7.1). False: it cannot be parsed.
bool read_fast_start(Bytes channel, Requests& requests, std::uint8_t class_index,
                     std::uint32_t tag) noexcept;

}  // namespace postern::h323
