// SPDX-License-Identifier: BSD-3-Clause
// RefusedMasters: connections that the rules of a new plan refuse, so that their children end too.
//
// What: two sets of ids. Workers tell each other which masters they have ended; what a worker hears
// goes into the set that collects, and a pass over its table ends the children of those in the
// other one. Who: Tracking fills it, Sweep works it off; one worker. Memory is fixed; who would add
// to a full set waits.
#pragma once

#include <array>
#include <cstdint>
#include <utility>

#include "base/types.h"

namespace postern {

class RefusedMasters {
  public:
    /// Ids that one pass over the table can have.
    static constexpr std::uint32_t kMost = 1024;

    std::uint32_t room() const noexcept { return kMost - collecting_->n; }
    /// Only while there is room.
    void add(ConnId id) noexcept { collecting_->add(id); }
    /// What was collected is what contains() means from now on. False: nothing was.
    bool begin_pass() noexcept {
        if (collecting_->n == 0) return false;
        std::swap(collecting_, current_);
        *collecting_ = {};
        return true;
    }
    bool contains(ConnId id) const noexcept { return current_->contains(id); }

  private:
    /// Open addressing, at most half full: a probe is short, and there is always an end to it.
    struct Set {
        static constexpr std::uint32_t kPlaces = 2 * kMost;
        std::array<ConnId, kPlaces> ids{};
        std::uint32_t n = 0;

        static std::uint32_t first(ConnId id) noexcept {
            // The upper bits depend on all of the index.
            return (id.index * 0x9e3779b1u >> 16 ^ id.worker.number()) % kPlaces;
        }
        void add(ConnId id) noexcept {
            std::uint32_t at = first(id);
            while (ids[at] && ids[at] != id)
                at = (at + 1) % kPlaces;
            n += ids[at] ? 0 : 1;
            ids[at] = id;
        }
        bool contains(ConnId id) const noexcept {
            std::uint32_t at = first(id);
            while (ids[at] && ids[at] != id)
                at = (at + 1) % kPlaces;
            return static_cast<bool>(ids[at]);
        }
    };
    std::array<Set, 2> sets_;
    Set* collecting_ = &sets_[0];
    Set* current_ = &sets_[1];
};

}  // namespace postern
