// SPDX-License-Identifier: BSD-3-Clause
// ExpectConfig: sizes and limits of an expectation table.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/types.h"
#include "net/keyed_hash.h"

struct rte_rcu_qsbr;

namespace postern {

struct ExpectConfig {
    unsigned owners = 1;  ///< threads that insert, claim or end: the workers and control
    /// Objects in each owner's pool: pending ones, and ended ones that wait for their grace period.
    std::uint32_t per_owner = 65536;
    std::uint32_t max_live = 65536;  ///< pending at once, of all owners
    /// In addition, those of unproven masters (MasterExpectations::unproven).
    std::uint32_t max_unproven = 0;
    std::uint32_t max_per_zone = 0;  ///< of each conntrack zone; 0 = no limit
    /// Zones with a limit of their own (0 = none).
    std::vector<std::pair<CtZone, std::uint32_t>> zone_limits;
    std::uint32_t max_per_host = 0;    ///< master's source, an IPv6 one by its /64; 0 = no limit
    std::uint32_t max_per_server = 0;  ///< master's destination address; 0 = no limit
    std::uint32_t max_per_security_zone = 0;  ///< the zone of the master; 0 = no limit
    std::uint32_t max_per_destination = 64;   ///< candidates of one key
    std::uint32_t event_ring = 0;             ///< events kept for each owner; 0 = none
    int socket = -1;                          ///< NUMA node, -1 = any
    HashSecret secret;
    Tick start;
    rte_rcu_qsbr* rcu = nullptr;  ///< must outlive the table
};

}  // namespace postern
