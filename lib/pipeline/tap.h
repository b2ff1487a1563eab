// SPDX-License-Identifier: BSD-3-Clause
// Tap: one running capture or trace: its conditions, and for each worker a ring of records.
// TapStore: those that run now.
//
// What: control makes a tap when the command starts; its memory is all there then. It publishes
// the set of all taps; a worker takes the pointer once a turn (tapping.h). A record that finds its
// ring full is lost, and counted. A tap that is removed, or whose time is over, is left out of the
// next set; it is freed after a grace period, when no worker holds the old set.
//
// Used by: the commands `capture` and `trace` (control's thread). Synchronisation: the published
// pointer; the rings. No thread waits for another one: a client that does not read fills its rings,
// nothing more. Cost for a worker without taps: one load a turn, one test a batch.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "base/counter.h"
#include "base/drop_reason.h"
#include "base/result.h"
#include "capture/filter.h"
#include "metrics/metric.h"
#include "pipeline/tap_record.h"
#include "table/event_ring.h"

struct rte_rcu_qsbr;

namespace postern {

struct TapConfig {
    static constexpr std::uint32_t kMaxSnap = 16384;

    PacketFilter filter;
    bool receive = false, drop = false, transmit = false;
    bool trace = false;
    std::bitset<kDropReasons> reasons = ~std::bitset<kDropReasons>();  ///< with `drop`
    std::uint32_t snap = 0;  ///< bytes kept of each packet, at most kMaxSnap
    bool for_top = false;    ///< it counts only, for `top`: there is a place for one of these
};

class Tap {
  public:
    /// Of all rings of a tap together.
    static constexpr std::size_t kMemory = 16u << 20;
    static constexpr std::uint32_t kMinRecords = 128, kMaxRecords = 4096;

    Tap(TapConfig config, unsigned workers);
    Tap(const Tap&) = delete;
    Tap& operator=(const Tap&) = delete;

    /// A worker's part.
    struct alignas(64) OfWorker {
        OfWorker(const TapConfig& config, std::uint32_t records);

        SpscRing<TapRecord> ring;  // worker: w, control: r
        Counter lost;              // worker: w, control: r

        // The worker's own, of one batch:
        Mask matched = 0;
        std::uint64_t began = 0;  ///< the processor's clock
        /// What packets of `matched` were when they came: `snap` bytes each.
        std::array<std::uint16_t, kMaxBurst> kept{};
        std::array<std::uint32_t, kMaxBurst> length{};
        std::unique_ptr<std::uint8_t[]> came;
        std::array<std::uint8_t, kMaxBurst> n_steps{};
        std::unique_ptr<std::array<TapStep, TapRecord::kMaxSteps>[]> steps;  ///< with `trace`
        std::unique_ptr<std::uint8_t[]> memory;                              ///< of the ring
    };

    const TapConfig& config() const noexcept { return config_; }
    OfWorker& of(unsigned worker) noexcept { return *workers_[worker]; }
    unsigned workers() const noexcept { return static_cast<unsigned>(workers_.size()); }
    /// Records that found no room. Control.
    std::uint64_t lost() const noexcept;

  private:
    TapConfig config_;
    std::vector<std::unique_ptr<OfWorker>> workers_;
};

/// The taps of a turn.
struct TapSet {
    static constexpr unsigned kCaptures = 4;         ///< captures and traces
    static constexpr unsigned kMax = kCaptures + 1;  ///< and one for `top`
    std::array<Tap*, kMax> taps{};
    unsigned n = 0;
};

// X(name, kind, unit, help)
#define POSTERN_TAP_METRICS(X)                                      \
    X(captures, gauge, clients, "captures and traces that run now") \
    X(captures_ending, gauge, clients, "ended ones whose memory a worker may still use")

struct TapStoreCounters {
    POSTERN_METRICS(POSTERN_TAP_METRICS)
};

class TapStore {
  public:
    using Clock = std::chrono::steady_clock;

    /// `rcu` outlives this; its readers are the workers.
    TapStore(rte_rcu_qsbr* rcu, unsigned workers) : rcu_(rcu), workers_(workers) {}
    TapStore(const TapStore&) = delete;
    TapStore& operator=(const TapStore&) = delete;

    /// Worker: the taps of a new turn; null: none. Valid until its next quiescent state.
    const TapSet* take() const noexcept {
        // Acquire pairs with the release of publish(): the set is complete.
        return current_.load(std::memory_order_acquire);
    }

    // --- control ---
    /// Starts a tap, which ends by itself at `until`. The Error: there are too many already.
    Result<std::shared_ptr<Tap>> add(TapConfig config, Clock::time_point until);
    /// Ends it, if it has not ended.
    void remove(const Tap& tap);
    /// Whether workers make records for it.
    bool runs(const Tap& tap) const noexcept;
    /// Ends taps whose time is over, and frees ended ones after their grace period. Regularly.
    void turn(Clock::time_point now);
    const TapStoreCounters& counters() const noexcept { return counters_; }

  private:
    struct Running {
        std::shared_ptr<Tap> tap;
        Clock::time_point until;
    };
    struct Ended {
        std::unique_ptr<const TapSet> set;
        std::shared_ptr<Tap> tap;  ///< may be null
        std::uint64_t token;       ///< of the grace period, from rte_rcu_qsbr_start()
    };
    /// Publishes running_ without `ended`.
    void publish(std::shared_ptr<Tap> ended);
    void count_ended() noexcept;

    rte_rcu_qsbr* rcu_;
    unsigned workers_;
    std::vector<Running> running_;
    std::unique_ptr<const TapSet> in_force_;
    std::deque<Ended> ended_;  ///< oldest first
    TapStoreCounters counters_;
    std::atomic<const TapSet*> current_{nullptr};  // control: w, workers: r
};

}  // namespace postern
