// SPDX-License-Identifier: BSD-3-Clause
// PortPlan: the configuration's decisions about the packets of one port. Part of a Plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/types.h"
#include "net/packet.h"

namespace postern {

/// Verification of a port's checksums.
enum class Checksums : std::uint8_t {
    off,
    nic,  ///< computed if the device reports one as wrong
    full  ///< and if it reports nothing
};

/// Properties and output port of a port's packets.
struct PortPlan {
    std::string name;
    bool has_peer = false;
    PortId peer;        ///< transparent mode: the other port of the bridge
    ZonePair zones;     ///< of received packets; without a peer, back to its own edge
    PlainImages plain;  ///< of untagged packets; see fill_images()
    std::vector<ZonePair> vlan_pairs;  ///< the same by VLAN id; empty: tags do not matter
    CtZone ct_zone;                    ///< of untagged frames
    std::vector<CtZone> vlan_zones;    ///< by VLAN id; empty: tags do not matter
    Checksums checksums = Checksums::nic;
    std::uint8_t routing_headers = 0;  ///< ParseContext::routing_headers
    bool pass_all_non_ip = false;
    bool pass_bpdu = false;   ///< spanning tree
    bool pass_cisco = false;  ///< CDP and similar protocols
    bool pass_isis = false;
    bool pass_nd = false;  ///< IPv6 neighbour discovery and multicast listeners
    std::vector<std::uint16_t> pass_ethertypes;  ///< sorted

    /// Call after `zones` and `ct_zone` are set.
    void fill_images(PortId own) noexcept { plain = plain_images(own, ct_zone, zones); }
    bool passes(std::uint16_t ethertype) const noexcept;
    const ZonePair& zones_of(std::uint16_t tci) const noexcept {
        return vlan_pairs.empty() ? zones : vlan_pairs[vlan_id(tci)];
    }
};

}  // namespace postern
