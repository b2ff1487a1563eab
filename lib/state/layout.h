// SPDX-License-Identifier: BSD-3-Clause
// Layouts: which fields a saved struct has. A record of another build is understood by them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "helper/descriptor.h"

namespace postern {

/// FNV-1a of texts: detects changes, no forgery.
class Digest {
  public:
    void add(std::string_view text) noexcept {
        for (const char c : text)
            value_ = (value_ ^ static_cast<unsigned char>(c)) * kPrime;
        value_ = (value_ ^ 0xff) * kPrime;
    }
    std::uint64_t value() const noexcept { return value_; }

  private:
    static constexpr std::uint64_t kPrime = 0x100000001b3u;
    std::uint64_t value_ = 0xcbf29ce484222325u;
};

/// Changes with the meaning of a helper's private state, as far as that can be detected: 16
/// hexadecimal digits.
std::string version_of(const HelperDesc& desc);

}  // namespace postern
