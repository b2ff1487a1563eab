// SPDX-License-Identifier: BSD-3-Clause
// ExpectLimits: limits of pending expectations: in all, of unproven masters, of a conntrack zone,
// of masters of one source, to one server, from one security zone. The last two prevent a flood
// from taking everything: a server may answer any number of forged sources, and so prove their
// masters.
//
// Used by: owners, on any thread, which count; control reads. The limit of one destination is the
// chain's (owner.h), those of a master and a class are its lists'. Synchronisation: atomics, all
// relaxed: they limit and inform, they guard no data. Each adds first and subtracts on failure, so
// that two threads at a limit cannot both get the last unit.
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

    /// The counter of the master's source. All zero: hosts have no limit, or there is no master.
    SketchPlace source_place(CtZone ct_zone, const IpAddr& source) const noexcept;
    /// Counts `e` everywhere it counts. Returns created, or the limit that it met.
    InsertOutcome reserve(const Expectation& e, const ExpectBooks& books,
                          bool of_unproven) noexcept;
    /// Uncounts it. For the thread that has ended `e`.
    void release(const Expectation& e, ExpectBooks& books) noexcept;
    /// Returns whether `by` may count in place of `of`, which has ended; if so, it does.
    static bool take_place(const Expectation& of, ExpectBooks& of_books, const Expectation& by,
                           const ExpectBooks& by_books) noexcept;
    /// Counts the expectation of a former unproven master for its conntrack zone and host from now
    /// on. False: one of their limits is reached.
    bool prove(const Expectation& e, ExpectBooks& books) noexcept;
    /// Whether `more` would exceed the limit of proven ones.
    bool has_no_room_for(std::uint32_t more) const noexcept {
        return live() - unproven() + more > max_live_;
    }
    /// Adds to the number of unproven masters' expectations.
    void count_unproven(std::int32_t change) noexcept {
        unproven_.fetch_add(static_cast<std::uint32_t>(change), std::memory_order_relaxed);
    }

    std::uint32_t live() const noexcept { return live_.load(std::memory_order_relaxed); }
    std::uint32_t unproven() const noexcept { return unproven_.load(std::memory_order_relaxed); }
    std::uint32_t in_zone(CtZone ct_zone) const noexcept {
        return zone_live_[ct_zone.number()].load(std::memory_order_relaxed);
    }

  private:
    SketchPlace host_place(CtZone ct_zone, std::uint8_t role, Family family,
                           std::array<std::uint64_t, 2> halves) const noexcept;
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
    // Of these, the unproven masters' own. The owners write it, so it may lag behind live_ by a
    // turn: one that a child has claimed is still included.
    std::atomic<std::uint32_t> unproven_{0};
    alignas(64) std::unique_ptr<std::atomic<std::uint32_t>[]> zone_live_;
    std::array<std::atomic<std::uint32_t>, kMaxZones> security_zone_live_{};
};

}  // namespace postern
