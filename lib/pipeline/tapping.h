// SPDX-License-Identifier: BSD-3-Clause
// Tapping: makes records of a worker's packets for the captures and traces that run (tap.h).
//
// What: matches each packet as it comes, keeps its first bytes, follows it through the stages for
// traces, and makes the records when its fate is known. A packet that is handed over is captured
// by the worker of its connection; each of the two traces its part.
// Used by: its worker's turn. Synchronisation: the set of taps, and their rings. Cost: without a
// tap one load a turn and one test a batch; with one, the filter for each packet, and about 200
// cycles and a copy for each record.
#pragma once

#include <cstdint>

#include "conntrack/conn_table.h"
#include "metrics/metric.h"
#include "pipeline/batch.h"
#include "pipeline/reassembly.h"
#include "pipeline/recording.h"
#include "pipeline/stage.h"
#include "pipeline/tap.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_TAPPING_METRICS(X)                                              \
    X(capture_records, counter, events, "records made for captures and traces") \
    X(capture_lost, counter, events, "records lost, because their reader was too slow")

struct TappingCounters {
    POSTERN_METRICS(POSTERN_TAPPING_METRICS)
};

class Tapping {
  public:
    /// References and pointers to objects that outlive it. `store` null: there are never taps.
    Tapping(const TapStore* store, const Batch& batch, const ConnTable& conns,
            const Recording& recording, const Reassembly& reassembly, TappingCounters& counters)
        : store_(store),
          batch_(batch),
          conns_(conns),
          recording_(recording),
          reassembly_(reassembly),
          counters_(counters) {}

    void begin_turn() noexcept { set_ = store_ != nullptr ? store_->take() : nullptr; }
    bool on() const noexcept { return set_ != nullptr; }

    // Only if on(), for each batch in this order:
    /// The batch has begun.
    void begin() noexcept;
    /// The batch consists of packets that were held; their first stages have been run.
    void begin_resumed() noexcept;
    /// Before and after a stage.
    void enter(const StageDesc& stage) noexcept { in_stage_ = batch_[stage.on]; }
    void leave(const StageDesc& stage) noexcept;
    /// The fate of all packets is known; none is sent or freed yet.
    void decided() noexcept;

  private:
    template <class Fn>
    void each_tap(Fn&& fn) noexcept {
        for (unsigned t = 0; t < set_->n; ++t)
            fn(*set_->taps[t], set_->taps[t]->of(conns_.worker().number()));
    }
    bool matches(const TapConfig& config, unsigned i) const noexcept;
    TapFate fate_of(unsigned i) const noexcept;
    DropReason why_of(unsigned i) const noexcept;
    void put(const TapConfig& config, Tap::OfWorker& mine, unsigned i, TapPoint point,
             TapFate fate) noexcept;

    const TapStore* store_;
    const Batch& batch_;
    const ConnTable& conns_;
    const Recording& recording_;
    const Reassembly& reassembly_;
    TappingCounters& counters_;
    const TapSet* set_ = nullptr;  ///< of this turn
    bool resumed_ = false;
    Mask in_stage_ = 0;
};

}  // namespace postern
