// SPDX-License-Identifier: BSD-3-Clause
// Emit: what a helper asks for while it reads one packet's messages. A fixed buffer that the caller
// owns, one a worker; no callbacks. The engine empties it at the start of each call, the helper
// fills it, the engine takes out what the guards forbid, the caller files the rest.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/types.h"
#include "helper/counters.h"
#include "helper/descriptor.h"
#include "net/addr.h"

namespace postern {

/// A pin-hole asked for. The destination is always exact; zone and master are the caller's.
struct PinHole {
    static constexpr std::uint8_t kPermanent = 1;  ///< stays after it matched
    static constexpr std::uint8_t kInactive = 2;   ///< present, but matches nothing yet

    /// Source prefix: length 0 is any address (the family is then dst's), full length is exact.
    Prefix src;
    IpAddr dst;
    Be16 sport;  ///< only when !any_sport
    Be16 dport;
    std::uint8_t protocol = 0;
    bool any_sport = true;
    std::uint8_t class_index = 0;  ///< into HelperDesc::classes
    std::uint8_t flags = 0;
    /// The listener announced it earlier, the speaker has now agreed.
    bool announced_by_listener = false;
    HelperId child_helper = kNoHelper;  ///< helper that the expected connection gets
    std::uint32_t timeout_s = 0;        ///< 0 from the helper: the class's; never 0 to the caller

    Family family() const noexcept { return dst.family; }
    bool any_src() const noexcept { return src.length == 0; }
    static Prefix exact(const IpAddr& a) noexcept {
        return Prefix{a, static_cast<std::uint8_t>(address_bytes(a.family) * 8)};
    }
};

class Emit {
  public:
    static constexpr unsigned kCapacity = 16;    ///< requests of one packet
    static constexpr unsigned kPerMessage = 16;  ///< and of one message

    // For helpers.
    void expect(const PinHole& request) noexcept {
        if (asked_ == kPerMessage)
            refuse(HelperCounter::class_limit);
        else
            requests_[count_ + asked_++] = request;
    }
    /// The message is not to be obeyed, for this reason.
    void refuse(HelperCounter reason) noexcept { (*counters_)[reason].add(); }
    void parse_error() noexcept { (*counters_)[HelperCounter::parse_errors].add(); }
    /// One of HelperDesc::counters, by its place there.
    void count(unsigned own_counter) noexcept { counters_->own(own_counter).add(); }
    /// Both sides have shown that they speak the helper's protocol: from here on it may open.
    void proven() noexcept { proven_ = true; }
    /// Whether every message of this direction wakes the parser, or only those with a pattern.
    void read_all(bool on) noexcept {
        read_all_ = on;
        read_all_set_ = true;
    }
    /// Give up both directions for good: HelperCounter::blind_not_protocol or blind_encrypted.
    void blind(HelperCounter cause) noexcept { blind_ = cause; }

    // For the caller of the engine.
    std::span<const PinHole> requests() const noexcept { return {requests_.data(), count_}; }
    bool empty() const noexcept { return count_ == 0; }

  private:
    friend class HelperEngine;

    /// Keeps a request that passed the guards. When full, the oldest of the same class goes, as it
    /// would in the expectation table.
    void keep(const PinHole& request) noexcept;

    /// First those kept, then those asked for in the message that is being read.
    std::array<PinHole, kCapacity + kPerMessage> requests_{};
    unsigned count_ = 0;
    unsigned asked_ = 0;
    HelperCounters* counters_ = nullptr;
    HelperCounter blind_ = HelperCounter::kCount;
    bool proven_ = false;
    bool read_all_ = false;
    bool read_all_set_ = false;
};

}  // namespace postern
