// SPDX-License-Identifier: BSD-3-Clause
// Base64 (RFC 4648 section 4): bytes as text, for JSON. Control only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace postern {

namespace base64_detail {
inline constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
inline constexpr std::uint8_t kNone = 0xff;
inline constexpr std::array<std::uint8_t, 256> kValues = [] {
    std::array<std::uint8_t, 256> out{};
    out.fill(kNone);
    for (std::size_t i = 0; i < kDigits.size(); ++i)
        out[static_cast<unsigned char>(kDigits[i])] = static_cast<std::uint8_t>(i);
    return out;
}();
}  // namespace base64_detail

/// Appends the text of `bytes`, padded, to `out`.
inline void append_base64(std::string& out, std::string_view bytes) {
    using namespace base64_detail;
    const std::size_t begin = out.size();
    out.resize(begin + (bytes.size() + 2) / 3 * 4);
    char* to = out.data() + begin;
    const auto at = [bytes](std::size_t i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i]));
    };
    std::size_t i = 0;
    for (; i + 3 <= bytes.size(); i += 3, to += 4) {
        const std::uint32_t word = at(i) << 16 | at(i + 1) << 8 | at(i + 2);
        to[0] = kDigits[word >> 18];
        to[1] = kDigits[word >> 12 & 63];
        to[2] = kDigits[word >> 6 & 63];
        to[3] = kDigits[word & 63];
    }
    const std::size_t left = bytes.size() - i;
    if (left == 0) return;
    const std::uint32_t word = at(i) << 16 | (left == 2 ? at(i + 1) << 8 : 0);
    to[0] = kDigits[word >> 18];
    to[1] = kDigits[word >> 12 & 63];
    to[2] = left == 2 ? kDigits[word >> 6 & 63] : '=';
    to[3] = '=';
}

/// Appends the bytes of `text` to `out`. False: it is no padded base64; `out` is undefined then.
inline bool append_from_base64(std::string& out, std::string_view text) {
    using namespace base64_detail;
    if (text.size() % 4 != 0) return false;
    const std::size_t begin = out.size();
    out.resize(begin + text.size() / 4 * 3);
    char* to = out.data() + begin;
    std::size_t padding = 0;
    if (text.ends_with("=="))
        padding = 2;
    else if (text.ends_with('='))
        padding = 1;
    for (std::size_t i = 0; i < text.size(); i += 4, to += 3) {
        const bool last = i + 4 == text.size();
        std::uint32_t word = 0;
        std::uint8_t wrong = 0;
        for (std::size_t n = 0; n < 4; ++n) {
            const bool pad = last && n >= 4 - padding;
            const std::uint8_t v = pad ? 0 : kValues[static_cast<unsigned char>(text[i + n])];
            wrong |= v & 0xc0;
            word = word << 6 | v;
        }
        if (wrong != 0) return false;
        to[0] = static_cast<char>(word >> 16);
        to[1] = static_cast<char>(word >> 8);
        to[2] = static_cast<char>(word);
    }
    out.resize(out.size() - padding);
    return true;
}

}  // namespace postern
