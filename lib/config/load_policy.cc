// SPDX-License-Identifier: BSD-3-Clause
// `policy`: rules and their conditions.
#include <algorithm>
#include <charconv>
#include <set>
#include <span>

#include "config/loader.h"
#include "config/read_keys.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxListItems = 4096;  // of one condition of one rule

/// "any", alone, for a condition that always holds.
bool is_any(const Value& v) {
    const auto s = v.scalar();
    return s && *s == "any";
}

}  // namespace

void Loader::policy(const Value& v) {
    Map map(v);
    read_keys(map, spec_.policy);
    if (const auto i = map.choice("default"))
        spec_.policy.fallback = *i == 0 ? RuleAction::drop : RuleAction::reject;
    if (auto rules = map.get("rules")) {
        const auto items = rules->list();
        if (items.size() > kMaxRules)
            rules->error(std::to_string(items.size()) + " rules (expected at most " +
                         std::to_string(kMaxRules) + ")");
        spec_.policy.rules.reserve(items.size());
        for (const auto& item : items)
            rule(item);
    }
    map.finish();
}

std::optional<std::vector<Value>> Loader::items_of(Map& map, std::string_view key) {
    const auto v = map.get(key);
    if (!v || is_any(*v)) return std::nullopt;
    auto items = v->one_or_more();
    if (items.size() > kMaxListItems) {
        v->error(std::to_string(items.size()) + " items (expected at most " +
                 std::to_string(kMaxListItems) + "; make it a group, or split the rule)");
        return std::nullopt;
    }
    if (items.empty()) return std::nullopt;
    return items;
}

template <class T, class Fn>
void Loader::condition(Map& map, std::string_view key, std::vector<T>& out, Fn parse_one) {
    const auto items = items_of(map, key);
    if (!items) return;
    for (const auto& item : *items) {
        if (is_any(item)) {
            item.error("\"any\" stands alone, not in a list");
            continue;
        }
        if (std::optional<T> one = parse_one(item)) {
            if (std::find(out.begin(), out.end(), *one) != out.end())
                item.error(item.found() + " is given twice");
            else
                out.push_back(*one);
        }
    }
}

void Loader::addresses(Map& map, std::string_view key, RuleSpec& rule, AddressSet& out,
                       SetCondition& sets) {
    const auto items = items_of(map, key);
    if (!items) return;
    bool other_family = false;
    if (rule.family != Family::none)
        for (const Value& item : *items) {
            const auto prefix = item.scalar() ? Prefix::parse(*item.scalar()) : std::nullopt;
            if (!prefix || prefix->address.family == rule.family) continue;
            item.error(*item.scalar() + " is " + to_string(prefix->address.family) +
                       ", but the rule's family is " + to_string(rule.family));
            other_family = true;
        }
    if (other_family) return;
    auto list = groups_.set_of_list<AddressKind>(*items, false, &sets);
    // `not SET` alone leaves all addresses: as any address they cost the policy nothing.
    if (list && !(sets.none != 0 && is_everything(*list))) out = AddressSet(std::move(list));
}

namespace {
std::string names_of(const std::vector<std::uint8_t>& protocols) {
    std::string out;
    for (const std::uint8_t p : protocols)
        out += (out.empty() ? "" : ", ") + protocol_name(p);
    return out;
}

bool has_ports(std::uint8_t protocol) {
    return protocol == proto::tcp || protocol == proto::udp || protocol == proto::udplite ||
           protocol == proto::sctp || protocol == proto::dccp;
}

std::optional<PortRange> port_range(const Value& item) {
    constexpr KeyRange kPort{0, 65535};
    const auto s = item.scalar();
    const auto dash = s ? s->find('-') : std::string::npos;
    if (dash == std::string::npos) {
        const auto n = item.number(kPort);
        if (!n) return std::nullopt;
        return PortRange{static_cast<std::uint16_t>(*n), static_cast<std::uint16_t>(*n)};
    }
    const auto bound = [](const std::string& text) -> std::optional<std::uint16_t> {
        if (text.empty() || text.size() > 5 ||
            text.find_first_not_of("0123456789") != std::string::npos)
            return std::nullopt;
        const unsigned long n = std::stoul(text);
        return n <= 65535 ? std::optional(static_cast<std::uint16_t>(n)) : std::nullopt;
    };
    const auto first = bound(s->substr(0, dash)), last = bound(s->substr(dash + 1));
    if (!first || !last) {
        item.error("expected a port or a range such as 8000-8080, 0 to 65535, found " +
                   item.found());
        return std::nullopt;
    }
    if (*first > *last) {
        item.error("the range " + *s + " is empty (did you mean " + std::to_string(*last) + "-" +
                   std::to_string(*first) + "?)");
        return std::nullopt;
    }
    return PortRange{*first, *last};
}
}  // namespace

void Loader::port_ranges(Map& map, std::string_view key, const RuleSpec& rule,
                         std::vector<PortRange>& out) {
    const auto items = items_of(map, key);
    const auto set = items ? groups_.set_of_list<PortKind>(*items) : nullptr;
    if (!set) return;
    for (const auto& range : *set)
        out.push_back(
            {static_cast<std::uint16_t>(range.first), static_cast<std::uint16_t>(range.last)});
    if (rule.protocols.empty() ||
        !std::all_of(rule.protocols.begin(), rule.protocols.end(), has_ports))
        map.get(key)->error(
            "ports need `proto:` with protocols that have ports (tcp, udp, sctp, dccp, udplite)");
}

void Loader::services(Map& map, RuleSpec& rule) {
    const auto items = items_of(map, "service");
    if (!items) return;
    for (const std::string_view key : {"proto", "dport", "icmp_type"})
        if (auto other = map.get(key))
            other->error("excluded by `service`, which names protocols and ports");
    rule.services = groups_.set_of_list<ServiceKind>(*items);
    if (!rule.services) return;
    for (const auto& range : *rule.services)
        for (std::uint32_t protocol = range.first >> 16; protocol <= range.last >> 16; ++protocol)
            if (rule.protocols.empty() || rule.protocols.back() != protocol)
                rule.protocols.push_back(static_cast<std::uint8_t>(protocol));
}

void Loader::icmp_types(Map& map, RuleSpec& rule) {
    struct Type {
        std::string_view name;
        std::uint8_t number;
    };
    static constexpr Type kIcmp[] = {{"echo-reply", 0},           {"destination-unreachable", 3},
                                     {"source-quench", 4},        {"redirect", 5},
                                     {"echo-request", 8},         {"router-advertisement", 9},
                                     {"router-solicitation", 10}, {"time-exceeded", 11},
                                     {"parameter-problem", 12},   {"timestamp-request", 13},
                                     {"timestamp-reply", 14}};
    static constexpr Type kIcmpv6[] = {{"destination-unreachable", 1},
                                       {"packet-too-big", 2},
                                       {"time-exceeded", 3},
                                       {"parameter-problem", 4},
                                       {"echo-request", 128},
                                       {"echo-reply", 129},
                                       {"router-solicitation", 133},
                                       {"router-advertisement", 134},
                                       {"neighbour-solicitation", 135},
                                       {"neighbour-advertisement", 136},
                                       {"redirect", 137}};
    const bool v6 = rule.protocols == std::vector{proto::icmpv6};
    const std::span<const Type> types =
        v6 ? std::span<const Type>(kIcmpv6) : std::span<const Type>(kIcmp);
    std::vector<std::string_view> names;
    for (const auto& t : types)
        names.push_back(t.name);

    const auto given = map.get("icmp_type");
    if (!given) return;
    if (!v6 && rule.protocols != std::vector{proto::icmp}) {
        given->error("needs `proto: icmp` or `proto: icmpv6`, alone, since their types differ");
        return;
    }
    condition(map, "icmp_type", rule.icmp_types,
              [&](const Value& item) -> std::optional<std::uint8_t> {
                  const auto s = item.scalar();
                  if (s && !s->empty() && s->front() >= '0' && s->front() <= '9') {
                      const auto n = item.number({0, 255});
                      return n ? std::optional(static_cast<std::uint8_t>(*n)) : std::nullopt;
                  }
                  const auto i = item.choice(names, v6 ? "an ICMPv6 type, by name or number"
                                                       : "an ICMP type, by name or number");
                  return i ? std::optional(types[*i].number) : std::nullopt;
              });
}

void Loader::port_names(Map& map, std::string_view key, std::vector<PortId>& out) {
    const auto items = items_of(map, key);
    if (!items) return;
    std::set<std::size_t> with, without;
    for (const Value& item : *items) {
        const auto text = item.scalar();
        if (!text) {
            item.error("expected a port of this file, found " + item.found());
            return;
        }
        std::string_view name = *text;
        auto& list = take_not(name) ? without : with;
        if (name == "any") {
            item.error("\"any\" stands alone, not in a list");
            return;
        }
        const auto port = port_names_.find(item, name);
        if (!port) return;
        if (!list.insert(*port).second) item.error(item.found() + " is given twice");
    }
    for (std::size_t p = 0; p < port_names_.size(); ++p)
        if ((with.empty() || with.contains(p)) && !without.contains(p))
            out.push_back(PortId::from(p));
    if (out.empty()) map.get(key)->error("`not` leaves nothing of this list");
}

void Loader::link(Map& map, RuleSpec& rule) {
    const auto numbers = [&]<class Kind>(std::string_view key, Kind,
                                         NumberSet<std::uint32_t>& out) {
        const auto items = items_of(map, key);
        const auto set = items ? groups_.set_of_list<Kind>(*items) : nullptr;
        if (set) out = *set;
    };
    numbers("vlan", VlanKind{}, rule.vlan);
    numbers("dscp", DscpKind{}, rule.dscp);
    port_names(map, "in_port", rule.in_port);
    port_names(map, "out_port", rule.out_port);
    if (rule.in_port.empty() && rule.out_port.empty()) return;
    const auto within = [](const std::vector<PortId>& list, PortId port) {
        return list.empty() || std::ranges::find(list, port) != list.end();
    };
    for (const BridgeSpec& bridge : spec_.bridges)
        for (const unsigned side : {0u, 1u})
            if (within(rule.in_port, bridge.ports[side]) &&
                within(rule.out_port, bridge.ports[1 - side]))
                return;
    map.get(rule.in_port.empty() ? "out_port" : "in_port")
        ->error("no bridge leads from these `in_port` to these `out_port`, so nothing can match");
}

void Loader::states(Map& map, RuleSpec& rule) {
    const auto ct = map.get("ct");
    if (ct && !is_any(*ct)) {
        rule.match_new = rule.match_related = rule.match_established = false;
        for (const auto& item : ct->one_or_more()) {
            const About& about = map.about("ct");
            const auto s = item.scalar();
            if (s && (*s == "invalid" || *s == "untracked")) {
                item.error(*s + " packets never reach policy: they are dropped, and counted");
                continue;
            }
            const auto i = item.choice(about.words, std::string(about.noun));
            if (!i) continue;
            bool* const flags[] = {&rule.match_new, &rule.match_established, &rule.match_related};
            if (*flags[*i]) item.error(item.found() + " is given twice");
            *flags[*i] = true;
            if (*i == 1 && rule.action != RuleAction::accept)
                item.error(
                    "packets of connections once accepted always pass; a rule cannot drop them");
        }
    }

    const auto related = map.get("related");
    if (!related) return;
    if (!ct)
        rule.match_new = false;  // helpers of related ones are named
    else if (!rule.match_related)
        related->error("needs `ct: [related]`");
    condition(map, "related", rule.related, [&](const Value& item) -> std::optional<HelperId> {
        const auto i = helper_names_.find(item);
        return i ? std::optional(static_cast<HelperId>(*i + 1)) : std::nullopt;
    });
}

namespace {
/// "0x10", or "0x10/0xff": bits of the mask. Without a mask all 32 matter.
bool read_masked(const Value& v, std::uint32_t& value, std::uint32_t& mask) {
    const auto s = v.scalar();
    const auto number = [](std::string_view text) -> std::optional<std::uint32_t> {
        const bool hex = text.starts_with("0x");
        if (hex) text.remove_prefix(2);
        std::uint32_t n = 0;
        const auto [end, ec] =
            std::from_chars(text.data(), text.data() + text.size(), n, hex ? 16 : 10);
        if (text.empty() || ec != std::errc{} || end != text.data() + text.size())
            return std::nullopt;
        return n;
    };
    const auto slash = s ? s->find('/') : std::string::npos;
    const auto n = s ? number(std::string_view(*s).substr(0, slash)) : std::nullopt;
    const auto m = slash == std::string::npos ? std::optional(UINT32_MAX)
                                              : number(std::string_view(*s).substr(slash + 1));
    if (!n || !m || *m == 0) {
        v.error(
            "expected a number of 32 bits and perhaps a mask, such as 16, 0x10 or 0x10/0xff, "
            "found " +
            v.found());
        return false;
    }
    if ((*n & ~*m) != 0) {
        v.error(*s + " has bits outside of its mask");
        return false;
    }
    value = *n;
    mask = *m;
    return true;
}
}  // namespace

/// The settings of accepted connections.
void Loader::effects(Map& map, RuleSpec& rule) {
    const auto given = [&](std::string_view key) {
        const auto v = map.get(key);
        if (v && rule.action != RuleAction::accept)
            v->error("needs `action: accept`");
        else if (v && !rule.match_new && !rule.match_related)
            v->error("needs `ct: [new]` or `ct: [related]`");
        return v;
    };
    if (auto set = given("set")) {
        Map of(*set);
        read_keys(of, rule.set);
        if (auto mark = of.get("mark")) read_masked(*mark, rule.set.mark, rule.set.mark_mask);
        if (auto label = of.get("label")) read_masked(*label, rule.set.label, rule.set.label_mask);
        of.finish();
    }
    if (auto profile = given("timeouts")) rule.timeouts = timeout_profile(*profile);
    if (auto liberal = given("liberal"))
        if (auto on = liberal->flag()) rule.liberal = *on;
    if (auto wish = given("expect")) rule.expect = expect(*wish);
    tracking(map, rule);
    // After `track`, which decides what there is to count.
    if (auto most = given("limit")) limit(*most, rule);
}

void Loader::limit_rates(Map& map, const RuleSpec& rule, PerSourceSpec& out) {
    const bool untracked = rule.track == TrackMode::no;
    const bool icmp =
        !rule.protocols.empty() && std::ranges::all_of(rule.protocols, [](std::uint8_t p) {
            return p == proto::icmp || p == proto::icmpv6;
        });
    for (const std::string_view key : {"connections", "at_once"})
        if (auto v = map.get(key); v && untracked)
            v->error("excluded by `track: no`, which makes no connections (use `packets`)");
    if (auto v = map.get("connections")) out.connections = read_rate(*v);
    map.number("at_once", out.at_once);
    if (auto v = map.get("packets")) {
        out.packets = read_rate(*v);
        if (!untracked && !icmp)
            v->error(
                "needs `track: no`, or `proto` with icmp and icmpv6 alone: packets of connections "
                "are not judged by rules");
    }
    const auto burst = map.get("burst");
    if (!burst) return;
    burst->read(out.burst, map.about("burst").range);
    if (out.connections.number == 0 && out.packets.number == 0)
        return burst->error("needs `connections` or `packets`, a rate");
    for (const RateSpec& rate : {out.connections, out.packets}) {
        const std::uint64_t most = std::uint64_t{rate.number} * 3600 / rate.period_s;
        if (rate.number != 0 && out.burst > most)
            burst->error(std::to_string(out.burst) + " is more than the rate gives in an hour (" +
                         std::to_string(most) + ")");
    }
}

void Loader::limit(const Value& v, RuleSpec& rule) {
    LimitSpec& out = rule.limit.emplace();
    Map map(v);
    read_keys(map, out);
    limit_rates(map, rule, out);
    if (const auto one = map.get("per_source")) {
        Map of(*one);
        read_keys(of, out.per_source);
        limit_rates(of, rule, out.per_source);
        of.finish();
    }
    map.finish();
    if (!rule.match_new && rule.match_related)
        v.error("needs `ct: [new]`: expected connections do not count");
    else if (v.is_map() && !out.any() && !out.per_source.any())
        v.error("limits nothing (expected `connections`, `at_once`, `packets` or `per_source`)");
}

/// `track`, and the keys that it excludes.
void Loader::tracking(Map& map, RuleSpec& rule) {
    const auto v = map.get("track");
    if (!v) return;
    if (rule.action != RuleAction::accept) {
        v->error("needs `action: accept`");
        return;
    }
    if (rule.track == TrackMode::yes) return;
    const std::string mode =
        "`track: " + std::string(kWordsOf<TrackMode>.text_of(rule.track)) + "`";
    const auto exclude = [&](std::string_view key, const std::string& why) {
        if (auto other = map.get(key))
            other->error(mode + " excludes `" + std::string(key) + "`: " + why);
    };
    exclude("helper", "a helper reads both directions, from the first byte on");
    exclude("expect", "what it expects lives and ends with a tracked connection");
    exclude("related", "what a helper expected is tracked as its helper needs");
    if (!rule.match_new && !map.get("related"))
        v->error(mode +
                 " needs `ct: [new]`: what a helper expected is tracked as its helper needs");
    rule.match_related = false;  // the next rules judge it
    if (rule.track == TrackMode::sloppy) return;
    for (const std::string_view key : {"set", "timeouts", "liberal"})
        exclude(key, "there is no connection to have it");
}

ExpectSpec Loader::expect(const Value& v) {
    ExpectSpec out;
    Map map(v);
    read_keys(map, out);
    if (auto proto = map.require("proto")) {
        const auto p = proto->scalar() ? parse_protocol(*proto->scalar()) : std::nullopt;
        if (p && has_ports(*p))
            out.protocol = *p;
        else
            proto->error(
                "expected a protocol that has ports (tcp, udp, sctp, dccp, udplite), found " +
                proto->found());
    }
    unsigned ports = 1;
    if (auto dport = map.require("dport"))
        if (auto range = port_range(*dport)) {
            out.dport = *range;
            ports = range->last - range->first + 1u;
            if (ports > kMaxExpectPorts)
                dport->error(std::to_string(ports) + " ports (expected at most " +
                             std::to_string(kMaxExpectPorts) +
                             "; a rule without `expect` may accept more)");
        }
    if (const auto i = map.choice("to")) out.to_server = *i == 1;
    out.max = static_cast<std::uint8_t>(std::min(ports, kMaxExpectPorts));
    if (auto max = map.get("max")) max->read(out.max, {out.max, map.about("max").range.max});
    map.finish();
    return out;
}

void Loader::check_families(const Value& v, RuleSpec& rule) {
    const auto possible = [&](Family f) {
        return (rule.family == Family::none || rule.family == f) &&
               rule.src_sets.allows(f, rule.src) && rule.dst_sets.allows(f, rule.dst);
    };
    const auto has_none = [](const AddressSet& list, const SetCondition& sets) {
        return !sets.allows(Family::ipv4, list) && !sets.allows(Family::ipv6, list);
    };
    // Of files without entries; see advise().
    if (has_none(rule.src, rule.src_sets) || has_none(rule.dst, rule.dst_sets)) return;
    if (!possible(Family::ipv4) && !possible(Family::ipv6))
        v.error("`src` and `dst` are of different families, so nothing can match");
    const auto only = [&](std::uint8_t protocol) {
        return rule.protocols == std::vector{protocol};
    };
    if ((only(proto::icmp) && !possible(Family::ipv4)) ||
        (only(proto::icmpv6) && !possible(Family::ipv6)))
        v.error(protocol_name(rule.protocols[0]) + " is not carried by " +
                (only(proto::icmp) ? "ipv6" : "ipv4") + ", so nothing can match");
}

void Loader::rule(const Value& v) {
    RuleSpec rule;
    rule.where = v.mark();
    Map map(v);
    read_keys(map, rule);

    rule.name = "rule" + std::to_string(spec_.policy.rules.size());
    const auto name = map.get("name");
    if (name)
        if (auto s = name->name()) rule.name = *s;
    if (!rule_names_.insert(rule.name).second)
        (name ? *name : v).error("rule name " + in_quotes(rule.name) + " is given twice");
    // Lists and metrics show both.
    if (rule.name == "default") name->error("\"default\" is the name of the policy's default");

    const auto zone = [&](const Value& item) -> std::optional<ZoneId> {
        const auto i = zone_names_.find(item);
        return i ? std::optional(ZoneId::from(*i)) : std::nullopt;
    };
    condition(map, "from", rule.from, zone);
    condition(map, "to", rule.to, zone);
    if (auto family = map.get("family"); family && !is_any(*family)) {
        if (const auto i = map.choice("family"))
            rule.family = *i == 0 ? Family::ipv4 : Family::ipv6;
    }
    addresses(map, "src", rule, rule.src, rule.src_sets);
    addresses(map, "dst", rule, rule.dst, rule.dst_sets);
    condition(map, "proto", rule.protocols, [&](const Value& item) -> std::optional<std::uint8_t> {
        const About& about = map.about("proto");
        const auto s = item.scalar();
        const auto protocol = s ? parse_protocol(*s) : std::nullopt;
        if (!protocol) item.choice(about.words, std::string(about.noun));
        return protocol;
    });
    services(map, rule);
    port_ranges(map, "sport", rule, rule.sport);
    port_ranges(map, "dport", rule, rule.dport);
    icmp_types(map, rule);
    link(map, rule);
    states(map, rule);
    check_families(v, rule);
    if (auto helper = map.get("helper")) {
        if (auto i = helper_names_.find(*helper)) {
            rule.helper = static_cast<HelperId>(*i + 1);
            const auto& supported = spec_.helpers[*i].protocols;
            const bool understood =
                !rule.protocols.empty() &&
                std::all_of(rule.protocols.begin(), rule.protocols.end(), [&](std::uint8_t p) {
                    return std::count(supported.begin(), supported.end(), p) != 0;
                });
            if (rule.action != RuleAction::accept)
                helper->error("a helper needs `action: accept`");
            else if (!rule.match_new && !rule.match_related)
                helper->error("a helper needs `ct: [new]` or `ct: [related]`");
            else if (map.get("expect"))
                helper->error("`helper` and `expect` exclude each other");
            else if (!supported.empty() && !understood)
                helper->error("this helper supports " + names_of(supported) +
                              " and needs `proto: " +
                              (supported.size() == 1 ? names_of(supported)
                                                     : "[" + names_of(supported) + "]") +
                              "`");
        }
    }
    if (auto mark = map.get("mark"); mark && !is_any(*mark))
        read_masked(*mark, rule.mark, rule.mark_mask);
    if (auto log = map.get("log")) rule.log = read_log_rate(*log);
    if (auto when = map.get("schedule")) schedule(*when, rule);
    effects(map, rule);
    map.finish();
    spec_.policy.rules.push_back(std::move(rule));
}

}  // namespace postern::config
