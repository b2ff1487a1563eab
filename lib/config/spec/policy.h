// SPDX-License-Identifier: BSD-3-Clause
// `policy`: which connections may begin.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log_rate.h"
#include "base/types.h"
#include "config/key.h"
#include "config/spec/log.h"
#include "config/spec/mark.h"
#include "config/spec/schedule.h"
#include "config/spec/sets.h"
#include "config/spec/timeouts.h"
#include "net/addr.h"
#include "net/address_set.h"

namespace postern {

/// Tracking of the connections that a rule accepts. If only one direction passes, full tracking
/// cannot work.
enum class TrackMode : std::uint8_t {
    yes,
    sloppy,  ///< states from the packets seen, begun with any packet
    no       ///< no connections: policy judges each packet
};
template <>
inline constexpr auto kWordsOf<TrackMode> = words<TrackMode>("how connections are tracked",
                                                             {{"yes", TrackMode::yes},
                                                              {"sloppy", TrackMode::sloppy},
                                                              {"no", TrackMode::no}});

/// What the connections that run are to another configuration's rules.
enum class OnChange : std::uint8_t {
    keep,    ///< accepted once and for all
    recheck  ///< asked about again; what is refused ends
};
template <>
inline constexpr auto kWordsOf<OnChange> = words<OnChange>("a way to treat running connections",
                                                           {{"keep", OnChange::keep},
                                                            {"recheck", OnChange::recheck}});

enum class RuleAction : std::uint8_t {
    drop,
    reject,  ///< drop, and answer the sender (TCP RST, ICMP unreachable)
    accept
};
template <>
inline constexpr auto kWordsOf<RuleAction> = words<RuleAction>("an action",
                                                               {{"accept", RuleAction::accept},
                                                                {"drop", RuleAction::drop},
                                                                {"reject", RuleAction::reject}});
constexpr const char* to_string(RuleAction a) noexcept {
    return kWordsOf<RuleAction>.text_of(a).data();
}

/// Both ends are included; host byte order.
struct PortRange {
    std::uint16_t first = 0;
    std::uint16_t last = 65535;
    friend constexpr bool operator==(const PortRange&, const PortRange&) = default;
};

/// Values for bits of a connection's mark and label, which begin at 0, or at its master's.
struct SetSpec {
    std::uint32_t mark = 0, mark_mask = 0;  ///< mask: the bits to set
    std::uint32_t label = 0, label_mask = 0;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand(
            "mark",
            {.help =
                 "32 bits, decimal or `0x...`: the bits in the mask (default: all) take this value",
             .form = Form::masked,
             .default_text = "unchanged"});
        keys.by_hand("label",
                     {.help = "the same", .form = Form::masked, .default_text = "unchanged"});
    }
};

inline constexpr unsigned kMaxExpectPorts = 64;
inline constexpr std::string_view kExpectToWords[] = {"client", "server"};

/// Connections that a connection of a rule expects, without a parser: like `ct expectation` of
/// nftables, but filed once, when the connection begins.
struct ExpectSpec {
    std::uint8_t protocol = 0;
    PortRange dport;         ///< at most kMaxExpectPorts
    bool to_server = false;  ///< direction of the connection's first packet, or the reverse
    std::uint32_t timeout_s = 300;
    std::uint8_t max = 0;    ///< pending at once for one connection
    bool permanent = false;  ///< not used up by the first connection

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("proto", {.help = "protocol of the expected connection",
                               .form = Form::protocol,
                               .required = true,
                               .type = "`tcp`, `udp`, `sctp`, `dccp`, `udplite`",
                               .expected = "tcp, udp, sctp, dccp or udplite"});
        keys.by_hand(
            "dport",
            {.help = "destination port of the expected connection; it may have any source port",
             .form = Form::port_range,
             .required = true,
             .type = "a port, or a range of at most 64",
             .expected = "a port or a range"});
        keys.by_hand("to", {.help = "direction of the expected connection. `client`: from the "
                                    "server to the client of this one, as `ct expectation` of "
                                    "nftables; `server`: from the client to the server",
                            .form = Form::choice,
                            .words = kExpectToWords,
                            .noun = "an end of the connection",
                            .default_text = "`client`"});
        keys("timeout", &ExpectSpec::timeout_s,
             {.help = "lifetime of the expectation", .range = kTimeoutRange});
        keys.by_hand("max", {.help = "pending at once for one connection, including those of "
                                     "`expect create`; a further one displaces the oldest",
                             .range = {1, 255},
                             .form = Form::number,
                             .default_text = "the number of ports",
                             .range_text = "the number of ports to 255"});
        keys("permanent", &ExpectSpec::permanent,
             {.help = "the first connection does not use the expectation up: it admits more until "
                      "`timeout`, or the master's end"});
    }
};

/// So many in a period, on the average.
struct RateSpec {
    static constexpr std::uint32_t kMost = 1'000'000;
    std::uint32_t number = 0;  ///< 0: no limit
    std::uint32_t period_s = 1;
    friend constexpr bool operator==(const RateSpec&, const RateSpec&) = default;
};

/// What a rule accepts from one source at most.
struct PerSourceSpec {
    RateSpec connections, packets;
    std::uint32_t burst = 0;    ///< 0: the number of the rate
    std::uint32_t at_once = 0;  ///< 0: no limit

    bool any() const noexcept { return (connections.number | packets.number | at_once) != 0; }
    friend bool operator==(const PerSourceSpec&, const PerSourceSpec&) = default;

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("connections",
                     {.help = "connections begun: `100/s`, `20/m` or `5/h`. Not with "
                              "`track: no`",
                      .form = Form::rate,
                      .type = "number a second, minute or hour: `100/s`",
                      .default_text = "no limit",
                      .range_text = "1 to 1000000"});
        keys.by_hand("packets",
                     {.help = "packets accepted without a connection: only with `track: no`, or "
                              "with `icmp` and `icmpv6` alone, whose messages need none",
                      .form = Form::rate,
                      .type = "number a second, minute or hour",
                      .default_text = "no limit",
                      .range_text = "1 to 1000000"});
        keys.by_hand("burst", {.help = "how many may come together after a pause",
                               .range = {1, RateSpec::kMost},
                               .form = Form::number,
                               .default_text = "the number of the rate",
                               .range_text = "1 to what the rate gives in an hour"});
        keys.by_hand("at_once",
                     {.help = "connections that run at the same time. Not with `track: no`",
                      .range = {1, 1u << 30},
                      .form = Form::number,
                      .default_text = "no limit"});
    }
};

struct LimitSpec : PerSourceSpec {
    PerSourceSpec per_source;

    template <class Keys>
    static void describe(Keys& keys) {
        PerSourceSpec::describe(keys);
        keys.mapping("per_source", of<PerSourceSpec>,
                     {.help = "the same four for each source: an IPv4 address, or an IPv6 /64",
                      .own_table = false,
                      .default_text = "no limit"});
    }
};

inline constexpr std::string_view kFamilyWords[] = {"ipv4", "ipv6"};
inline constexpr std::string_view kStateWords[] = {"new", "established", "related"};
inline constexpr std::string_view kProtocolWords[] = {"tcp",  "udp",  "icmp",    "icmpv6",
                                                      "sctp", "dccp", "udplite", "gre"};

/// One rule; its RuleId is its index. All given conditions must hold; within a list one item is
/// enough; an empty list means "any". The first rule that matches decides.
struct RuleSpec {
    std::string name;  ///< unique; "rule<index>" if the file has none
    std::string description;
    bool enabled = true;  ///< false: read and checked, and then as if it were not there
    std::vector<ZoneId> from;
    std::vector<ZoneId> to;
    Family family = Family::none;  ///< none = both
    AddressSet src;                ///< of one family or both; see `family`
    AddressSet dst;
    SetCondition src_sets;  ///< the sets that `src` names
    SetCondition dst_sets;
    std::vector<std::uint8_t> protocols;
    std::vector<PortRange> sport;
    std::vector<PortRange> dport;
    /// Pairs of protocol and destination port: protocol * 65536 + port. Null: `protocols` and
    /// `dport` decide; else `protocols` are those of the pairs, and dport is empty.
    std::shared_ptr<const NumberSet<std::uint32_t>> services;
    /// Only with ICMP or ICMPv6 alone in `protocols`.
    std::vector<std::uint8_t> icmp_types;
    NumberSet<std::uint32_t> vlan;  ///< ids; 0: no tag. Empty: any, also of the next two
    NumberSet<std::uint32_t> dscp;
    std::vector<PortId> in_port;
    std::vector<PortId> out_port;
    /// States to match: at least one of the three is set. `established` is implied by "accepted
    /// before" and never reaches policy, so a rule with only that one matches nothing.
    bool match_new = true;
    bool match_related = true;
    bool match_established = false;
    /// With match_related: only connections that one of these helpers expected. Empty = any.
    std::vector<HelperId> related;
    RuleAction action = RuleAction::drop;
    HelperId helper = kNoHelper;  ///< helper of connections that this rule accepts
    /// Only connections whose inherited mark has these bits under the mask; new ones have mark 0.
    std::uint32_t mark = 0, mark_mask = 0;  ///< mask 0: any
    SetSpec set;                ///< of connections that this rule accepts, like all below
    std::uint8_t timeouts = 0;  ///< 0: Spec::timeouts, else index into timeout_profiles plus 1
    bool liberal = false;       ///< TCP windows are not enforced
    TrackMode track = TrackMode::yes;
    std::optional<ExpectSpec> expect;  ///< excludes `helper`
    std::optional<LimitSpec> limit;
    std::optional<ScheduleSpec> schedule;  ///< none: always
    LogRate log;
    SpecMark where;

    template <class Keys>
    static void describe(Keys& keys) {
        constexpr Shape kSome = Shape::one_or_more;
        keys.by_hand("name", {.help = "shown by `conntrack list` and `replay`",
                              .form = Form::name,
                              .type = "name, unique",
                              .default_text = "`rule0`, `rule1`, ..."});
        keys("description", &RuleSpec::description,
             {.help = "text for people, one line",
              .range = {1, 255},
              .default_text = "none",
              .range_text = "at most 255 bytes"});
        keys("enabled", &RuleSpec::enabled,
             {.help =
                  "`false`: the rule is checked, and otherwise treated as if it were not there"});
        keys("action", &RuleSpec::action,
             {.help = "`reject`: drop, and answer the sender (TCP reset, or ICMP "
                      "\"administratively prohibited\"), within "
                      "[`limits.answers`](#limitsanswers-answers-to-rejected-packets)",
              .required = true,
              .expected = "accept, drop or reject"});
        keys.by_hand("from", {.help = "zone of the input port",
                              .form = Form::name,
                              .shape = kSome,
                              .instead = "any",
                              .type = "one or more zones",
                              .default_text = "any"});
        keys.by_hand("to", {.help = "zone of the output port",
                            .form = Form::name,
                            .shape = kSome,
                            .instead = "any",
                            .type = "one or more zones",
                            .default_text = "any"});
        keys.by_hand("family", {.help = "address family",
                                .form = Form::choice,
                                .words = kFamilyWords,
                                .noun = "an address family",
                                .instead = "any",
                                .type = "`ipv4`, `ipv6`",
                                .default_text = "any"});
        keys.by_hand(
            "src",
            {.help =
                 "source address: `192.0.2.0/24`, `2001:db8::1`, `10.0.0.5-10.0.0.90`, a group of "
                 "[addresses](#groups-lists-with-names), or a [set](#sets); each may have `not ` "
                 "before it. Both families may be mixed",
             .form = Form::address,
             .shape = kSome,
             .instead = "any",
             .type = "one or more addresses, prefixes, ranges, groups or sets",
             .default_text = "any"});
        keys.by_hand("dst", {.help = "destination address, in the same form",
                             .form = Form::address,
                             .shape = kSome,
                             .instead = "any",
                             .type = "one or more addresses, prefixes, ranges, groups or sets",
                             .default_text = "any"});
        keys.by_hand("proto",
                     {.help = "transport protocol",
                      .range = {0, 255},
                      .form = Form::protocol,
                      .shape = kSome,
                      .words = kProtocolWords,
                      .noun = "a protocol, by name or number 0 to 255",
                      .instead = "any",
                      .type = "one or more of `tcp`, `udp`, `icmp`, `icmpv6`, `sctp`, `dccp`, "
                              "`udplite`, `gre`, 0 to 255",
                      .default_text = "any"});
        keys.by_hand("service",
                     {.help = "protocol and destination port together: `tcp/80`, `udp/500-510`, "
                              "`gre`, or a group of services. Not together with `proto`, `dport`",
                      .form = Form::service,
                      .shape = kSome,
                      .instead = "any",
                      .type = "one or more services or groups",
                      .default_text = "any"});
        keys.by_hand("sport", {.help = "source port; needs `proto` with protocols that have ports. "
                                       "`not ` before an item excludes it",
                               .range = {0, 65535},
                               .form = Form::port,
                               .shape = kSome,
                               .instead = "any",
                               .type = "one or more ports, ranges (`137-139`) or groups",
                               .default_text = "any"});
        keys.by_hand("dport", {.help = "the same",
                               .range = {0, 65535},
                               .form = Form::port,
                               .shape = kSome,
                               .instead = "any",
                               .type = "one or more ports, ranges or groups",
                               .default_text = "any"});
        keys.by_hand("icmp_type",
                     {.help = "needs `proto: icmp` or `proto: icmpv6`, alone. Names such as "
                              "`echo-request`; a wrong one lists the others",
                      .range = {0, 255},
                      .form = Form::icmp_type,
                      .shape = kSome,
                      .instead = "any",
                      .type = "one or more names or 0 to 255",
                      .default_text = "any"});
        keys.by_hand("vlan",
                     {.help = "VLAN id of the outermost tag that has one; `none`: no such tag. "
                              "Like all conditions it judges first packets: what follows in the "
                              "connection may have another tag, unless "
                              "`zone_of_vlan` or `vlan_zones` part them",
                      .range = {1, kVlans - 2},
                      .form = Form::vlan,
                      .shape = kSome,
                      .instead = "any",
                      .type = "one or more ids, ranges (`10-19`) or `none`; each may have `not ` "
                              "before it",
                      .default_text = "any",
                      .range_text = "1 to 4094"});
        keys.by_hand("dscp", {.help = "differentiated services code point of the first packet",
                              .range = {0, 63},
                              .form = Form::dscp,
                              .shape = kSome,
                              .instead = "any",
                              .type = "one or more of `cs0` to `cs7`, `af11` to `af43`, `ef`, "
                                      "`va`, `le`, 0 to 63, or ranges; each may have `not ` "
                                      "before it",
                              .default_text = "any"});
        keys.by_hand("in_port", {.help = "port by which the first packet came",
                                 .form = Form::port_name,
                                 .shape = kSome,
                                 .instead = "any",
                                 .type = "one or more ports; each may have `not ` before it",
                                 .default_text = "any"});
        keys.by_hand("out_port", {.help = "port by which it leaves: the other end of its bridge",
                                  .form = Form::port_name,
                                  .shape = kSome,
                                  .instead = "any",
                                  .type = "one or more ports; each may have `not ` before it",
                                  .default_text = "any"});
        keys.by_hand(
            "ct",
            {.help = "conntrack state of the packet. `related`: a helper expected the connection. "
                     "`established` matches nothing: packets of accepted connections always pass",
             .form = Form::choice,
             .shape = kSome,
             .words = kStateWords,
             .noun = "a connection state",
             .instead = "any",
             .type = "one or more of `new`, `related`, `established`",
             .default_text = "`new` and `related`"});
        keys.by_hand("related",
                     {.help = "expected by one of these helpers; implies `ct: [related]`",
                      .form = Form::name,
                      .shape = kSome,
                      .instead = "any",
                      .type = "one or more helpers",
                      .default_text = "any"});
        keys.by_hand("mark", {.help = "bits of the mark inherited from the master, such as "
                                      "`0x10/0xff`. A connection that is not expected has mark 0",
                              .form = Form::masked,
                              .instead = "any",
                              .default_text = "any"});
        keys.mapping("set", of<SetSpec>,
                     {.help = "mark and label of the connections that this rule accepts, see below",
                      .default_text = "none"});
        keys.by_hand("timeouts", {.help = "timeout profile of the connections that this rule "
                                          "accepts. Rules use at most 15 profiles",
                                  .form = Form::name,
                                  .type = "a profile of `timeouts`",
                                  .default_text = "the values of `timeouts` itself"});
        keys.by_hand("liberal",
                     {.help = "TCP windows are not enforced on the connections that this rule "
                              "accepts. A helper reads segments within 64 KiB (or the largest "
                              "window offered) of the highest acknowledgement",
                      .form = Form::boolean,
                      .default_text = "false"});
        keys("track", &RuleSpec::track,
             {.help = "`sloppy`, `no`: for paths on which the firewall sees one direction only, "
                      "see [Asymmetric paths](#asymmetric-paths). Only with `accept`; not with "
                      "`helper`, `expect` or `related`"});
        keys.mapping(
            "expect", of<ExpectSpec>,
            {.help =
                 "connections that the accepted ones expect, see below. Not together with `helper`",
             .default_text = "none"});
        keys.mapping("schedule", of<ScheduleSpec>,
                     {.help = "days and hours in which the rule is in force, see below. At other "
                              "times it is as if it were not there; `on_change` decides about "
                              "running connections",
                      .default_text = "always"});
        keys.mapping("limit", of<LimitSpec>,
                     {.help = "what the rule accepts at most, see below. What is beyond is dropped "
                              "(`rule_rate`, `rule_at_once`), and no later rule is tried. Expected "
                              "connections do not count",
                      .default_text = "no limit"});
        keys.by_hand("log", {.help = "a record of the first packet of each connection that this "
                                     "rule accepts, or of each packet that it drops or rejects, "
                                     "see [`log`](#log)",
                             .form = Form::log_rate,
                             .type = kLogRateType,
                             .default_text = "`no`"});
        keys.by_hand("helper", {.help = "helper of the connections that this rule accepts. Only "
                                        "with `accept`, and with the helper's protocol",
                                .form = Form::name,
                                .type = "a helper",
                                .default_text = "none"});
    }
};

inline constexpr unsigned kMaxRules = 65000;  ///< of one policy, as in lib/policy
inline constexpr std::string_view kFallbackWords[] = {"drop", "reject"};

struct PolicySpec {
    RuleAction fallback = RuleAction::drop;  ///< `default:`; drop or reject
    OnChange on_change = OnChange::keep;
    std::vector<RuleSpec> rules;  ///< at most kMaxRules

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("default", {.help = "action for packets that match no rule",
                                 .form = Form::choice,
                                 .words = kFallbackWords,
                                 .noun = "a default for policy",
                                 .default_text = "`drop`"});
        keys("on_change", &PolicySpec::on_change,
             {.help =
                  "running connections when this configuration replaces another. `keep`: "
                  "unchanged, as in Linux. `recheck`: the rules judge them again like their first "
                  "packets, and refused ones end. Expected connections follow their master"});
        keys.mapping("rules", of<RuleSpec>,
                     {.help = "tried from top to bottom; the first that matches decides",
                      .shape = Shape::list,
                      .type = "list, at most 65000",
                      .default_text = "none"});
    }
};

}  // namespace postern
