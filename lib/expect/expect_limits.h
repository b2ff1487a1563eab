// SPDX-License-Identifier: BSD-3-Clause
// ExpectLimits: how many expectations may be pending: of all, of unproven masters, of a conntrack
// zone, of masters of one source, to one server, from one security zone. The last two see to it
// that no flood takes all: a server may answer any number of forged sources, and so prove their
// masters.
//
// Who: owners count in and out, any thread; control reads. The limit of one destination is the
// chain's (owner.h), those of a master and a class are its lists'.
// Synchronisation: atomics, all relaxed: they limit and inform, they guard no data. Each adds first
// and takes back, so that two threads at a limit cannot both get the last place.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "expect/expect_config.h"
#include "expect/expectation.h"
#include "expect/rte_array.h"
#include "expect/types.h"
#include "table/sketch.h"

namespace postern {

class ExpectLimits {
  public:
    explicit ExpectLimits(const ExpectConfig& config);
    /// False: no memory.
    bool allocate(const ExpectConfig& config);

    /// Where the master's source is counted. All zero: hosts have no limit, or there is no master.
    SketchPlace source_place(CtZone ct_zone, IpAddr source) const noexcept;
    /// Takes a place for `e` everywhere it counts: created, or the limit that it met.
    InsertOutcome reserve(const Expectation& e, const ExpectBooks& books,
                          bool of_unproven) noexcept;
    /// Gives back all of it. For whoever has ended `e`.
    void release(const Expectation& e, ExpectBooks& books) noexcept;
    /// Whether `by` may count in place of `of`, which has ended: then it does.
    static bool take_place(const Expectation& of, ExpectBooks& of_books, const Expectation& by,
                           const ExpectBooks& by_books) noexcept;
    /// Counts what was an unproven master's for its conntrack zone and host from now on. False: one
    /// of them has as many as it may have.
    bool prove(const Expectation& e, ExpectBooks& books) noexcept;
    /// Whether the proven ones would be too many with `more`.
    bool has_no_room_for(std::uint32_t more) const noexcept {
        return live() - unproven() + more > max_live_;
    }
    /// So many more, or fewer, are an unproven master's.
    void count_unproven(std::int32_t change) noexcept {
        unproven_.fetch_add(static_cast<std::uint32_t>(change), std::memory_order_relaxed);
    }

    std::uint32_t live() const noexcept { return live_.load(std::memory_order_relaxed); }
    std::uint32_t unproven() const noexcept { return unproven_.load(std::memory_order_relaxed); }
    std::uint32_t in_zone(CtZone ct_zone) const noexcept {
        return zone_live_[ct_zone.number()].load(std::memory_order_relaxed);
    }

  private:
    SketchPlace server_place(const Expectation& e) const noexcept;
    bool count_host(SketchPlace place, std::uint32_t max) noexcept;
    void uncount_host(SketchPlace place) noexcept;
    InsertOutcome open_account(const Expectation& e) noexcept;
    void close_account(const Expectation& e) noexcept;

    HashSecret secret_;
    std::uint32_t max_live_;
    std::uint32_t max_unproven_;
    std::uint32_t max_per_host_;
    std::uint32_t max_per_server_;
    std::uint32_t max_per_security_zone_;
    std::vector<std::uint32_t> max_per_zone_;  // by zone; 0 = none
    using HostCount = std::atomic<std::uint32_t>;
    Sketch<HostCount, RteArray<HostCount>> hosts_;  // sources and servers
    alignas(64) std::atomic<std::uint32_t> live_{0};
    // Of these, the unproven masters' own. The owners of the expectations write it, so it may lag
    // behind live_ by a turn: one that a child has claimed is still in.
    std::atomic<std::uint32_t> unproven_{0};
    alignas(64) std::unique_ptr<std::atomic<std::uint32_t>[]> zone_live_;
    std::array<std::atomic<std::uint32_t>, kMaxZones> security_zone_live_{};
};

}  // namespace postern
