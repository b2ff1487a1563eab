// SPDX-License-Identifier: BSD-3-Clause
#include "replay_sides.h"

#include <algorithm>
#include <cstdio>

namespace postern {
namespace {

std::optional<std::array<std::uint8_t, 6>> parse_mac(const std::string& text) {
    std::array<std::uint8_t, 6> mac;
    unsigned v[6];
    char rest;
    if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%c", &v[0], &v[1], &v[2], &v[3], &v[4],
                    &v[5], &rest) != 6)
        return std::nullopt;
    for (int i = 0; i < 6; ++i)
        mac[i] = static_cast<std::uint8_t>(v[i]);
    return mac;
}

}  // namespace

Result<Sides> Sides::create(const ReplayOptions& o, const Spec& spec, bool by_port) {
    Sides s;
    for (const auto& text : o.inside_prefixes) {
        const auto p = Prefix::parse(text);
        if (!p) return Error{"--inside: \"" + text + "\" is not a prefix like 192.0.2.0/24"};
        s.prefixes_.push_back(*p);
    }
    if (!o.inside_mac.empty()) {
        s.mac_ = parse_mac(o.inside_mac);
        if (!s.mac_)
            return Error{"--inside-mac: \"" + o.inside_mac +
                         "\" is not an address like 02:00:00:00:00:01"};
    }
    if (spec.bridges.empty()) return Error{"the configuration has no bridge to replay over"};
    // The port whose zone is called "inside", if there is one, is inside; else the first.
    for (const BridgeSpec& bridge : spec.bridges) {
        Ends ends{bridge.ports[0], bridge.ports[1]};
        if (spec.zones[spec.ports[ends.outside.number()].zone.number()].name == "inside")
            std::swap(ends.inside, ends.outside);
        s.bridges_.push_back(ends);
    }
    if (s.bridges_.size() == 1) s.chosen_ = s.bridges_.data();
    if (!o.bridge.empty()) {
        for (const Ends& b : s.bridges_)
            for (const PortId p : {b.inside, b.outside})
                if (spec.ports[p.number()].name == o.bridge) s.chosen_ = &b;
        if (s.chosen_ == nullptr)
            return Error{"--bridge: \"" + o.bridge + "\" is not a port of a bridge"};
    }
    if (!o.in_port.empty()) {
        if (by_port) return Error{"--in-port: the captures state the ports already"};
        if (!o.bridge.empty() || !o.inside_mac.empty() || !o.inside_prefixes.empty())
            return Error{"--in-port excludes --bridge, --inside and --inside-mac"};
        for (const Ends& b : s.bridges_)
            for (const PortId p : {b.inside, b.outside})
                if (spec.ports[p.number()].name == o.in_port) s.all_ = p;
        if (!s.all_) return Error{"--in-port: \"" + o.in_port + "\" is not a port of a bridge"};
        return s;
    }
    const bool prefixes =
        std::ranges::any_of(spec.zones, [](const ZoneSpec& z) { return !z.prefixes.empty(); });
    if (s.chosen_ == nullptr && !by_port && !prefixes)
        return Error{
            "the configuration has " + std::to_string(s.bridges_.size()) +
            " bridges, and nothing tells by which one packets came: give a capture for each port "
            "(" +
            spec.ports[s.bridges_[0].inside.number()].name +
            "=FILE …), name a bridge by one of its ports "
            "(--bridge " +
            spec.ports[s.bridges_[0].inside.number()].name + "), or give zones prefixes"};
    return s;
}

Sides::Place Sides::at(PortId port) const {
    for (const Ends& b : bridges_)
        if (b.inside == port || b.outside == port) return {&b, port};
    return {};
}

Sides::Place Sides::by_zones(const IpAddr& from, const IpAddr& to, std::uint16_t tci,
                             const Plan& plan) const {
    const auto zone_of = [&](const IpAddr& a) -> std::optional<ZoneId> {
        if (!plan.zone_prefixes) return std::nullopt;
        return plan.zone_prefixes->zone_of(a.bytes.data(), a.family);
    };
    const auto source = zone_of(from), destination = zone_of(to);
    if (!source && !destination) return {};
    const auto edge_fits = [&](EdgeId edge, const std::optional<ZoneId>& zone) {
        return !zone || plan.edges.zone_of(edge) == *zone;
    };
    Place found;
    for (const Ends& b : bridges_) {
        Place here;
        for (const PortId p : {b.inside, b.outside}) {
            const auto& zones = plan.ports[p.number()].zones_of(tci);
            if (!edge_fits(zones.from, source) || !edge_fits(zones.to, destination)) continue;
            here = here.bridge == nullptr ? Place{&b, p} : Place{&b, std::nullopt};
        }
        if (here.bridge == nullptr) continue;
        if (found.bridge != nullptr) return {};  // several could be
        found = here;
    }
    return found;
}

Sides::Place Sides::by_macs(const Mac& from, const Mac& to) const {
    if (const auto it = ports_.find(from); it != ports_.end()) return at(it->second);
    if (const auto it = ports_.find(to); it != ports_.end()) {
        const Place there = at(it->second);
        return {there.bridge,
                there.bridge->inside == it->second ? there.bridge->outside : there.bridge->inside};
    }
    return {};
}

bool Sides::inside(const Mac& from, const Mac& to,
                   const std::optional<std::pair<IpAddr, IpAddr>>& ip) {
    if (mac_) return from == *mac_;
    if (!ip) return !prefixes_.empty() || first_speaker(macs_, from, to);
    if (!prefixes_.empty())
        return std::ranges::any_of(prefixes_,
                                   [&](const Prefix& p) { return p.contains(ip->first); });
    return first_speaker(addresses_, ip->first, ip->second);
}

std::optional<PortId> Sides::port_of(Bytes frame, const PacketInfo& parsed, const Plan& plan) {
    if (all_) return all_;
    Mac src{}, dst{};
    if (frame.size() >= 12) {
        std::copy_n(frame.begin(), 6, dst.begin());
        std::copy_n(frame.begin() + 6, 6, src.begin());
    }
    std::optional<std::pair<IpAddr, IpAddr>> ip;
    if (parsed.kind != L4Kind::unparsed) {
        // The outer addresses: for an ICMP error, its sender's.
        const std::uint8_t* p = frame.data() + parsed.l3_off;
        ip = parsed.family == Family::ipv4 ? std::pair{IpAddr::v4(p + 12), IpAddr::v4(p + 16)}
                                           : std::pair{IpAddr::v6(p + 8), IpAddr::v6(p + 24)};
    }
    Place place{chosen_, std::nullopt};
    if (chosen_ == nullptr) {
        if (ip) place = by_zones(ip->first, ip->second, parsed.vlan, plan);
        if (place.bridge == nullptr) place = by_macs(src, dst);
        if (place.bridge == nullptr) return std::nullopt;
    }
    PortId port;
    if (place.port && !mac_ && prefixes_.empty())
        port = *place.port;
    else
        port = inside(src, dst, ip) ? place.bridge->inside : place.bridge->outside;
    if (chosen_ == nullptr) ports_[src] = port;
    return port;
}

}  // namespace postern
