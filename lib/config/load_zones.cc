// SPDX-License-Identifier: BSD-3-Clause
// `zones`, `ports` and `bridges`. (Their conntrack zones: load_ct_zones.cc.)
#include <algorithm>
#include <set>

#include "config/loader.h"
#include "config/read_keys.h"
#include "net/ipv6.h"
#include "net/llc.h"

namespace postern::config {

void Loader::zones(const Value& v) {
    zone_names_.quiet_when_empty = true;
    const auto items = v.list();
    if (items.empty() && (v.is_null() || v.is_list())) v.error("expected at least one zone");
    for (const auto& item : items)
        zone(item);
    if (items.size() > kMaxZones)
        v.error(std::to_string(items.size()) + " zones (expected at most " +
                std::to_string(kMaxZones) + ")");
}

void Loader::zone(const Value& item) {
    ZoneSpec zone;
    std::optional<Map> map;
    std::optional<Value> name = item;
    if (item.is_map()) {
        map.emplace(item);
        read_keys(*map, zone);
        name = map->require("name");
    }
    const auto text = name ? name->name() : std::nullopt;
    if (text && *text == "any")
        name->error("\"any\" cannot be a zone's name; in rules it means every zone");
    if (text) zone.name = *text;
    if (map) {
        zone_settings(*map, zone);
        map->finish();
    }
    if (!text || *text == "any") return;
    zone_names_.add(*name, *text);
    spec_.zones.push_back(std::move(zone));
}

void Loader::zone_settings(Map& map, ZoneSpec& zone) {
    if (auto sides = map.get("sides")) {
        // `loose` is the set without a name; {loose: NAME} is another.
        if (sides->is_map()) {
            Map of(*sides);
            if (auto set = of.get("loose"))
                zone.loose = set->name().value_or("");
            else
                sides->error("\"loose\" is missing (expected the name of a set of zones)");
            of.finish();
        } else if (const auto word = sides->scalar(); word && *word == "loose") {
            zone.loose = "loose";
        } else if (!word || *word != "strict") {
            sides->error("expected strict, loose, or {loose: NAME}, found " + sides->found());
        }
    }
    if (auto prefixes = map.get("prefixes"))
        for (const auto& item : prefixes->one_or_more())
            if (const auto prefix = item.prefix()) {
                if (!zone_prefixes_.emplace(prefix->to_string()).second)
                    item.error("prefix " + prefix->to_string() + " is in a zone already");
                zone.prefixes.push_back(*prefix);
            }
}

namespace {
/// Normal form of a `device:` text, for comparison: a PCI address in full, or a virtual device's
/// name.
std::string device_identity(const PortSpec& port) {
    if (!port.is_pci()) return port.device.substr(0, port.device.find(','));
    std::string id = port.device.size() == 12 ? port.device : "0000:" + port.device;
    for (auto& c : id)
        if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    return id;
}
}  // namespace

void Loader::ports(const Value& v) {
    const auto items = v.list();
    if (items.empty() && (v.is_null() || v.is_list())) v.error("expected at least one port");
    if (items.size() > kMaxPorts)
        v.error(std::to_string(items.size()) + " ports (expected at most " +
                std::to_string(kMaxPorts) + ")");
    port_names_.quiet_when_empty = true;
    std::set<std::string> devices;
    for (const auto& item : items) {
        PortSpec port;
        port.where = item.mark();
        Map map(item);
        read_keys(map, port);
        if (auto name = map.require("name"))
            if (auto s = name->name()) {
                port.name = *s;
                port_names_.add(*name, *s);
            }
        if (auto device = map.require("device"))
            if (auto s = device->text(1024)) {
                port.device = *s;
                if (s->find_first_of(" \t") != std::string::npos)
                    device->error("a device has no spaces, found " + in_quotes(*s));
                else if (!devices.insert(device_identity(port)).second)
                    device->error("device " + in_quotes(device_identity(port)) + " is given twice");
            }
        if (auto zone = map.require("zone"))
            if (auto id = zone_names_.find(*zone)) port.zone = ZoneId::from(*id);
        if (auto vlans = map.get("zone_of_vlan")) {
            Map of(*vlans);
            const About& ids = map.about("zone_of_vlan");
            for (const auto& vlan : of.items()) {
                const auto id = vlan.key.number({ids.min_key, ids.max_key});
                const auto zone = zone_names_.find(vlan.value);
                if (id && zone)
                    port.zone_of_vlan.emplace_back(static_cast<std::uint16_t>(*id),
                                                   ZoneId::from(*zone));
            }
        }
        if (auto queues = map.get("queues")) {
            // A queue that no worker polls would lose its share of the packets.
            queues->read(port.queues, {map.about("queues").range.min, spec_.workers.count});
        }
        map.finish();
        if (spec_.ports.size() < kMaxPorts) spec_.ports.push_back(std::move(port));
    }
}

void Loader::bridges(const Value& v) {
    std::set<std::size_t> bridged;
    for (const auto& item : v.list()) {
        BridgeSpec bridge;
        bridge.where = item.mark();
        bridge.pass.ethertypes = {0x0806};
        bridge.pass.neighbour_discovery = true;
        Map map(item);
        read_keys(map, bridge);
        if (auto ports = map.require("ports")) {
            const auto ends = ports->list();
            if (ends.size() != 2) {
                ports->error("expected exactly two ports, found " + std::to_string(ends.size()));
            } else {
                for (std::size_t i = 0; i < 2; ++i) {
                    const auto id = port_names_.find(ends[i]);
                    if (!id) continue;
                    if (!bridged.insert(*id).second)
                        ends[i].error("port " + ends[i].found() + " is already in a bridge");
                    bridge.ports[i] = PortId::from(*id);
                }
            }
        }
        if (auto p = map.get("pass")) bridge.pass = pass(*p, map.about("pass"));
        if (auto r = map.get("routing_headers")) {
            const About& about = map.about("routing_headers");
            static constexpr std::uint8_t kNumbers[] = {ipv6_routing::mobile,
                                                        ipv6_routing::segments};
            for (const auto& type : r->scalar() ? r->one_or_more() : r->list())
                if (auto t = type.choice(about.words, std::string(about.noun)))
                    bridge.routing_headers |= ipv6_routing::bit(kNumbers[*t]);
        }
        conntrack_zones(map, bridge);
        if (auto i = map.choice("sides")) bridge.sides_by_port = *i == 1;
        map.finish();
        spec_.bridges.push_back(std::move(bridge));
    }
    std::size_t told_apart = 0;  // edges: one for each zone of each port
    for (const BridgeSpec& b : spec_.bridges)
        for (const PortId port : b.ports)
            if (b.sides_by_port && leads_somewhere(b))
                told_apart += zones_at(spec_.ports[port.number()]).size();
    if (spec_.zones.size() + told_apart > kMaxEdges)
        v.error("zones and ports of bridges with `sides: port` are at most " +
                std::to_string(kMaxEdges) + " together, found " +
                std::to_string(spec_.zones.size() + told_apart));
}

namespace {
/// The words of `pass` that are ethertypes.
constexpr std::pair<std::string_view, std::uint16_t> kEthertypes[] = {
    {"arp", 0x0806},   {"rarp", 0x8035}, {"lldp", 0x88cc}, {"lacp", 0x8809},
    {"eapol", 0x888e}, {"ptp", 0x88f7},  {"mpls", 0x8847}, {"pppoe-discovery", 0x8863},
    {"pppoe", 0x8864}};
}  // namespace

PassSpec Loader::pass(const Value& v, const About& about) {
    PassSpec pass;
    // Here an empty list is unambiguous: nothing passes.
    const auto items = v.scalar() ? v.one_or_more() : v.list();
    for (const auto& item : items) {
        const auto s = item.scalar();
        if (s && !s->empty() && s->front() >= '0' && s->front() <= '9') {
            const auto n = item.number(about.range);
            if (!n) continue;
            if (*n == 0x0800 || *n == 0x86dd)
                item.error("IP cannot be passed unseen; write rules in policy");
            else if (is_vlan_tag(static_cast<std::uint16_t>(*n)))
                item.error("VLAN tags are looked through; name what is inside them");
            else if (is_llc(static_cast<std::uint16_t>(*n)))
                item.error("LLC headers are looked through; name what is inside them");
            else
                pass.ethertypes.push_back(static_cast<std::uint16_t>(*n));
            continue;
        }
        const auto i = item.choice(about.words, std::string(about.noun));
        if (!i) continue;
        const std::string_view word = about.words[*i];
        const auto type = std::find_if(std::begin(kEthertypes), std::end(kEthertypes),
                                       [&](const auto& e) { return e.first == word; });
        if (type != std::end(kEthertypes))
            pass.ethertypes.push_back(type->second);
        else if (word == "all")
            pass.all_non_ip = true;
        else if (word == "nd")
            pass.neighbour_discovery = true;
        else if (word == "llc")
            pass.llc = true;
        else if (word == "cdp")
            pass.cdp = true;
        else
            pass.isis = true;
    }
    std::sort(pass.ethertypes.begin(), pass.ethertypes.end());
    pass.ethertypes.erase(std::unique(pass.ethertypes.begin(), pass.ethertypes.end()),
                          pass.ethertypes.end());
    return pass;
}

}  // namespace postern::config
