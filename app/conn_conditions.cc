// SPDX-License-Identifier: BSD-3-Clause
#include "conn_conditions.h"

#include <algorithm>
#include <utility>

#include "args.h"
#include "conntrack/conn.h"

namespace postern {
namespace {

constexpr std::string_view kFamilies[] = {"ipv4", "ipv6"};
constexpr std::string_view kStates[] = {"new", "established", "related"};
constexpr CtState kStateValues[] = {CtState::fresh, CtState::established, CtState::related};

/// `from` and `to` are sets of edges, which are complemented instead.
constexpr std::pair<std::string_view, ConnCondition> kNegatable[] = {
    {"zone", ConnCondition::ct_zone},
    {"family", ConnCondition::family},
    {"proto", ConnCondition::protocol},
    {"src", ConnCondition::src},
    {"dst", ConnCondition::dst},
    {"sport", ConnCondition::sport},
    {"dport", ConnCondition::dport},
    {"state", ConnCondition::state},
    {"proto_state", ConnCondition::state_name},
    {"mark", ConnCondition::mark},
    {"label", ConnCondition::label},
    {"helper", ConnCondition::helper},
    {"expected_by", ConnCondition::expected_by},
    {"master", ConnCondition::master},
    {"rule", ConnCondition::rule},
    {"id", ConnCondition::id},
    {"timeout", ConnCondition::timeout},
    {"idle", ConnCondition::idle},
    {"age", ConnCondition::age},
    {"packets", ConnCondition::packets},
    {"bytes", ConnCondition::bytes}};

/// The states of TCP, SCTP and DCCP; each text ends with a zero.
std::vector<std::string_view> tracker_states() {
    std::vector<std::string_view> all;
    for (unsigned s = 0; s < kTcpStates; ++s)
        all.emplace_back(to_string(static_cast<TcpState>(s)));
    for (unsigned s = 0; s < kSctpStates; ++s)
        all.emplace_back(to_string(static_cast<SctpState>(s)));
    for (unsigned s = 0; s < kDccpStates; ++s)
        all.emplace_back(to_string(static_cast<DccpState>(s)));
    return all;
}

/// Each once, if a connection in a list may have it.
std::vector<std::string> tracker_state_words() {
    std::vector<std::string> all;
    for (const std::string_view s : tracker_states())
        if (s != "none" && std::find(all.begin(), all.end(), s) == all.end()) all.emplace_back(s);
    return all;
}

}  // namespace

std::vector<ArgSpec> connection_conditions(const PlanSource& plan) {
    const auto helpers = helper_names(plan), zones = zone_names(plan), rules = rule_names(plan);
    std::vector<ArgSpec> all{
        {"id", ArgType::id, false, "its own id"},
        {"zone", ArgType::scalar, false, "conntrack zone"},
        {.name = "from", .help = "security zone of the side that opened it", .candidates = zones},
        {.name = "to", .help = "security zone of the other side", .candidates = zones},
        {.name = "family", .help = "address family", .values = words_of(kFamilies)},
        {"proto", ArgType::scalar, false, "tcp, udp, … or a number"},
        {"src", ArgType::prefix, false, "its original source lies in this prefix"},
        {"dst", ArgType::prefix, false, "its original destination lies in this prefix"},
        {"sport", ArgType::ports, false, "original source port"},
        {"dport", ArgType::ports, false, "original destination port"},
        {.name = "state", .help = "of conntrack", .values = words_of(kStates)},
        {.name = "proto_state",
         .help = "as TCP, SCTP or DCCP has it",
         .values = tracker_state_words()},
        {"mark", ArgType::scalar, false, "number, or number/mask"},
        {"label", ArgType::scalar, false, "number, or number/mask"},
        {.name = "helper", .help = "name of its helper", .candidates = helpers},
        {.name = "expected_by",
         .help = "name of the helper that expected it",
         .candidates = helpers},
        {"master", ArgType::id, false, "id of its master"},
        {.name = "rule", .help = "name of the rule that accepted it", .candidates = rules},
        {"timeout", ArgType::times, false, "until it ends"},
        {"idle", ArgType::times, false, "since its last packet"},
        {"age", ArgType::times, false, "since its first packet"},
        {"packets", ArgType::numbers, false, "of both directions together"},
        {"bytes", ArgType::numbers, false, "of both directions together"}};
    for (ArgSpec& arg : all)
        arg.negatable = true;
    all.push_back({"assured", ArgType::boolean, false, "worth keeping under pressure, or not"});
    return all;
}

Result<ConnFilter> read_connection_filter(const Plan& plan, const Json& json) {
    const auto own_states = tracker_states();
    const Conditions conditions = Conditions::of(json);
    Args a(plan, conditions.args);
    ConnFilter f;
    if (const auto zone = a.integer("zone", kCtZones - 1)) f.ct_zone = CtZone::from(*zone);
    f.from = conditions.is_negated("from") ? ~a.edges("from") : a.edges("from");
    f.to = conditions.is_negated("to") ? ~a.edges("to") : a.edges("to");
    if (const auto i = a.word("family", kFamilies))
        f.family = *i == 0 ? Family::ipv4 : Family::ipv6;
    f.protocol = a.protocol("proto");
    f.src = a.prefix("src");
    f.dst = a.prefix("dst");
    f.sport = a.ports("sport");
    f.dport = a.ports("dport");
    if (const auto i = a.word("state", kStates)) f.state = kStateValues[*i];
    if (const auto i = a.word("proto_state", own_states)) f.state_name = own_states[*i].data();
    a.masked("mark", f.mark, f.mark_mask);
    a.masked("label", f.label, f.label_mask);
    f.assured = a.boolean("assured");
    f.helper = a.helper("helper");
    f.expected_by = a.helper("expected_by");
    f.master = a.connection("master");
    f.rule = a.rule("rule");
    f.id = a.connection("id");
    f.timeout_s = a.times("timeout");
    f.idle_s = a.times("idle");
    f.age_s = a.times("age");
    f.packets = a.numbers("packets");
    f.bytes = a.numbers("bytes");
    for (const auto& [name, condition] : kNegatable)
        if (conditions.is_negated(name)) f.negate(condition);
    if (!a.problem.empty()) return Error{a.problem};
    return f;
}

std::vector<Column> tuple_columns() {
    return {{"PROTO", {"proto"}},
            {"SOURCE", {"src", "sport"}, CellForm::endpoint},
            {"DESTINATION", {"dst", "dport"}, CellForm::endpoint}};
}

}  // namespace postern
