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
    static constexpr std::uint8_t kInactive = 2;   ///< matches nothing until Emit::activate()
    /// Another master's identical expectation serves this one too, and one that could match the
    /// same packet is not in the way (the legs of a call through a proxy: SIP, H.323).
    static constexpr std::uint8_t kSkipMaster = 4;
    /// Those of other masters are not in the way, identical ones neither.
    static constexpr std::uint8_t kBeside = 8;
    static constexpr std::uint8_t kNoChild = 0xff;

    /// Source prefix: length 0 is any address (the family is then dst's), full length is exact.
    Prefix src;
    IpAddr dst;
    Be16 sport;  ///< only when !any_sport
    Be16 dport;
    /// The same for so many ports after dport. If not all can be filed, the packet passes anyhow.
    std::uint8_t more_ports = 0;
    std::uint8_t protocol = 0;
    bool any_sport = true;
    std::uint8_t class_index = 0;  ///< into HelperDesc::classes
    std::uint8_t flags = 0;
    /// The listener announced it earlier, the speaker has now agreed.
    bool announced_by_listener = false;
    std::uint8_t child =
        kNoChild;  ///< helper of the expected connection: into HelperDesc::children
    HelperId child_helper = kNoHelper;  ///< the engine's: the instance that `child` means
    std::uint32_t tag = 0;              ///< the helper's own: a call, a dialog; 0 is none
    std::uint32_t timeout_s = 0;        ///< 0 from the helper: the class's; never 0 to the caller

    Family family() const noexcept { return dst.family; }
    bool any_src() const noexcept { return src.length == 0; }
    static Prefix exact(const IpAddr& a) noexcept {
        return Prefix{a, static_cast<std::uint8_t>(address_bytes(a.family) * 8)};
    }
};

/// Something to be done to what was filed before, in its place among the pin-holes of the packet.
struct EmitAction {
    enum class Kind : std::uint8_t {
        activate,
        remove,
        end_child
    };
    Kind kind = Kind::remove;
    std::uint8_t class_index = 0;
    std::uint8_t after = 0;  ///< how many of Emit::requests() come first
    std::uint32_t tag = 0;   ///< 0: all of the class
    std::uint32_t timeout_s = 0;
    Tuple child;               ///< end_child only
    std::uint32_t mask = ~0u;  ///< remove only: the bits of the tag that count
};

class Emit {
  public:
    static constexpr unsigned kCapacity = 16;    ///< requests of one packet
    static constexpr unsigned kPerMessage = 16;  ///< and of one message
    static constexpr unsigned kActions = 16;     ///< of one packet

    static constexpr std::uint8_t kAnyClass = 0xff;  ///< for remove()

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

    // These act on what this connection has pending, in the order in which they and expect() are
    // called. Tag 0 means all of the class.
    /// Inactive expectations of the class and tag begin to match. Those that match already, too,
    /// have `timeout_s` from now; 0: the time they had.
    void activate(unsigned class_index, std::uint32_t tag, std::uint32_t timeout_s) noexcept {
        act({EmitAction::Kind::activate,
             static_cast<std::uint8_t>(class_index),
             0,
             tag,
             timeout_s,
             {}});
    }
    /// Pending expectations of the class (or of kAnyClass) go whose tag is this one in the bits of
    /// `mask`.
    void remove(unsigned class_index, std::uint32_t tag, std::uint32_t mask = ~0u) noexcept {
        act({EmitAction::Kind::remove,
             static_cast<std::uint8_t>(class_index),
             0,
             tag,
             0,
             {},
             mask});
    }
    /// The running connection with this tuple, in either direction, ends, on whichever worker it
    /// lives; within a turn or two. Nothing happens when there is none.
    void end_child(const Tuple& child) noexcept {
        act({EmitAction::Kind::end_child, 0, 0, 0, 0, child});
    }
    /// From now on this connection may be silent for so long at least (up to 65535 s; 0: as its
    /// protocol has it). A shorter time than before counts from the next packet on. A TCP
    /// connection that is being closed keeps its short times.
    void master_timeout(std::uint32_t seconds) noexcept {
        master_timeout_s_ = static_cast<std::uint16_t>(seconds < 0xffff ? seconds : 0xffff);
        master_timeout_set_ = true;
    }

    // For the caller of the engine.
    std::span<const PinHole> requests() const noexcept { return {requests_.data(), count_}; }
    std::span<const EmitAction> actions() const noexcept { return {actions_.data(), acts_}; }
    bool empty() const noexcept { return count_ == 0 && acts_ == 0; }

  private:
    friend class HelperEngine;

    void act(const EmitAction& action) noexcept {
        if (acts_ == kActions) return refuse(HelperCounter::action_limit);
        actions_[acts_] = action;
        actions_[acts_++].after = static_cast<std::uint8_t>(count_ + asked_);
    }

    void clear() noexcept { count_ = asked_ = acts_ = 0; }
    void clear(HelperCounters& counters) noexcept {
        clear();
        counters_ = &counters;
    }
    /// The request at this place is gone: actions after it move up.
    void close_gap(unsigned place) noexcept {
        for (unsigned i = 0; i < acts_; ++i)
            if (actions_[i].after > place) --actions_[i].after;
    }
    /// Keeps a request that passed the guards. When full, the oldest of the same class goes, as it
    /// would in the expectation table.
    void keep(const PinHole& request) noexcept;

    /// First those kept, then those asked for in the message that is being read.
    std::array<PinHole, kCapacity + kPerMessage> requests_{};
    unsigned count_ = 0;
    unsigned asked_ = 0;
    std::array<EmitAction, kActions> actions_{};
    unsigned acts_ = 0;
    HelperCounters* counters_ = nullptr;
    HelperCounter blind_ = HelperCounter::kCount;
    std::uint16_t master_timeout_s_ = 0;
    bool master_timeout_set_ = false;
    bool proven_ = false;
    bool read_all_ = false;
    bool read_all_set_ = false;
};

}  // namespace postern
