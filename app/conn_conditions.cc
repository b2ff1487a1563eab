// SPDX-License-Identifier: BSD-3-Clause
#include "conn_conditions.h"

#include "args.h"
#include "conntrack/conn.h"

namespace postern {
namespace {

constexpr std::string_view kFamilies[] = {"ipv4", "ipv6"};
constexpr std::string_view kStates[] = {"new", "established", "related"};
constexpr CtState kStateValues[] = {CtState::fresh, CtState::established, CtState::related};

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
    return {
        {"zone", ArgType::integer, false, "conntrack zone"},
        {.name = "from", .help = "security zone of the side that opened it", .candidates = zones},
        {.name = "to", .help = "security zone of the other side", .candidates = zones},
        {.name = "family", .help = "address family", .values = words_of(kFamilies)},
        {"proto", ArgType::scalar, false, "tcp, udp, … or a number"},
        {"src", ArgType::prefix, false, "its original source lies in this prefix"},
        {"dst", ArgType::prefix, false, "its original destination lies in this prefix"},
        {"sport", ArgType::integer, false, "original source port"},
        {"dport", ArgType::integer, false, "original destination port"},
        {.name = "state", .help = "of conntrack", .values = words_of(kStates)},
        {.name = "proto_state",
         .help = "as TCP, SCTP or DCCP has it",
         .values = tracker_state_words()},
        {"mark", ArgType::scalar, false, "number, or number/mask"},
        {"label", ArgType::scalar, false, "number, or number/mask"},
        {"assured", ArgType::boolean, false, "worth keeping under pressure, or not"},
        {.name = "helper", .help = "name of its helper", .candidates = helpers},
        {.name = "expected_by",
         .help = "name of the helper that expected it",
         .candidates = helpers},
        {"master", ArgType::id, false, "id of its master, WORKER/INDEX.GENERATION"},
        {.name = "rule", .help = "name of the rule that accepted it", .candidates = rules}};
}

Result<ConnFilter> read_connection_filter(const Plan& plan, const Json& json) {
    const auto own_states = tracker_states();
    Args a(plan, json);
    ConnFilter f;
    if (const auto zone = a.uint("zone", kCtZones - 1)) f.ct_zone = CtZone::from(*zone);
    f.from = a.edges("from");
    f.to = a.edges("to");
    if (const auto i = a.word("family", kFamilies))
        f.family = *i == 0 ? Family::ipv4 : Family::ipv6;
    f.protocol = a.protocol("proto");
    f.src = a.prefix("src");
    f.dst = a.prefix("dst");
    f.sport = a.port("sport");
    f.dport = a.port("dport");
    if (const auto i = a.word("state", kStates)) f.state = kStateValues[*i];
    if (const auto i = a.word("proto_state", own_states)) f.state_name = own_states[*i].data();
    a.masked("mark", f.mark, f.mark_mask);
    a.masked("label", f.label, f.label_mask);
    f.assured = a.boolean("assured");
    f.helper = a.helper("helper");
    f.expected_by = a.helper("expected_by");
    f.master = a.connection("master");
    f.rule = a.rule("rule");
    if (!a.problem.empty()) return Error{a.problem};
    return f;
}

std::vector<Column> tuple_columns() {
    return {{"PROTO", {"proto"}},
            {"SOURCE", {"src", "sport"}, CellForm::endpoint},
            {"DESTINATION", {"dst", "dport"}, CellForm::endpoint}};
}

}  // namespace postern
