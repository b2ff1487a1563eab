// SPDX-License-Identifier: BSD-3-Clause
// Options of IPv4 (RFC 791 section 3.1) and TCP (RFC 9293 section 3.1) headers: a kind; then,
// except for 0 (the end) and 1 (padding), a length that includes both bytes; then the value.
#pragma once

#include <cstdint>
#include <cstring>

#include "base/drop_reason.h"

namespace postern {

enum class OptionsEnd : std::uint8_t {
    sound,
    short_length,  ///< an option with a length below its own two bytes
    cut            ///< an option exceeds the header
};

/// Calls fn(kind, value, bytes of value) for each well-formed option of the `left` bytes at `p`,
/// up to the first that is not.
template <class Fn>
OptionsEnd for_each_option(const std::uint8_t* p, unsigned left, Fn fn) noexcept {
    while (left > 0 && p[0] != 0) {
        if (p[0] == 1) {
            ++p;
            --left;
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
/// The largest window scale; larger ones count as this (RFC 7323 section 2.3).
inline constexpr std::uint8_t kMaxWindowScale = 14;

/// Whether TCP's options are timestamps, laid out as every stack does (RFC 7323 appendix A), and
/// nothing else.
inline bool only_timestamps(const std::uint8_t* options, unsigned len) noexcept {
    constexpr std::uint8_t kLayout[4] = {1, 1, tcp_option::timestamps, 10};
    return len == 12 && std::memcmp(options, kLayout, sizeof kLayout) == 0;
}

/// The first error in the options of an IPv4 header: record route (RFC 791 section 3.1: a pointer
/// of at least 4), timestamps (of 5), router alert (RFC 2113). A completed source route is refused
/// too: its receiver answers along it (RFC 1122 section 3.2.1.8).
DropReason check_ip_options(const std::uint8_t* ip, unsigned header) noexcept;

/// Whether an option of IPv6's hop-by-hop and destination headers (RFC 8200 section 4.2) exceeds
/// its header (the options' kinds are not checked), or a routing header is none of the `allowed`
/// ones. `headers`: the bytes from `ip` to the end of the chain of extension headers, which
/// parse_ip() found well-formed.
DropReason check_ip6_extensions(const std::uint8_t* ip, unsigned headers,
                                std::uint8_t allowed) noexcept;

}  // namespace postern
