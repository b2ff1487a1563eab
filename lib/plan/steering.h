// SPDX-License-Identifier: BSD-3-Clause
// Steering: the home worker of each connection, and the secret of all keyed hashes.
//
// Drawn at start and the same for every plan: tables are filed by the secret, and devices have the
// key and the indirection table. Written before any worker runs, then read only.
#pragma once

#include <array>
#include <cstdint>

#include "base/types.h"
#include "net/keyed_hash.h"
#include "net/packet.h"
#include "net/rss.h"
#include "plan/port_plan.h"

namespace postern {

struct Steering {
    static constexpr unsigned kRetaSize = 128;

    HashSecret secret;
    unsigned workers = 1;
    SymmetricRss rss = SymmetricRss::draw(0);  ///< the devices' hash, with their table
    /// Whether devices select the home worker (`rss`). Otherwise the secret hash does, and the
    /// device's choice only determines where a packet is parsed.
    bool by_rss = false;
    /// Home worker by the low bits of PacketInfo::rss; NICs get the same table.
    std::array<WorkerId, kRetaSize> reta{};

    void set_workers(unsigned n) noexcept {
        workers = n;
        for (unsigned i = 0; i < kRetaSize; ++i)
            reta[i] = WorkerId::from(i % n);
    }
    WorkerId home(std::uint32_t hash) const noexcept { return reta[hash % kRetaSize]; }
    /// Of the connection with this tuple; its key class as in PacketInfo.
    WorkerId home_of(const Tuple& tuple, CtZone ct_zone, std::uint8_t key_class) const noexcept {
        return home(steering_hash(tuple, key_class, {&secret, ct_zone, nullptr, rss_or_null()}));
    }
    /// Input of parse_packet() for frames received on this port.
    ParseContext parse_context(const PortPlan& port) const noexcept {
        return {&secret,
                port.ct_zone,
                port.vlan_zones.empty() ? nullptr : port.vlan_zones.data(),
                rss_or_null(),
                port.routing_headers,
                &port.plain};
    }

  private:
    const SymmetricRss* rss_or_null() const noexcept { return by_rss ? &rss : nullptr; }
};

}  // namespace postern
