// SPDX-License-Identifier: BSD-3-Clause
// Records of packets as rows: for log files, syslog, the journal and `log follow`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "control/command.h"
#include "net/addr.h"
#include "pipeline/packet_record.h"
#include "plan/plan.h"

namespace postern {

/// Converts the processor's clock to the wall clock.
class TscWall {
  public:
    TscWall(std::uint64_t tsc, std::uint64_t hz, std::int64_t wall_us) noexcept
        : tsc_(tsc), hz_(hz), wall_us_(wall_us) {}
    static TscWall now() noexcept;
    std::int64_t us(std::uint64_t tsc) const noexcept;

  private:
    std::uint64_t tsc_, hz_;
    std::int64_t wall_us_;
};

/// RFC 3339, UTC, with microseconds.
std::string time_text(std::int64_t wall_us);

/// The name of a rule, also of one that this plan lacks; `default`; nothing if no rule decided.
std::optional<std::string> rule_of(const Plan& plan, const PacketRecord& record);
IpAddr source_of(const PacketRecord& record) noexcept;
IpAddr destination_of(const PacketRecord& record) noexcept;

Json record_row(const Plan& plan, const PacketRecord& record, const TscWall& clock);

}  // namespace postern
