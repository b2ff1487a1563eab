// SPDX-License-Identifier: BSD-3-Clause
// Cursor: the only way to read payload. It checks bounds, never copies the bytes and never moves
// past the end; a read that does not fit fails and leaves the cursor unchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace postern {

using Bytes = std::span<const std::uint8_t>;

class Cursor {
  public:
    constexpr explicit Cursor(Bytes bytes) noexcept : bytes_(bytes) {}

    constexpr std::size_t remaining() const noexcept { return bytes_.size() - at_; }
    constexpr bool at_end() const noexcept { return at_ == bytes_.size(); }
    constexpr std::size_t position() const noexcept { return at_; }
    constexpr Bytes rest() const noexcept { return bytes_.subspan(at_); }

    constexpr std::optional<std::uint8_t> peek(std::size_t ahead = 0) const noexcept {
        if (ahead >= remaining()) return std::nullopt;
        return bytes_[at_ + ahead];
    }
    constexpr bool skip(std::size_t n) noexcept {
        if (n > remaining()) return false;
        at_ += n;
        return true;
    }
    constexpr std::optional<Bytes> take(std::size_t n) noexcept {
        if (n > remaining()) return std::nullopt;
        Bytes b = bytes_.subspan(at_, n);
        at_ += n;
        return b;
    }
    constexpr std::optional<std::uint8_t> u8() noexcept {
        if (at_end()) return std::nullopt;
        return bytes_[at_++];
    }
    constexpr std::optional<std::uint16_t> u16_be() noexcept {
        if (remaining() < 2) return std::nullopt;
        const unsigned v = unsigned{bytes_[at_]} << 8 | bytes_[at_ + 1];
        at_ += 2;
        return static_cast<std::uint16_t>(v);
    }
    constexpr std::optional<std::uint32_t> u32_be() noexcept {
        if (remaining() < 4) return std::nullopt;
        std::uint32_t v = 0;
        for (int i = 0; i < 4; ++i)
            v = v << 8 | bytes_[at_++];
        return v;
    }

  private:
    Bytes bytes_;
    std::size_t at_ = 0;
};

}  // namespace postern
