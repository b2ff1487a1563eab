// SPDX-License-Identifier: BSD-3-Clause
// TimingWheel: expiry of millions of objects, at a constant cost each.
//
// What: a hierarchical timing wheel of slot indices (not pointers). The caller owns the objects in
// a slab of its own and gives each a WheelLink. `Slots` returns the link of object i, and its
// *current* deadline. With a prefetch(i) it can also prefetch an object before its deadline is
// queried, if the links are apart from the objects. Index 0 means "none" and is never armed.
//
// Lazy re-arming: the wheel queries the deadline again whenever it visits an object. So code that
// moves a deadline *later* (a packet that stores last_seen) need not notify the wheel. At the old
// deadline, the wheel files the object anew without any call. Code that moves a deadline *earlier*
// must call arm() again. Unless `Slots` has a kLookAgainMs: then the wheel visits every object at
// least that often, and a deadline may move as close as that, counted from the moment of the move,
// without notice. So timeouts that alternate cost their packets nothing.
//
// How: time is divided into units of 2^kShift ms. `position_` is the last unit reached. An object
// due in unit u is in the level of the highest base-256 digit in which u differs from position_, in
// the slot of that digit. Hence everything in a level comes before everything in the level above.
// The next event is the first slot of the lowest level that may have objects (by a bitmap), and a
// jump of hours costs as little as one of a millisecond. When time reaches a slot of an upper level
// its objects are filed again, one at a time, into lower ones.
//
// A slot has several lists, not one (its lanes, filled in rotation). A walk over a list must load
// an object to find the next one, and waits for memory each time. The lanes are walked in rotation,
// two objects ahead in each, so that as many fetches are in flight as there are lanes.
//
// Guarantees: never early; late by less than one unit plus the time between two calls, as long as
// the budget suffices; objects fire in the order of their units; advance() visits at most `budget`
// objects, including those it only moves, and continues from there in the next call.
//
// Used by: one worker, single threaded; nothing allocates after construction. Cost: arm and disarm
// write the object's line, one or two neighbours' and one of the wheel's; advance() with nothing
// due reads one line. 80 KiB for the slots.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <concepts>
#include <cstdint>

#include "base/types.h"

namespace postern {

/// One for each object: in it, or in an array of their own beside the slab. All zero while the
/// object is not armed.
struct WheelLink {
    std::uint32_t next = 0;
    std::uint32_t prev = 0;
};
static_assert(sizeof(WheelLink) == 8);

template <class S>
concept WheelSlots = requires(S& s, const S& cs, std::uint32_t i) {
    { s.link(i) }
    noexcept->std::same_as<WheelLink&>;
    { cs.deadline(i) }
    noexcept->std::same_as<Tick>;
};

/// kShift: log2 of the granularity in ms.
template <WheelSlots Slots, unsigned kShift = 6>
class TimingWheel {
  public:
    static constexpr std::uint32_t kGranularityMs = 1u << kShift;
    static constexpr std::uint32_t kMaxIndex = (1u << 31) - 1;

    TimingWheel(Slots slots, Tick now) noexcept
        : slots_(slots), clock_ms_(kEpochMs + now.ms), position_(clock_ms_ >> kShift) {
        for (std::uint32_t i = 0; i < heads_.size(); ++i)
            heads_[i] = {kHead | i, kHead | i};
    }
    // The objects' links refer to the wheel's own heads: it cannot be copied, and must not be
    // moved.
    TimingWheel(const TimingWheel&) = delete;
    TimingWheel& operator=(const TimingWheel&) = delete;

    bool armed(std::uint32_t index) noexcept { return slots_.link(index).next != 0; }
    std::uint32_t size() const noexcept { return size_; }

    /// Whether arm() would have no effect: the object is armed, and will be visited before its
    /// deadline.
    bool needs_no_rearm(std::uint32_t index) noexcept {
        if constexpr (requires { Slots::kLookAgainMs; })
            return armed(index) && due_unit(index) >= furthest_unit();
        return false;
    }
    /// Files the object under its current deadline, whether it was armed before or not. A deadline
    /// in the past fires within one unit.
    void arm(std::uint32_t index) noexcept {
        assert(index != 0 && index <= kMaxIndex);
        if (needs_no_rearm(index)) return;
        if (armed(index))
            unlink(index);
        else
            ++size_;
        place(index, due_unit(index));
    }

    /// Harmless when the object is not armed.
    void disarm(std::uint32_t index) noexcept {
        if (!armed(index)) return;
        unlink(index);
        --size_;
    }

    /// Prefetches the links that arm() and disarm() write besides the object's own. Inlined, like
    /// all functions that only prefetch: g++ removes a call without effects.
    [[gnu::always_inline]] void prefetch_neighbours(std::uint32_t index) noexcept {
        const WheelLink& link = slots_.link(index);
        __builtin_prefetch(&at(link.next), 1);
        __builtin_prefetch(&at(link.prev), 1);
    }

    /// Moves time to `now` (a step back counts as no step) and calls fn(index) for due objects. An
    /// object is no longer armed then; fn may arm, disarm and free it and any other. Returns the
    /// used part of the budget: less than `budget` means that nothing due is left.
    template <class Fn>
    std::uint32_t advance(Tick now, std::uint32_t budget, Fn&& fn) noexcept {
        const std::int32_t step_ms = now - Tick{static_cast<std::uint32_t>(clock_ms_)};
        if (step_ms > 0) clock_ms_ += static_cast<std::uint32_t>(step_ms);
        const std::uint64_t target = clock_ms_ >> kShift;

        std::uint32_t used = 0;
        while (draining_ || (position_ != target && reach_next_slot(target))) {
            // Objects of an upper level's slot that time has reached: filed lower now.
            while (moving_ != kNone) {
                if (used == budget) return used;
                const std::uint32_t i = take(moving_);
                if (i == 0) {
                    moving_ = kNone;
                    drained_ = 0;
                    break;
                }
                ++used;
                const std::uint64_t unit = due_unit(i);
                unit <= position_ ? append(due_now(), i) : place(i, unit);
            }
            while (used != budget) {
                const std::uint32_t i = take(due_now());
                if (i == 0) {
                    draining_ = false;
                    break;
                }
                ++used;
                const std::uint64_t unit = due_unit(i);
                if (unit > position_) {
                    place(i, unit);  // its deadline has moved since it was armed
                    continue;
                }
                --size_;
                fn(i);
            }
            if (draining_) return used;
        }
        return used;
    }

  private:
    static constexpr unsigned kDigitBits = 8;
    static constexpr unsigned kLanes = 8;  ///< of a slot: a cache line of heads
    static constexpr std::uint32_t kSlotsPerLevel = 1u << kDigitBits;
    // 2^32 ms ahead at most, but position_ continues for years: the fifth digit keeps "the highest
    // digit that differs" true across every carry, and costs 16 KiB that stay cold.
    static constexpr unsigned kLevels = 5;
    static constexpr std::uint32_t kHead = 1u << 31;  ///< marks a link to a head, not to an object
    static constexpr std::uint32_t kNone = kLevels * kSlotsPerLevel;  ///< as a slot
    static constexpr std::uint64_t kEpochMs = 1ull << 32;  ///< so that a past deadline is positive

    /// The unit at whose start the object is due, rounded up: never early.
    std::uint64_t due_unit(std::uint32_t index) const noexcept {
        const std::int32_t ahead_ms =
            slots_.deadline(index) - Tick{static_cast<std::uint32_t>(clock_ms_)};
        return (clock_ms_ + static_cast<std::uint64_t>(std::int64_t{ahead_ms}) + kGranularityMs -
                1) >>
               kShift;
    }

    /// With a kLookAgainMs, nothing is filed beyond it.
    std::uint64_t furthest_unit() const noexcept {
        return (clock_ms_ >> kShift) + (Slots::kLookAgainMs >> kShift);
    }

    WheelLink& at(std::uint32_t ref) noexcept {
        return (ref & kHead) != 0 ? heads_[ref & ~kHead] : slots_.link(ref);
    }
    /// The slot that is due: of the lowest level, that of position_. Nothing can be placed there,
    /// nor into the slot moving_.
    std::uint32_t due_now() const noexcept {
        return static_cast<std::uint32_t>(position_ & (kSlotsPerLevel - 1));
    }

    /// To the end of one of the slot's lanes.
    void append(std::uint32_t slot, std::uint32_t index) noexcept {
        const std::uint32_t lane = slot * kLanes + filled_[slot]++ % kLanes;
        WheelLink& head = heads_[lane];
        slots_.link(index) = {kHead | lane, head.prev};
        at(head.prev).next = index;
        head.prev = index;
    }

    /// Takes the first object out of one of the slot's lanes; 0: all are empty. Prefetches in that
    /// lane: the next object but one is read for its link one rotation from now, and for its
    /// deadline in two.
    std::uint32_t take(std::uint32_t slot) noexcept {
        for (unsigned n = 0; n < kLanes; ++n) {
            const std::uint32_t lane = slot * kLanes + drained_++ % kLanes;
            WheelLink& head = heads_[lane];
            const std::uint32_t index = head.next;
            if ((index & kHead) != 0) continue;
            WheelLink& link = slots_.link(index);
            head.next = link.next;
            if ((link.next & kHead) != 0) {
                head.prev = kHead | lane;
            } else {
                WheelLink& next = slots_.link(link.next);
                next.prev = kHead | lane;
                fetch(next.next);
            }
            link = {};
            return index;
        }
        return 0;
    }
    [[gnu::always_inline]] void fetch(std::uint32_t ref) noexcept {
        if ((ref & kHead) != 0) return;
        __builtin_prefetch(&slots_.link(ref), 1);
        if constexpr (requires { slots_.prefetch(ref); }) slots_.prefetch(ref);
    }

    void unlink(std::uint32_t index) noexcept {
        WheelLink& link = slots_.link(index);
        at(link.prev).next = link.next;
        at(link.next).prev = link.prev;
        link = {};
    }

    void place(std::uint32_t index, std::uint64_t unit) noexcept {
        if constexpr (requires { Slots::kLookAgainMs; }) unit = std::min(unit, furthest_unit());
        if (unit <= position_) unit = position_ + 1;
        const unsigned highest_bit =
            63u - static_cast<unsigned>(std::countl_zero(unit ^ position_));
        const unsigned level = highest_bit / kDigitBits;
        const auto digit =
            static_cast<std::uint32_t>(unit >> level * kDigitBits & (kSlotsPerLevel - 1));
        const std::uint32_t slot = level * kSlotsPerLevel + digit;
        append(slot, index);
        occupied_[slot / 64] |= 1ull << slot % 64;
    }

    /// Moves position_ to the next slot that may have objects, for draining; or to `target`, and
    /// returns false, if there is none up to there.
    bool reach_next_slot(std::uint64_t target) noexcept {
        // The order of the words is the order of time: levels from low to high, and within a level
        // all occupied slots lie after position_'s own digit.
        for (std::uint32_t word = 0; word < occupied_.size(); ++word) {
            if (occupied_[word] == 0) continue;
            const std::uint32_t slot =
                word * 64 + static_cast<std::uint32_t>(std::countr_zero(occupied_[word]));
            const unsigned level = slot / kSlotsPerLevel;
            const unsigned low = level * kDigitBits;
            const std::uint64_t above = position_ >> (low + kDigitBits) << (low + kDigitBits);
            const std::uint64_t unit = above | std::uint64_t{slot % kSlotsPerLevel} << low;
            if (unit > target) break;
            position_ = unit;
            occupied_[word] &= occupied_[word] - 1;
            if (level != 0) moving_ = slot;
            draining_ = true;
            drained_ = filled_[slot] = 0;
            for (unsigned lane = 0; lane < kLanes; ++lane)
                fetch(heads_[slot * kLanes + lane].next);
            return true;
        }
        // Nothing lies between, so each object's highest differing digit stays what it was.
        position_ = target;
        return false;
    }

    [[no_unique_address]] Slots slots_;
    std::uint64_t clock_ms_;        ///< the latest `now`, extended to 64 bits
    std::uint64_t position_;        ///< all slots up to this unit were reached
    bool draining_ = false;         ///< moving_, and the due slot, may have objects
    std::uint32_t moving_ = kNone;  ///< a slot of an upper level, being filed again
    std::uint32_t size_ = 0;
    /// The current lane: to drain, and, for each slot, to fill. Not one count for all slots: arms
    /// that alternate between some of them would fill one lane of each.
    unsigned drained_ = 0;
    std::array<std::uint8_t, kLevels * kSlotsPerLevel> filled_{};
    /// Slots that have had objects since they were reached. They may be empty by now.
    std::array<std::uint64_t, kLevels * kSlotsPerLevel / 64> occupied_{};
    alignas(64) std::array<WheelLink, kLevels * kSlotsPerLevel * kLanes> heads_;
};

}  // namespace postern
