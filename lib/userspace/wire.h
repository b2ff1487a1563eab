// SPDX-License-Identifier: BSD-3-Clause
// The records between Postern and a helper process: docs/userspace-helpers.md describes them.
//
// A record is one message of a SOCK_SEQPACKET socket, so it arrives whole or not at all. All
// integers are little-endian, all structures of fixed size except the text or payload at the end.
// Every decoder checks the length before it reads, and every range; it returns the error as text
// for the other side, or null.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "net/cursor.h"
#include "userspace/link.h"

namespace postern::wire {

inline constexpr std::uint16_t kVersion = 1;

enum class Type : std::uint8_t {
    hello = 1,    ///< process: first of all
    welcome = 2,  ///< Postern's answer to it
    error = 3,    ///< Postern: the reason for disconnecting
    question = 4,
    answer = 5,  ///< process
    ended = 6
};

inline constexpr std::size_t kHeadBytes = 8;
inline constexpr std::size_t kHelloBytes = 12;
inline constexpr std::size_t kWelcomeBytes = 24;
inline constexpr std::size_t kQuestionBytes = 104;  ///< and the message
inline constexpr std::size_t kAnswerBytes = 56;     ///< and the expectations
inline constexpr std::size_t kExpectBytes = 48;
inline constexpr std::size_t kMaxAnswerBytes = kAnswerBytes + Answer::kMaxRequests * kExpectBytes;

/// Room for the longest record that Postern sends.
constexpr std::size_t question_room(std::uint32_t message_bytes) noexcept {
    return kQuestionBytes + message_bytes;
}

/// Null, or the error.
const char* check_hello(Bytes record) noexcept;
/// `helper`: the sender. Sets all of `out`.
const char* decode_answer(Bytes record, const UserspaceHelper& helper, unsigned workers,
                          Answer& out) noexcept;

/// These return the number of bytes written; `out` has room (question_room(), kWelcomeBytes and
/// 512).
std::size_t encode_welcome(const UserspaceHelper& helper, std::uint32_t message_bytes,
                           std::span<std::uint8_t> out) noexcept;
std::size_t encode_error(std::string_view text, std::span<std::uint8_t> out) noexcept;
std::size_t encode_question(const Question& question, const UserspaceHelper& helper,
                            std::span<std::uint8_t> out) noexcept;

}  // namespace postern::wire
