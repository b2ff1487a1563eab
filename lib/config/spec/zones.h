// SPDX-License-Identifier: BSD-3-Clause
// `zones`, `ports` and `bridges`: network devices and their zones.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/types.h"
#include "config/key.h"
#include "config/spec/mark.h"
#include "net/addr.h"

namespace postern {

struct ZoneSpec {
    std::string name;  ///< unique
    /// Packets of one connection may come from all zones with the same text; empty: from this zone
    /// only.
    std::string loose;
    std::vector<Prefix> prefixes;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("name", {.help = "unique; rules use it",
                              .form = Form::name,
                              .required = true,
                              .expected = "a name of your choice, such as inside"});
        keys.by_hand("prefixes", {.help = "addresses that are in this zone and in no other",
                                  .form = Form::prefix,
                                  .shape = Shape::one_or_more,
                                  .default_text = "none"});
        keys.by_hand("sides",
                     {.help = "`loose`: packets of one connection may come from this zone and from "
                              "all other loose ones (with `NAME`: those with the same name)",
                      .form = Form::name,
                      .shape = Shape::by_name,
                      .instead = "strict loose",
                      .type = "`strict`, `loose`, or `{loose: NAME}`",
                      .default_text = "`strict`"});
    }
};

/// Handling of packets with wrong checksums.
enum class ChecksumMode : std::uint8_t {
    off,
    nic,  ///< verified by the device, if it can
    full  ///< by the device, else in software
};
template <>
inline constexpr auto kWordsOf<ChecksumMode> = words<ChecksumMode>("a way to check them",
                                                                   {{"off", ChecksumMode::off},
                                                                    {"nic", ChecksumMode::nic},
                                                                    {"full", ChecksumMode::full}});

struct PortSpec {
    std::string name;    ///< unique
    std::string device;  ///< virtual device with arguments, or PCI address; unique
    /// Zones of tagged frames that differ from `zone`: {VLAN id, zone}, each id once.
    std::vector<std::pair<std::uint16_t, ZoneId>> zone_of_vlan;
    ZoneId zone;  ///< index into Spec::zones
    /// Receive queues, 1..workers.count; 0 (the default) = one a worker, or as many as the device
    /// has.
    std::uint8_t queues = 0;
    std::uint16_t mtu = 1500;  ///< bytes of IP packet
    ChecksumMode checksums = ChecksumMode::nic;
    SpecMark where;

    /// "0000:03:00.0" or "03:00.0", as opposed to "net_af_packet0,iface=...".
    bool is_pci() const noexcept;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("name", {.help = "a name of your choice",
                              .form = Form::name,
                              .required = true,
                              .range_text = "unique",
                              .expected = "a name of your choice, such as in0"});
        keys.by_hand("device",
                     {.help = "a PCI address (`0000:03:00.0`, `03:00.0`), or a DPDK virtual device "
                              "with its arguments (`net_af_packet0,iface=eth1`)",
                      .form = Form::text,
                      .required = true,
                      .range_text = "unique",
                      .expected = "a PCI address or a virtual device"});
        keys.by_hand("zone", {.help = "zone of packets received here",
                              .form = Form::name,
                              .required = true,
                              .type = "a zone",
                              .expected = "the name of its zone"});
        keys.by_hand("zone_of_vlan", {.help = "zones of tagged frames that differ from `zone`. The "
                                              "outermost tag with a VLAN id counts",
                                      .form = Form::name,
                                      .shape = Shape::by_number,
                                      .min_key = 1,
                                      .max_key = kVlans - 2,
                                      .type = "mapping of VLAN ids to zones, such as `{100: dmz}`",
                                      .default_text = "none",
                                      .range_text = "ids 1 to 4094"});
        keys.by_hand(
            "queues",
            {.help = "receive queues. With fewer queues than workers, packets are handed over in "
                     "software. For `net_tap`, `net_memif`, `net_vhost` and `net_virtio_user` also "
                     "the number of transmit queues; the neighbour needs the same number",
             .range = {1, kMaxWorkers},
             .form = Form::number,
             .default_text = "one a worker, or as many as the device has",
             .range_text = "1 to `workers.count`"});
        keys(
            "mtu", &PortSpec::mtu,
            {.help = "longest IP packet, bytes; [limits of each device](operation.md#jumbo-frames)",
             .range = {1280, 9600}});
        keys("checksums", &PortSpec::checksums,
             {.help = "who verifies checksums (`bad_ip_checksum`, `bad_l4_checksum`), see below"});
    }
};

/// Frames that pass a bridge without tracking and policy.
struct PassSpec {
    bool all_non_ip = false;                ///< every frame that is not IP
    bool llc = false;                       ///< spanning tree, in LLC or SNAP frames
    bool cdp = false;                       ///< CDP, VTP, DTP, PAgP, UDLD
    bool isis = false;                      ///< IS-IS and ES-IS
    bool neighbour_discovery = false;       ///< RFC 4861; multicast listeners (RFC 2710, 3810)
    std::vector<std::uint16_t> ethertypes;  ///< host byte order, sorted, unique; no IP, no VLAN
};
/// The words of `pass`; further ones are ethertypes, see load_zones.cc.
inline constexpr std::string_view kPassWords[] = {"all",
                                                  "nd",
                                                  "llc",
                                                  "cdp",
                                                  "isis",
                                                  "arp",
                                                  "rarp",
                                                  "lldp",
                                                  "lacp",
                                                  "eapol",
                                                  "ptp",
                                                  "mpls",
                                                  "pppoe-discovery",
                                                  "pppoe"};
inline constexpr std::string_view kRoutingHeaderWords[] = {"rh2", "srh"};
inline constexpr std::string_view kBridgeSideWords[] = {"zone", "port"};

/// Two ports, transparent: packets received on one leave by the other.
struct BridgeSpec {
    PortId ports[2];  ///< indices into Spec::ports; a port is in one bridge at most
    PassSpec pass;    ///< default: arp and nd
    /// Conntrack zone of untagged frames, and of VLANs without one of their own. Default: the
    /// bridge's index.
    CtZone ct_zone;
    std::vector<CtZone> vlan_zones;  ///< kVlans of them, by VLAN id; empty: tags do not matter
    /// Connections are bound to the input port of each direction, not only to its zone.
    bool sides_by_port = false;
    SpecMark where;
    std::uint8_t routing_headers = 0;  ///< IPv6: types that may pass, ipv6_routing::bit() of each

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("ports", {.help = "the two ends",
                               .form = Form::name,
                               .shape = Shape::list,
                               .required = true,
                               .type = "list of two ports",
                               .expected = "its two ports"});
        keys.by_hand("pass",
                     {.help = "frames that pass without tracking and policy",
                      .range = {0x0600, 0xffff},
                      .form = Form::pass_word,
                      .shape = Shape::any_number,
                      .words = kPassWords,
                      .noun = "an ethertype, by name or as a number such as 0x88cc",
                      .type = "one or more of the words below, or ethertypes such as `0x88cc`; "
                              "`[]` for none",
                      .default_text = "`[arp, nd]`"});
        keys.by_hand("routing_headers",
                     {.help = "IPv6 routing headers that pass while segments are left: type 2 "
                              "(Mobile IPv6), type 4 (segment routing)",
                      .form = Form::choice,
                      .shape = Shape::any_number,
                      .words = kRoutingHeaderWords,
                      .noun = "a type of routing header",
                      .default_text = "none"});
        keys.by_hand("ct_zone", {.help = "conntrack zone of its connections",
                                 .range = {0, kCtZones - 1},
                                 .form = Form::number,
                                 .default_text = "the bridge's number, from 0"});
        keys.by_hand("vlan_zones",
                     {.help = "conntrack zones of tagged frames",
                      .range = {0, kCtZones - 1},
                      .form = Form::number,
                      .shape = Shape::by_number,
                      .instead = "per_vlan",
                      .min_key = 1,
                      .max_key = kVlans - 2,
                      .type = "`per_vlan`, or a mapping of VLAN ids to conntrack zones, such as "
                              "`{100: 5, 200: 6}`",
                      .default_text = "none"});
        keys.by_hand(
            "sides",
            {.help = "`port`: a connection is bound to the input port of each direction, in each "
                     "VLAN. For two ports of one zone. Overrides `loose` of zones at these ports",
             .form = Form::choice,
             .words = kBridgeSideWords,
             .noun = "what the two ends are told apart by",
             .default_text = "`zone`"});
    }
};

}  // namespace postern
