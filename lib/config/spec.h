// SPDX-License-Identifier: BSD-3-Clause
// Spec: what one configuration file says, as plain values. load_spec() fills it and has checked all
// of it: names are resolved to indices, ranges hold, defaults are in place. Whoever gets a Spec may
// rely on that and checks nothing again. Nothing here knows YAML, DPDK or the rest of Postern.
//
// Called by: app, once at start (control thread); workers never see a Spec, only what is built of
// it. Life-cycle: a value; copy it, keep it, throw it away. No synchronisation: it is not shared.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/types.h"
#include "net/addr.h"

namespace postern {

/// Where in the file an item was written; both count from 1.
struct SpecMark {
    unsigned line = 0;
    unsigned column = 0;
};

enum class Hugepages : std::uint8_t {
    automatic,  ///< use them when the machine has some set aside
    yes,
    no
};

struct EalSpec {
    Hugepages hugepages = Hugepages::automatic;
    std::uint32_t memory_mb = 512;  ///< MiB of memory for DPDK, 64..1048576
    std::vector<std::string> args;  ///< further EAL arguments; none that Postern sets itself
};

struct IdleSpec {
    std::uint32_t spins = 1000;   ///< empty polls in a row before the first sleep, 0..10^9
    std::uint32_t sleep_us = 50;  ///< microseconds a sleep, 0..10000; 0 = never sleep, poll always
};

struct WorkersSpec {
    std::uint8_t count = 1;           ///< worker threads, 1..kMaxWorkers
    std::vector<std::uint16_t> cpus;  ///< worker i runs on cpus[i % size]; empty = CPU i % all
    std::optional<std::uint16_t> main_cpu;  ///< CPU of the control thread; none = any
    std::uint8_t burst = 32;                ///< packets taken from a queue at once, 1..kMaxBurst
    IdleSpec idle;
};

/// Who tells whether a packet's checksums are right.
enum class ChecksumMode : std::uint8_t {
    off,
    nic,  ///< the device, if it can
    full  ///< the device, else software
};

struct PortSpec {
    std::string name;    ///< unique
    std::string device;  ///< virtual device with arguments, or PCI address; unique
    ZoneId zone = 0;     ///< index into Spec::zones
    /// Receive queues, 1..workers.count; 0 (the default) = one a worker, or as many as the device
    /// has.
    std::uint8_t queues = 0;
    std::uint16_t mtu = 1500;  ///< bytes of IP packet, 1280..9600
    ChecksumMode checksums = ChecksumMode::nic;
    SpecMark where;

    /// "0000:03:00.0" or "03:00.0", against "net_af_packet0,iface=…".
    bool is_pci() const noexcept;
};

/// What passes a bridge without being tracked or asked of policy.
struct PassSpec {
    bool all_non_ip = false;                ///< every frame that is not IP
    bool llc = false;                       ///< 802.3 frames with a length (spanning tree, CDP)
    bool neighbour_discovery = false;       ///< ICMPv6 types 133..137 (RFC 4861)
    std::vector<std::uint16_t> ethertypes;  ///< host byte order, sorted, unique; no IP, no VLAN
};

/// Two ports, transparent: what comes in by one leaves by the other.
struct BridgeSpec {
    PortIndex ports[2] = {0, 0};  ///< indices into Spec::ports; a port is in one bridge at most
    PassSpec pass;                ///< default: arp and nd
    /// Conntrack zone of untagged frames, and of VLANs without one of their own. Default: the
    /// bridge's index.
    CtZone ct_zone = 0;
    std::vector<CtZone> vlan_zones;  ///< kVlans of them, by VLAN id; empty: tags do not matter
};

/// A parameter's value; the alternative is the one that the helper's kind declares.
using ParamValue = std::variant<bool, std::uint64_t, std::string>;
struct HelperParam {
    std::string name;
    ParamValue value;
};

/// What is declared of a helper whose parser lives in another process.
struct UserspaceSpec {
    struct Class {
        std::string name;
        std::uint8_t protocol = 0;     ///< of what it opens: proto::tcp or proto::udp
        std::uint8_t max = 1;          ///< pending at once, of one connection
        std::uint32_t timeout_s = 30;  ///< of one that is not used
    };
    std::vector<Class> classes;    ///< 1..4
    bool stream = false;           ///< TCP comes as it arrives, not line by line
    bool proof = false;            ///< opens nothing before the process has said `proven`
    std::uint8_t data_bytes = 32;  ///< private state of a connection, 0..32
    bool bypass = true;            ///< traffic passes when the process is absent or late
    std::uint32_t wait_ms = 200;   ///< for an answer, 1..60000
    std::uint32_t queue = 256;     ///< packets that wait at once, a worker, 1..65536
    std::string socket;            ///< empty: helper-NAME.sock beside the control socket
};

/// A configured helper instance. Its HelperId is its index in Spec::helpers plus 1.
struct HelperSpec {
    std::string name;  ///< unique; rules use it
    std::string kind;  ///< name of the helper in the schema; default: the same
    std::vector<std::uint8_t>
        protocols;                     ///< transports that the kind speaks: proto::tcp, proto::udp
    std::vector<std::uint16_t> ports;  ///< its usual control ports, host order; default: the kind's
    /// Also watches connections to its ports that a rule accepts without naming a helper.
    bool auto_assign = false;
    std::vector<HelperParam>
        params;  ///< all of the kind's, in the kind's order, defaults filled in
    std::optional<UserspaceSpec> userspace;  ///< its kind is then its own name
    SpecMark where;
};

/// Timeouts by state, in seconds, 1..kMaxTimeoutS. The defaults are Linux's.
struct TcpTimeoutsSpec {
    std::uint32_t syn_sent_s = 120;
    std::uint32_t syn_recv_s = 60;
    std::uint32_t established_s = 5 * 24 * 3600;
    std::uint32_t fin_wait_s = 120;
    std::uint32_t close_wait_s = 60;
    std::uint32_t last_ack_s = 30;
    std::uint32_t time_wait_s = 120;
    std::uint32_t close_s = 10;
    std::uint32_t syn_sent2_s = 120;       ///< simultaneous open
    std::uint32_t unacknowledged_s = 300;  ///< established, and the last data was not acknowledged
    std::uint32_t retransmitted_s = 300;   ///< the same packet again and again
    friend bool operator==(const TcpTimeoutsSpec&, const TcpTimeoutsSpec&) = default;
};
struct UdpTimeoutsSpec {
    std::uint32_t unreplied_s = 30;
    std::uint32_t stream_s = 120;  ///< seen both ways
    friend bool operator==(const UdpTimeoutsSpec&, const UdpTimeoutsSpec&) = default;
};
struct SctpTimeoutsSpec {
    std::uint32_t closed_s = 10;
    std::uint32_t cookie_wait_s = 3;
    std::uint32_t cookie_echoed_s = 3;
    std::uint32_t established_s = 210;
    std::uint32_t shutdown_sent_s = 3;
    std::uint32_t shutdown_recd_s = 3;
    std::uint32_t shutdown_ack_sent_s = 3;
    std::uint32_t heartbeat_sent_s = 30;
    friend bool operator==(const SctpTimeoutsSpec&, const SctpTimeoutsSpec&) = default;
};
struct DccpTimeoutsSpec {
    std::uint32_t request_s = 240;
    std::uint32_t respond_s = 480;
    std::uint32_t partopen_s = 480;
    std::uint32_t open_s = 12 * 3600;
    std::uint32_t closereq_s = 64;
    std::uint32_t closing_s = 64;
    std::uint32_t timewait_s = 240;
    friend bool operator==(const DccpTimeoutsSpec&, const DccpTimeoutsSpec&) = default;
};
struct TimeoutsSpec {
    TcpTimeoutsSpec tcp;
    SctpTimeoutsSpec sctp;
    DccpTimeoutsSpec dccp;
    UdpTimeoutsSpec udp;
    std::uint32_t gre_unreplied_s = 30;
    std::uint32_t gre_stream_s = 180;  ///< seen both ways
    std::uint32_t gre_expected_unreplied_s = 600;
    std::uint32_t gre_expected_stream_s = 18000;
    std::uint32_t icmp_request_s = 30;
    std::uint32_t icmpv6_request_s = 30;
    std::uint32_t generic_s = 600;  ///< any other protocol

    /// What the RFCs on NAT ask for, where Linux forgets sooner: a TCP connection 2 h 4 min, and
    /// 4 min while it opens or closes (RFC 5382 REQ-5, RFC 7857 section 2); UDP 5 min (RFC 4787
    /// REQ-5c); ICMP queries 60 s (RFC 5508 REQ-2). For other protocols as Linux.
    static TimeoutsSpec rfc();
    friend bool operator==(const TimeoutsSpec&, const TimeoutsSpec&) = default;
};
/// One that rules may choose.
struct TimeoutProfileSpec {
    std::string name;
    TimeoutsSpec timeouts;
};
inline constexpr unsigned kMaxTimeoutNames = 15;  ///< in use by rules at once

/// Fixed at start; memory is set aside for all of it. Totals over all workers.
struct LimitsSpec {
    std::uint32_t connections = 262144;        ///< tracked at once, 64..268435456
    std::uint32_t expectations = 65536;        ///< live at once, 16..16777216
    std::uint32_t helped_connections = 16384;  ///< connections with a helper at once, 16..16777216
    std::uint32_t stream_buffer_bytes = 4096;  ///< a direction of a control stream, 512..32768
    std::uint32_t fragments = 4096;            ///< held for their datagram at once, 64..1048576
    /// Of one source (an IPv4 address, an IPv6 /64); 0 = no limit. Connections not yet answered,
    /// and for TCP confirmed.
    std::uint32_t half_open_per_source = 0;       ///< at once, 0..60000
    std::uint32_t new_per_second_per_source = 0;  ///< begun within a second, 0..60000
    // Expectations pending at once; 0 = no limit.
    std::uint32_t expectations_per_zone = 0;  ///< of each conntrack zone
    /// Of conntrack zones that have a limit of their own.
    std::vector<std::pair<CtZone, std::uint32_t>> expectations_of_zones;
    std::uint32_t expectations_per_source = 0;        ///< of masters that one address began
    std::uint32_t expectations_per_destination = 64;  ///< for one address and port, 1..65535
    std::vector<std::uint32_t>
        per_zone;  ///< connections opened from a zone, by ZoneId; 0 = no limit
};

enum class RuleAction : std::uint8_t {
    drop,
    reject,  ///< drop, and tell the sender (TCP RST, ICMP unreachable)
    accept
};
constexpr const char* to_string(RuleAction a) noexcept {
    return a == RuleAction::accept ? "accept" : a == RuleAction::reject ? "reject" : "drop";
}

/// Both ends belong to the range; host byte order.
struct PortRange {
    std::uint16_t first = 0;
    std::uint16_t last = 65535;
    friend constexpr bool operator==(const PortRange&, const PortRange&) = default;
};

/// Values that bits of a connection's mark and label take; they are 0 at first, or its master's.
struct SetSpec {
    std::uint32_t mark = 0, mark_mask = 0;  ///< mask: which bits
    std::uint32_t label = 0, label_mask = 0;
};

/// Connections that one accepted by a rule expects, without any parser: like `ct expectation` of
/// nftables, but filed once, when the connection begins.
struct ExpectSpec {
    std::uint8_t protocol = 0;
    PortRange dport;         ///< at most kMaxExpectPorts
    bool to_server = false;  ///< they go the way of the connection's first packet, or back
    std::uint32_t timeout_s = 300;
    std::uint8_t max = 0;    ///< pending at once for one connection
    bool permanent = false;  ///< not used up by the first that comes
};
inline constexpr unsigned kMaxExpectPorts = 64;

/// One rule; its RuleId is its index. All given conditions must hold; within a list one is enough;
/// an empty list means "any". The first rule that matches decides.
struct RuleSpec {
    std::string name;  ///< unique; "rule<index>" where the file gives none
    std::vector<ZoneId> from;
    std::vector<ZoneId> to;
    Family family = Family::none;  ///< none = both
    std::vector<Prefix> src;       ///< of one family or both; see `family`
    std::vector<Prefix> dst;
    std::vector<std::uint8_t> protocols;
    std::vector<PortRange> sport;
    std::vector<PortRange> dport;
    /// Only with ICMP or ICMPv6 alone in `protocols`.
    std::vector<std::uint8_t> icmp_types;
    /// Which connections: at least one of the three is set. `established` is implied by "accepted
    /// before" and never asked of policy, so a rule with only that one matches nothing.
    bool match_new = true;
    bool match_related = true;
    bool match_established = false;
    /// With match_related: only connections that one of these helpers expected. Empty = any.
    std::vector<HelperId> related;
    RuleAction action = RuleAction::drop;
    HelperId helper = kNoHelper;  ///< watches connections that this rule accepts
    /// Only connections whose inherited mark has these bits under the mask; new ones have mark 0.
    std::uint32_t mark = 0, mark_mask = 0;  ///< mask 0: any
    SetSpec set;                ///< of connections that this rule accepts, like all below
    std::uint8_t timeouts = 0;  ///< 0: Spec::timeouts, else index into timeout_profiles plus 1
    bool liberal = false;       ///< TCP windows are not enforced
    std::optional<ExpectSpec> expect;  ///< excludes `helper`
    SpecMark where;
};

struct PolicySpec {
    RuleAction fallback = RuleAction::drop;  ///< `default:`; drop or reject
    std::vector<RuleSpec> rules;             ///< at most kMaxRules
};
inline constexpr unsigned kMaxRules = 65000;  ///< of one policy; RuleId has 16 bits

struct ControlSpec {
    std::string socket = "/run/postern/control.sock";  ///< path of the UNIX socket
};

struct Spec {
    EalSpec eal;
    WorkersSpec workers;
    std::vector<std::string> zones;  ///< a ZoneId is an index; 1..kMaxZones
    std::vector<PortSpec> ports;     ///< a PortIndex is an index; 1..kMaxPorts
    std::vector<BridgeSpec> bridges;
    std::vector<HelperSpec> helpers;  ///< a HelperId is an index plus 1; at most kMaxHelpers - 1
    TimeoutsSpec timeouts;
    std::vector<TimeoutProfileSpec> timeout_profiles;  ///< those that rules use
    LimitsSpec limits;
    PolicySpec policy;
    std::vector<std::string> pipeline;  ///< stage names in running order; default: the schema's
    ControlSpec control;
    std::string scanner_cache;  ///< directory of compiled patterns; empty: none are kept

    const HelperSpec& helper(HelperId id) const { return helpers[id - 1u]; }
};

/// A short summary for people, several lines, each ended by a newline.
std::string describe(const Spec& spec);

}  // namespace postern
