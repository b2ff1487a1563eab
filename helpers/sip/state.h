// SPDX-License-Identifier: BSD-3-Clause
// The SIP helper's state of a connection: the latest REGISTERs, the registered addresses, and the
// latest few requests whose responses may announce. 32 bytes, so hashes are short.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "helper/descriptor.h"
#include "helper/view.h"
#include "sip/message.h"

namespace postern::sip {

/// A request until it is answered: a hash of 24 bits, whose low bits are these.
inline constexpr std::uint32_t kByReply = 1;    ///< sent in the reply direction
inline constexpr std::uint32_t kDescribed = 2;  ///< it had a session description
inline constexpr std::uint32_t kInDialog = 4;
inline constexpr std::uint32_t kAskedFlags = 7;

struct SipState {
    /// Hashes of Call-ID and CSeq of the latest REGISTERs, and kByReply; newest first, 0: none.
    std::array<std::uint32_t, 2> registering{};
    std::array<std::uint16_t, 3> contact{};       ///< requested ports, host order; 0: none
    std::array<std::uint16_t, 3> contact_info{};  ///< of each port, see contact_info
    std::uint16_t registered_s = 0;               ///< lifetime of the last registration
    std::array<std::uint16_t, 3> asked{};         ///< newest first: the high bits; see question()
    std::array<std::uint8_t, 3> asked_low{};      ///< the low ones
    /// Picked up: answered requests. Before there are kPairs, question 0 is the last one.
    std::uint8_t pairs = 0;
};
inline constexpr std::uint8_t kPairs = 2;
namespace contact_info {
inline constexpr std::uint16_t tcp = 1, granted = 2,
                               call = 0xfffc;  ///< `call`: bits of the Call-ID's hash
}

inline constexpr Field kState[] = {
    POSTERN_FIELD(SipState, registering),   POSTERN_FIELD(SipState, contact),
    POSTERN_FIELD(SipState, contact_info),  POSTERN_FIELD(SipState, registered_s),
    POSTERN_FIELD(SipState, asked),         POSTERN_FIELD(SipState, asked_low),
    POSTERN_FIELD(SipState, pairs, kPairs),
};

constexpr std::uint32_t mix(std::uint32_t h, std::uint32_t v) noexcept {
    h = (h ^ v) * 0x85ebca6bu;
    return h ^ h >> 13;
}

inline std::uint32_t asked_by(Direction asker) noexcept {
    return asker == Direction::reply ? kByReply : 0;
}
inline std::uint32_t question_hash(const Message& m) noexcept {
    return mix(m.call, m.cseq) >> 8 & ~kAskedFlags;
}
inline std::uint32_t question(const SipState& s, std::size_t i) noexcept {
    return std::uint32_t{s.asked[i]} << 8 | s.asked_low[i];
}
inline void set_question(SipState& s, std::size_t i, std::uint32_t value) noexcept {
    s.asked[i] = static_cast<std::uint16_t>(value >> 8);
    s.asked_low[i] = static_cast<std::uint8_t>(value);
}

/// Puts it first; replaces the same one among the others, else the last.
inline void remember(SipState& s, const View& view, const Message& m, bool described) noexcept {
    const std::uint32_t value = question_hash(m) | asked_by(view.direction) |
                                (described ? kDescribed : 0) | (m.dialog != 0 ? kInDialog : 0);
    constexpr std::uint32_t kSame = ~kAskedFlags | kByReply;
    std::size_t i = 0;
    while (i + 1 < s.asked.size() && (question(s, i) & kSame) != (value & kSame))
        ++i;
    for (; i != 0; --i)
        set_question(s, i, question(s, i - 1));
    set_question(s, 0, value);
}

/// The request that a response answers.
struct Question {
    bool wrong_side = false;  ///< it was sent by the side that answers now, and not by the other
    bool described = false;   ///< it had an offer, so this is the answer
    bool in_dialog = false;   ///< it was sent within a call
};
inline Question question_of(const SipState& s, const View& view, const Message& m) noexcept {
    Question q;
    bool by_other = false;
    for (std::size_t i = 0; i < s.asked.size(); ++i) {
        const std::uint32_t asked = question(s, i);
        if (asked == 0 || (asked & ~kAskedFlags) != question_hash(m)) continue;
        const bool own = (asked & kByReply) == asked_by(view.direction);
        q.wrong_side |= own;
        by_other |= !own;
        if (own) continue;
        q.described = (asked & kDescribed) != 0;
        q.in_dialog = (asked & kInDialog) != 0;
    }
    if (by_other) q.wrong_side = false;
    return q;
}

}  // namespace postern::sip
