// SPDX-License-Identifier: BSD-3-Clause
// IPFIX (RFC 7011) to a collector: flow records, and records of packets.
//
// Over UDP, from a socket that never waits. Templates are sent again and again, since a collector
// that has been restarted has lost them (RFC 7011 section 8.4). Fields of flows in the reply
// direction are "reverse" elements (RFC 5103). Control's thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "config/spec/log.h"
#include "conntrack/event.h"
#include "log/flow_rows.h"
#include "log/log_outputs.h"
#include "log/record_rows.h"

namespace postern {

class IpfixExporter {
  public:
    using Clock = std::chrono::steady_clock;

    /// An error: the collector's address cannot be reached from here, or is of a family that this
    /// machine lacks.
    static Result<IpfixExporter> open(const IpfixSpec& spec, LogOutputCounters& counters);
    /// The error that open() would return.
    static Result<void> can_open(const IpfixSpec& spec);
    IpfixExporter(IpfixExporter&&) noexcept;
    IpfixExporter& operator=(IpfixExporter&&) noexcept;
    ~IpfixExporter();

    /// Keeps a record until flush(), or until a message is full.
    void add(const Plan& plan, const ConnEvent& event, const TickWall& clock);
    void add(const Plan& plan, const PacketRecord& record, const TscWall& clock);
    /// Sends what add() has kept.
    void flush(Clock::time_point now = Clock::now());

  private:
    struct Session;
    explicit IpfixExporter(std::unique_ptr<Session> session);
    std::unique_ptr<Session> session_;
};

/// RFC 7011 section 3.4.2: flowEndReason of a connection.
std::uint8_t flow_end_reason(const Conn& conn, ConnEnd why) noexcept;

}  // namespace postern
