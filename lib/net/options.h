// SPDX-License-Identifier: BSD-3-Clause
// Options as IPv4 (RFC 791 section 3.1) and TCP (RFC 9293 section 3.1) headers have them: a kind;
// then, but for 0 (the end) and 1 (padding), a length that counts both bytes; then the value.
#pragma once

#include <cstdint>
#include <cstring>

namespace postern {

enum class OptionsEnd : std::uint8_t {
    sound,
    short_length,  ///< an option says that it is shorter than its own two bytes
    cut            ///< an option goes on behind the header
};

/// Calls fn(kind, value, bytes of value) for each well-formed option of the `left` bytes at `p`,
/// up to the first that is not.
template <class Fn>
OptionsEnd for_each_option(const std::uint8_t* p, unsigned left, Fn fn) noexcept {
    while (left > 0 && p[0] != 0) {
        if (p[0] == 1) {
            ++p, --left;
            continue;
        }
        if (left < 2) return OptionsEnd::cut;
        if (p[1] < 2) return OptionsEnd::short_length;
        if (p[1] > left) return OptionsEnd::cut;
        fn(p[0], p + 2, p[1] - 2u);
        left -= p[1];
        p += p[1];
    }
    return OptionsEnd::sound;
}

/// Kinds of TCP options (RFC 9293, 7323, 2018).
namespace tcp_option {
inline constexpr std::uint8_t mss = 2, window_scale = 3, sack_permitted = 4, sack = 5,
                              timestamps = 8;
}
/// The widest window scale there is; what is beyond counts as this (RFC 7323 section 2.3).
inline constexpr std::uint8_t kMaxWindowScale = 14;

/// Whether TCP's options are timestamps, laid out as every stack does (RFC 7323 appendix A), and
/// nothing else.
inline bool only_timestamps(const std::uint8_t* options, unsigned len) noexcept {
    constexpr std::uint8_t kLayout[4] = {1, 1, tcp_option::timestamps, 10};
    return len == 12 && std::memcmp(options, kLayout, sizeof kLayout) == 0;
}

}  // namespace postern
