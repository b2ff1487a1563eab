// SPDX-License-Identifier: BSD-3-Clause
// The body of a SIP message: session descriptions among the parts of a multipart one (RFC 2046).
#pragma once

#include <array>
#include <cstdint>

#include "net/cursor.h"

namespace postern::sip {

/// Maximum nesting of parts in a body.
inline constexpr unsigned kMaxDepth = 4;

/// The parts of a multipart body, one after the other.
class Parts {
  public:
    Parts(Bytes body, Bytes boundary) noexcept : c_(body), boundary_{boundary} {}
    /// The next part, at any depth, that is a session description; empty if there is none.
    Bytes next_description() noexcept;

  private:
    enum class Line : std::uint8_t {
        text,
        begins_part,
        ends_last
    };
    Line kind_of(Bytes line, Bytes boundary) const noexcept;
    bool begin_part() noexcept;

    Cursor c_;
    std::array<Bytes, kMaxDepth> boundary_;  ///< of the body, of the current part in it, ...
    unsigned depth_ = 1;
};

}  // namespace postern::sip
