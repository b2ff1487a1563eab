// SPDX-License-Identifier: BSD-3-Clause
// The conntrack zones of a bridge, and whether they agree with its security zones.
#include <algorithm>
#include <map>
#include <set>

#include "config/loader.h"

namespace postern::config {

std::set<ZoneId> zones_at(const PortSpec& port) {
    std::set<ZoneId> out{port.zone};
    for (const auto& [vlan, zone] : port.zone_of_vlan)
        out.insert(zone);
    return out;
}

void Loader::conntrack_zones(Map& map, BridgeSpec& bridge) {
    constexpr KeyRange kZone{0, kCtZones - 1};
    const std::size_t index = spec_.bridges.size();
    const auto own = map.get("ct_zone");
    const auto vlans = map.get("vlan_zones");
    const auto word = vlans ? vlans->scalar() : std::nullopt;
    const bool per_vlan = word && *word == "per_vlan";
    bridge.ct_zone = CtZone::from(index);
    // Outside the numbers of bridges without zones of their own, and of other bridges' VLANs.
    if (per_vlan) bridge.ct_zone = CtZone::from((index + 1) * kVlans);
    if (own) own->read(bridge.ct_zone, per_vlan ? KeyRange{0, kCtZones - kVlans} : kZone);
    if (per_vlan) {
        for (unsigned id = 0; id < kVlans; ++id)
            bridge.vlan_zones.push_back(CtZone::from(bridge.ct_zone.number() + id));
    } else if (word) {
        vlans->error(
            "expected per_vlan, or a mapping of VLAN ids to zones such as {100: 1}, found " +
            vlans->found());
    } else if (vlans) {
        bridge.vlan_zones.assign(kVlans, bridge.ct_zone);
        Map of(*vlans);
        for (const auto& item : of.items()) {
            const auto id = item.key.number({1, kVlans - 2});
            const auto zone = item.value.number(kZone);
            if (id && zone) bridge.vlan_zones[*id] = CtZone::from(*zone);
        }
    } else if (!own && leads_somewhere(bridge)) {
        part_vlans(bridge, index);
    }
}

/// Whether its ports and their zones are valid: in a file with errors they may not be.
bool Loader::leads_somewhere(const BridgeSpec& bridge) const {
    return std::ranges::all_of(bridge.ports, [&](PortId port) {
        return port.number() < spec_.ports.size() &&
               std::ranges::all_of(zones_at(spec_.ports[port.number()]),
                                   [&](ZoneId zone) { return zone.number() < spec_.zones.size(); });
    });
}

/// The edges by which connections of this VLAN (0: of frames without a tag) are distinguished.
Loader::Sides Loader::sides_of(const BridgeSpec& bridge, std::uint16_t vlan) const {
    const auto side = [&](int end) {
        const PortSpec& port = spec_.ports[bridge.ports[end].number()];
        ZoneId id = port.zone;
        for (const auto& [of, zone] : port.zone_of_vlan)
            if (of == vlan) id = zone;
        const ZoneSpec& zone = spec_.zones[id.number()];
        if (bridge.sides_by_port) return "port " + port.name + ", zone " + zone.name;
        return zone.loose.empty() ? "zone " + zone.name : "loose " + zone.loose;
    };
    Sides out(side(0), side(1));
    if (out.second < out.first) std::swap(out.first, out.second);
    return out;
}

/// The VLANs of a bridge with zones of their own; first 0, for all others.
std::set<std::uint16_t> Loader::vlans_of(const BridgeSpec& bridge) const {
    std::set<std::uint16_t> out{0};
    for (const PortId port : bridge.ports)
        for (const auto& [vlan, zone] : spec_.ports[port.number()].zone_of_vlan)
            out.insert(vlan);
    for (std::size_t vlan = 0; vlan < bridge.vlan_zones.size(); ++vlan)
        if (bridge.vlan_zones[vlan] != bridge.ct_zone) out.insert(static_cast<std::uint16_t>(vlan));
    return out;
}

/// Equal addresses of VLANs between different zones (DHCP, link-local) belong to different hosts.
/// So these VLANs have conntrack zones of their own, one for each pair of sides. Numbered like
/// those of `per_vlan`.
void Loader::part_vlans(BridgeSpec& bridge, std::size_t index) {
    std::map<Sides, CtZone> zones{{sides_of(bridge, 0), bridge.ct_zone}};
    for (const std::uint16_t vlan : vlans_of(bridge)) {
        const auto [at, fresh] =
            zones.try_emplace(sides_of(bridge, vlan), CtZone::from((index + 1) * kVlans + vlan));
        if (at->second == bridge.ct_zone) continue;
        if (bridge.vlan_zones.empty()) bridge.vlan_zones.assign(kVlans, bridge.ct_zone);
        bridge.vlan_zones[vlan] = at->second;
    }
}

/// A connection stays between the zones of its first packet. If bridges, or VLANs of one, share a
/// conntrack zone, its packets may cross any of them, so those should lead from and to the same
/// zones.
void Loader::advise_of_shared_zones() {
    struct First {
        std::size_t bridge;
        std::uint16_t vlan;
        Sides sides;
    };
    std::map<CtZone, First> firsts;
    for (std::size_t i = 0; i < spec_.bridges.size(); ++i) {
        const BridgeSpec& b = spec_.bridges[i];
        for (const std::uint16_t vlan : vlans_of(b)) {
            const CtZone zone = b.vlan_zones.empty() ? b.ct_zone : b.vlan_zones[vlan];
            const Sides sides = sides_of(b, vlan);
            const auto [at, fresh] = firsts.try_emplace(zone, First{i, vlan, sides});
            const First& first = at->second;
            if (fresh || first.sides == sides) continue;
            const auto named = [](std::uint16_t id) {
                return id == 0 ? std::string() : "VLAN " + std::to_string(id) + " ";
            };
            report_.warning(
                b.where, "bridges[" + std::to_string(i) + "]",
                named(vlan) + "shares conntrack zone " + std::to_string(zone.number()) + " with " +
                    (first.bridge != i ? named(first.vlan) + (first.vlan != 0 ? "of " : "") +
                                             "bridges[" + std::to_string(first.bridge) + "]"
                     : first.vlan == 0 ? "frames of other VLANs"
                                       : "VLAN " + std::to_string(first.vlan)) +
                    ", but leads between other zones: a connection that uses both is dropped "
                    "(wrong_zone), and equal addresses are taken for the same host\'s; give it a "
                    "conntrack zone of its own, or make the zones `sides: loose`" +
                    (b.sides_by_port ? ", without `sides: port`" : ""));
            break;
        }
    }
}

}  // namespace postern::config
