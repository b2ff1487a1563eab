// SPDX-License-Identifier: BSD-3-Clause
#include "list_rows.h"

#include <array>
#include <cstdio>
#include <ctime>

#include "state/id_text.h"
#include "state/json_names.h"

namespace postern {
namespace {

Json rule_or_null(const Plan& plan, RuleId id) {
    return text_or_null(plan.rule_name(id));
}
Json id_json(ConnId id) {
    if (!id) return nullptr;
    return Json{{"worker", id.worker.number()}, {"index", id.index}, {"generation", id.generation}};
}
Json tuple_json(const Tuple& t) {
    return Json{{"src", t.src.to_string()},
                {"sport", t.sport.host()},
                {"dst", t.dst.to_string()},
                {"dport", t.dport.host()},
                {"proto", protocol_name(t.protocol)}};
}
}  // namespace

Json connection_row(const Plan& plan, WorkerId worker, std::uint32_t slot, const Conn& c,
                    Tick now) {
    const Tuple t = c.tuple();
    const std::uint32_t age = age_s(c, now);
    return {
        {"proto", protocol_name(c.protocol())},
        {"family", to_string(c.family())},
        {"src", t.src.to_string()},
        {"sport", t.sport.host()},
        {"dst", t.dst.to_string()},
        {"dport", t.dport.host()},
        {"state", to_string(list_state(c))},
        {"proto_state", c.state_name() != nullptr ? Json(c.state_name()) : Json(nullptr)},
        {"assured", c.has(conn_flag::assured)},
        {"id", id_text({slot, c.generation, worker})},
        {"worker", worker.number()},
        {"index", slot},
        {"generation", c.generation},
        {"helper", helper_or_null(plan, c.helper)},
        {"expected_by", helper_or_null(plan, c.expected_by)},
        {"master", id_json(c.master)},
        {"master_id", id_or_null(c.master)},
        {"zone", c.ct_zone().number()},
        {"from", plan.edges[c.edge(Direction::original)].name},
        {"to", plan.edges[c.edge(Direction::reply)].name},
        {"rule", rule_or_null(plan, c.rule)},
        {"mark", c.mark},
        {"label", c.label},
        {"timeouts",
         plan.timeouts_name(c.timeouts()).empty() ? "default" : plan.timeouts_name(c.timeouts())},
        {"liberal", c.has(conn_flag::liberal)},
        {"sloppy", c.sloppy != 0},
        {"timeout_s", seconds_left(c, now)},
        {"start", static_cast<std::int64_t>(std::time(nullptr)) - age},
        {"age_s", age},
        {"idle_s", idle_s(c, now)},
        {"packets_original", c.packets(Direction::original)},
        {"bytes_original", c.bytes(Direction::original)},
        {"packets_reply", c.packets(Direction::reply)},
        {"bytes_reply", c.bytes(Direction::reply)}};
}

namespace {
/// An operator may file an expectation in the name of a helper with a class that the helper lacks.
Json class_name(const Plan& plan, const ExpectInfo& e) {
    if (e.helper == kNoHelper) return nullptr;
    const auto& classes = plan.helpers[e.helper - 1u].classes;
    return e.class_index < classes.size() ? Json(classes[e.class_index].name) : Json(nullptr);
}
/// Meaningless outside, but equal for those of one call of a connection.
Json call_name(const ExpectInfo& e) {
    if (e.call == 0) return nullptr;
    std::array<char, 9> text{};
    std::snprintf(text.data(), text.size(), "%08x", e.call);
    return text.data();
}
}  // namespace

Json expectation_row(const Plan& plan, const ExpectInfo& e) {
    const unsigned full = address_bytes(e.dst.family) * 8;
    Json row{{"id", id_text(e.owner, e.id)},
             {"helper", helper_or_null(plan, e.helper)},
             {"class", class_name(plan, e)},
             {"call", call_name(e)},
             {"rule", rule_or_null(plan, e.rule)},
             {"flags", flags_json(e.flags, kExpectFlags)},
             {"timeout_s", e.timeout_ms / 1000},
             {"family", to_string(e.dst.family)},
             {"proto", protocol_name(e.protocol)},
             {"src", e.any_src() ? Json(nullptr) : Json(e.src.address.to_string())}};
    if (!e.any_src() && e.src.length != full) row["src_prefix"] = e.src.length;
    row["sport"] = e.any_sport() ? Json(nullptr) : Json(e.sport.host());
    row["dst"] = e.dst.to_string();
    row["dport"] = e.dport.host();
    row["zone"] = e.ct_zone.number();
    row["from"] = edge_or_null(plan, e.from_side);
    row["to"] = edge_or_null(plan, e.to_side);
    row["master"] = e.master ? tuple_json(e.master_tuple) : Json(nullptr);
    row["master_id"] = id_or_null(e.master);
    row["mark"] = e.mark;
    row["label"] = e.label;
    row["owner"] = e.owner;
    return row;
}

}  // namespace postern
