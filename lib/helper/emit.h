// SPDX-License-Identifier: BSD-3-Clause
// Emit: a helper's requests while it reads one packet's messages. A fixed buffer that the caller
// owns, one a worker; no callbacks. The engine empties it at the start of each call, the helper
// fills it, the engine removes requests that the guards forbid, the caller files the rest.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/types.h"
#include "helper/counters.h"
#include "helper/descriptor.h"
#include "net/addr.h"
#include "net/expected.h"

namespace postern {

/// A requested expectation. Conntrack zone, sides and master are the caller's.
struct PinHole : ExpectTuple, ExpectTerms {
    static constexpr std::uint8_t kNoChild = 0xff;

    /// The same for this number of ports after dport. If not all can be filed, the packet passes
    /// anyhow.
    std::uint8_t more_ports = 0;
    /// The receiver of the message announced it earlier, its sender has now agreed.
    bool announced_by_listener = false;
    /// Helper of the expected connection: into HelperDesc::children.
    std::uint8_t child = kNoChild;
    HelperId child_helper = kNoHelper;  ///< the engine's: the instance that `child` means

    Family family() const noexcept { return dst.family; }
};

/// An action on earlier expectations, in its position among the requests of the packet.
struct EmitAction {
    enum class Kind : std::uint8_t {
        activate,
        remove,
        remove_branch,
        end_child,
        adopt_child,
        grant_in_master
    };
    Kind kind = Kind::remove;
    std::uint8_t class_index = 0;
    std::uint8_t after = 0;  ///< number of Emit::requests() before it
    std::uint32_t tag = 0;   ///< 0: all of the class
    std::uint32_t timeout_s = 0;
    Tuple child;               ///< of a child; grant_in_master: its destination only
    std::uint32_t mask = ~0u;  ///< remove, remove_branch: the bits of the tag that count
    std::uint32_t call = 0;    ///< ExpectTerms::call; 0: of any
    bool others = false;       ///< remove only: those with another tag
    /// grant_in_master only: call and tag of the master's question.
    std::uint32_t asked_call = 0, asked_tag = 0;
};

class Emit {
  public:
    static constexpr unsigned kCapacity = 64;    ///< requests of one packet
    static constexpr unsigned kPerMessage = 16;  ///< and of one message
    static constexpr unsigned kActions = 64;     ///< of one packet

    static constexpr std::uint8_t kAnyClass = 0xff;  ///< for remove()

    // For helpers.
    void expect(const PinHole& request) noexcept {
        if (asked_ == kPerMessage)
            refuse(HelperCounter::class_limit);
        else
            requests_[count_ + asked_++] = request;
    }
    /// Refuses the message, for this reason.
    void refuse(HelperCounter reason) noexcept { (*counters_)[reason].add(); }
    void parse_error() noexcept { (*counters_)[HelperCounter::parse_errors].add(); }
    /// Counts in HelperDesc::counters, by index.
    void count(unsigned own_counter) noexcept { counters_->own(own_counter).add(); }
    /// Both sides have proven the helper's protocol: from here on it may open.
    void proven() noexcept { proven_ = true; }
    /// Whether every message of this direction wakes the parser, or only those with a pattern.
    void read_all(bool on) noexcept {
        read_all_ = on;
        read_all_set_ = true;
    }
    /// The same of both directions.
    void read_both(bool on) noexcept {
        read_all(on);
        read_both_ = true;
    }
    /// Gives up both directions for good: HelperCounter::blind_not_protocol or blind_encrypted.
    void blind(HelperCounter cause) noexcept { blind_ = cause; }

    // These act on this connection's pending expectations, in the order of the calls, expect()
    // included. Tag 0 means all of the class. With a call they act on that call's only, at the cost
    // of that call's.
    /// Activates inactive expectations of the class and tag. Those that are active already, too,
    /// get `timeout_s` from now; 0: the timeout they had.
    void activate(unsigned class_index, std::uint32_t tag, std::uint32_t timeout_s,
                  std::uint32_t call = 0) noexcept {
        EmitAction a;
        a.kind = EmitAction::Kind::activate;
        a.class_index = static_cast<std::uint8_t>(class_index);
        a.tag = tag;
        a.timeout_s = timeout_s;
        a.call = call;
        act(a);
    }
    /// Removes pending expectations of the class (or of kAnyClass) whose tag equals this one in the
    /// bits of `mask`; with `others`, those whose tag does not.
    void remove(unsigned class_index, std::uint32_t tag, std::uint32_t mask = ~0u,
                std::uint32_t call = 0, bool others = false) noexcept {
        EmitAction a;
        a.class_index = static_cast<std::uint8_t>(class_index);
        a.tag = tag;
        a.mask = mask;
        a.call = call;
        a.others = others;
        act(a);
    }
    /// Removes those of the call whose tag has these bits under `mask`; and all of the call if no
    /// other then has non-zero bits there.
    void remove_branch(std::uint32_t call, std::uint32_t bits, std::uint32_t mask) noexcept {
        EmitAction a;
        a.kind = EmitAction::Kind::remove_branch;
        a.tag = bits;
        a.mask = mask;
        a.call = call;
        act(a);
    }
    /// For answers in a connection of their own. The master is the connection with the request: the
    /// one with a pending expectation of this class, `asked_call` and `asked_tag`, from this
    /// connection's client to its destination. Activates that master's pending expectations of the
    /// class, call and tag, to the address and port of `to`, for `timeout_s`; 0: removes them. Does
    /// nothing if either is missing.
    void grant_in_master(unsigned class_index, std::uint32_t call, std::uint32_t tag,
                         const Tuple& to, std::uint32_t timeout_s, std::uint32_t asked_call,
                         std::uint32_t asked_tag) noexcept {
        EmitAction a;
        a.kind = EmitAction::Kind::grant_in_master;
        a.class_index = static_cast<std::uint8_t>(class_index);
        a.tag = tag;
        a.timeout_s = timeout_s;
        a.child = to;
        a.call = call;
        a.asked_call = asked_call;
        a.asked_tag = asked_tag;
        act(a);
    }
    /// Ends the running connection with this tuple, in either direction, on any worker; within a
    /// turn or two. Does nothing if there is none, or if this connection is not its master (any
    /// more).
    void end_child(const Tuple& child) noexcept {
        EmitAction a;
        a.kind = EmitAction::Kind::end_child;
        a.child = child;
        act(a);
    }
    /// Makes the same connection, if it is another master's child, this one's from now on.
    void adopt_child(const Tuple& child) noexcept {
        EmitAction a;
        a.kind = EmitAction::Kind::adopt_child;
        a.child = child;
        act(a);
    }
    /// Raises this connection's timeout to at least this value from now on (up to 65535 s; 0: that
    /// of its protocol). A shorter timeout than before counts from the next packet on. A TCP
    /// connection that is being closed keeps its short timeouts.
    void min_timeout(std::uint32_t seconds) noexcept {
        min_timeout_s_ = static_cast<std::uint16_t>(seconds < 0xffff ? seconds : 0xffff);
        min_timeout_set_ = true;
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
    /// Removes the request at this index: actions after it move up.
    void close_gap(unsigned place) noexcept {
        for (unsigned i = 0; i < acts_; ++i)
            if (actions_[i].after > place) --actions_[i].after;
    }
    /// Keeps a request that passed the guards. If full, replaces the oldest of the same class, as
    /// the expectation table would.
    void keep(const PinHole& request) noexcept;

    /// First the kept ones, then those of the current message.
    std::array<PinHole, kCapacity + kPerMessage> requests_{};
    unsigned count_ = 0;
    unsigned asked_ = 0;
    std::array<EmitAction, kActions> actions_{};
    unsigned acts_ = 0;
    HelperCounters* counters_ = nullptr;
    HelperCounter blind_ = HelperCounter::kCount;
    std::uint16_t min_timeout_s_ = 0;
    bool min_timeout_set_ = false;
    bool proven_ = false;
    bool read_all_ = false;
    bool read_all_set_ = false;
    bool read_both_ = false;
};

}  // namespace postern
