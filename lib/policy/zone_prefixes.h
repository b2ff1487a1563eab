// SPDX-License-Identifier: BSD-3-Clause
// ZonePrefixes: the security zone of an address, by the prefixes of zones. The longest prefix over
// all zones decides.
//
// Built by control with the plan; needs the EAL's heap. Read by all workers without locks, for
// first packets, first answers and ICMP errors. Cost: a walk down DPDK's prefix tree (rte_rib), a
// line of memory for each branch.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "net/addr.h"

struct rte_rib;
struct rte_rib6;

namespace postern {

class ZonePrefixes {
  public:
    /// Each prefix belongs to at most one zone.
    static Result<std::unique_ptr<ZonePrefixes>> build(
        const std::vector<std::pair<Prefix, ZoneId>>& prefixes);
    ~ZonePrefixes();
    ZonePrefixes(const ZonePrefixes&) = delete;
    ZonePrefixes& operator=(const ZonePrefixes&) = delete;

    /// Nothing for an address without a prefix, and for addresses that may be in any zone: the
    /// unspecified one and link-local ones.
    std::optional<ZoneId> zone_of(const std::uint8_t* address, Family family) const noexcept;

  private:
    ZonePrefixes() = default;
    rte_rib* v4_ = nullptr;
    rte_rib6* v6_ = nullptr;
};

}  // namespace postern
