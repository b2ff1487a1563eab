// SPDX-License-Identifier: BSD-3-Clause
// Recording: what a worker reports of packets, for logs.
//
// What: a rule, the default or a drop reason with a LogRate makes a record of each packet that it
// decides about: an accepting rule of the first packet of each connection, the others of each
// packet. Records beyond the rate are not made, and counted; those that find the ring full are
// lost, and counted.
//
// Used by: its worker, when a connection has begun and in finish(). Synchronisation: the ring,
// which control reads (app/packet_log.h), and counters. Cost: without `log` one test a burst with
// dropped packets, and one for each new connection.
#pragma once

#include <array>
#include <cstdint>

#include "base/log_rate.h"
#include "conntrack/conn_table.h"
#include "metrics/metric.h"
#include "pipeline/batch.h"
#include "pipeline/packet_record.h"
#include "pipeline/rule_counts.h"
#include "table/event_ring.h"

namespace postern {

// X(name, kind, unit, help)
#define POSTERN_RECORDING_METRICS(X)                                       \
    X(log_records, counter, events, "records of packets for the log")      \
    X(log_limited, counter, events, "records not made, because of a rate") \
    X(log_lost, counter, events, "records lost, because control was too slow")

struct RecordingCounters {
    POSTERN_METRICS(POSTERN_RECORDING_METRICS)
};

class Recording {
  public:
    /// `capacity`: records until control reads them; 0: none are made. References outlive it.
    Recording(Batch& batch, const ConnTable& conns, RuleCounts& rules, RecordingCounters& counters,
              std::uint32_t capacity)
        : batch_(batch), conns_(conns), rules_(rules), counters_(counters), ring_(capacity) {}

    /// A rule that logs has accepted packet i, with or without a new connection.
    void log_accepted(unsigned i, RuleId rule) noexcept;
    /// A rule, or the default, rejects packet i. Call before the packet becomes the answer.
    void log_rejected(unsigned i) noexcept;
    /// The packets of the batch that will be freed. Call if the plan logs drops.
    void log_dropped() noexcept;

    /// Fills in all of `record` for packet i, whose headers are in the first `readable` bytes at
    /// `data`; 0: they are not there, and it gets no addresses. Its own are in Batch::data, until
    /// it becomes an answer. Does not touch the packet otherwise.
    void describe(PacketRecord& record, unsigned i, Fate fate, const std::uint8_t* data,
                  std::uint32_t readable, std::uint32_t frame_bytes) const noexcept;

    /// Control reads it.
    SpscRing<PacketRecord>& ring() noexcept { return ring_; }

  private:
    LogRate rate_of(unsigned i, LogBudget*& budget) noexcept;
    void log(unsigned i, Fate fate, LogRate rate, LogBudget& budget) noexcept;

    Batch& batch_;
    const ConnTable& conns_;
    RuleCounts& rules_;
    RecordingCounters& counters_;
    std::array<LogBudget, kDropReasons> of_reasons_;
    SpscRing<PacketRecord> ring_;
};

}  // namespace postern
