// SPDX-License-Identifier: BSD-3-Clause
#include "state/json_record.h"

#include <algorithm>

#include "conntrack/saved_fields.h"
#include "state/id_text.h"
#include "state/json_fields.h"
#include "state/json_helper.h"
#include "state/json_names.h"
#include "state/saved_checks.h"

namespace postern {
namespace {

Json tuple_into(Json out, const Tuple& t) {
    out["proto"] = protocol_name(t.protocol);
    out["src"] = t.src.to_string();
    out["sport"] = t.sport.host();
    out["dst"] = t.dst.to_string();
    out["dport"] = t.dport.host();
    return out;
}

/// The ends of a connection or expectation. `any`: null is any, for src and sport.
Tuple read_tuple(Fields& f, bool any) {
    Tuple t;
    const auto protocol = parse_protocol(f.text("proto"));
    if (!protocol) f.wrong("proto", "expected a protocol");
    t.protocol = protocol.value_or(0);
    t.dst = f.address("dst");
    f.read("dport", t.dport);
    if (!any || !f.at("src").is_null()) {
        t.src = f.address("src");
        if (t.src.family != t.dst.family) f.wrong("dst", "is of another family than src");
    }
    if (!any || !f.at("sport").is_null()) f.read("sport", t.sport);
    return t;
}

/// Fields common to connections and expectations besides their ends.
template <class T>
void read_common(Fields& f, const Plan& plan, CtZone& ct_zone, T& out) {
    f.read("ct_zone", ct_zone);
    f.read("mark", out.mark);
    f.read("label", out.label);
    out.rule = rule_of(plan, f.text("rule"));
}
Json common_into(Json out, const Plan& plan, CtZone ct_zone, RuleId rule, std::uint32_t mark,
                 std::uint32_t label) {
    out["ct_zone"] = ct_zone.number();
    out["rule"] = text_or_null(plan.rule_name(rule));
    out["mark"] = mark;
    out["label"] = label;
    return out;
}

void check(Fields& f, const Misfit& misfit) {
    if (misfit) f.wrong(misfit.key, misfit.what, misfit.fault);
}

/// The edge of a name; a record of an old file may lack it.
std::optional<EdgeId> read_edge(Fields& f, const Plan& plan, const char* key) {
    if (!f.has(key)) f.wrong(key, "is missing", RecordFault::no_zone);
    return plan.edges.find(f.has(key) ? f.text(key) : std::string());
}

SavedConnection read_connection(Fields& f, const Plan& plan, const HelperSet& helpers,
                                Problem& problem) {
    SavedConnection out;
    Conn& c = out.image.conn;
    const Tuple t = read_tuple(f, false);
    set_ends(c, t);
    read_common(f, plan, c.key.ct_zone, c);
    const std::uint64_t key_class = f.number("key_class", max_key_class(t.protocol));
    const bool both_known = t.protocol == proto::gre && f.flag("both_calls_known");
    check(f, set_key_class(c, t, static_cast<unsigned>(key_class), both_known));
    out.id = f.id("id");
    out.master = f.id("master");
    c.flags = f.flags("flags", kConnFlags);
    const auto entry = read_edge(f, plan, "from"), exit = read_edge(f, plan, "to");
    check(f, set_zones(c, plan, entry, exit));
    // An old file, and a record of an expected connection, has none of these.
    set_first_link(c, plan, f.has("vlan") ? f.number("vlan", kVlans - 1) : 0,
                   f.has("dscp") ? f.number("dscp", 63) : 0,
                   f.has("in_port") ? f.text("in_port") : std::string());
    const auto profile =
        place(plan.timeout_names, f.text("timeouts"), [](const std::string& n) { return n; });
    c.set_timeouts(profile ? static_cast<unsigned>(*profile) + 1 : 0);
    c.expected_by = helper_of(plan, f.text("expected_by"));
    c.timeout_ms = f.duration_ms("timeout_ms");
    out.idle_ms = f.duration_ms("idle_ms");
    f.read("age_ms", out.age_ms);
    std::uint64_t packets[2] = {}, bytes[2] = {};
    for (const auto& [key, to, most] : {std::tuple("packets", packets, Conn::kMaxPackets),
                                        std::tuple("bytes", bytes, Conn::kMaxBytes)}) {
        const Json& two = f.at(key);
        if (!two.is_array() || two.size() != 2) {
            f.wrong(key, "expected a list of two numbers");
            continue;
        }
        for (unsigned d = 0; d < 2; ++d)
            to[d] = f.number(two[d], key, most);
    }
    for (const Direction d : {Direction::original, Direction::reply})
        c.set_counts(d, packets[index(d)], bytes[index(d)]);
    if (!has_state_names(t.protocol))
        c.set_state(f.number("state", 1));
    else if (!set_state(c, f.text("state")))
        f.wrong("state", "this protocol has no such state");
    if (const TrackerPart part = tracker_part(c); !part.fields.empty()) {
        std::fill(part.bytes.begin(), part.bytes.end(), std::uint8_t{0});
        f.inner("tracker").read_struct(part.fields, part.bytes);
    }
    if (t.protocol == proto::tcp) {
        for (unsigned d = 0; d < 2; ++d) {
            TcpSideImage side;
            f.of("tcp", d).read_struct(kTcpSideFields, bytes_of(side));
            put_image(c.tcp_side(d), side);
        }
        c.mark_latest();
    }
    HelperImage& helper = out.image.helper;
    const std::string name = f.text("helper");
    const HelperId id = helper_of(plan, name);
    if (id != kNoHelper && !plan.helpers[id - 1u].supports(t.protocol))
        f.wrong("helper", "does not read this protocol");
    // Its helper waits for the first packet with payload.
    const bool waits = id != kNoHelper && !f.has("private") && is_silent(c);
    if (waits) {
        c.helper = id;
    } else if (id != kNoHelper) {
        helper.conn.helper = id;
        helper.there = read_helper(f.inner("private"), *helpers.find(id)->desc, helper, problem);
    } else {
        helper.there = f.flag("expects_by_rule");
    }
    out.forgets = !name.empty() && !helper.there && !waits;
    return out;
}

SavedExpectation read_expectation(Fields& f, const Plan& plan) {
    SavedExpectation out;
    ExpectRequest& r = out.request;
    out.master = f.id("master");
    const Tuple t = read_tuple(f, true);
    r.protocol = t.protocol;
    r.dst = t.dst;
    r.dport = t.dport;
    if (t.src.family != Family::none)
        r.src = {t.src, static_cast<std::uint8_t>(f.number(
                            "src_prefix", std::uint64_t{8} * address_bytes(t.src.family)))};
    if (!f.at("sport").is_null()) r.set_sport(t.sport);
    read_common(f, plan, r.ct_zone, r);
    const auto side = [&](const char* key) {
        const std::string name = f.text(key);
        if (name.empty()) return kAnyEdge;
        const auto id = plan.edges.find(name);
        if (!id) f.wrong(key, "there is no zone of this name", RecordFault::no_zone);
        return id ? plan.edges.side_of(*id) : kAnyEdge;
    };
    r.from_side = side("from");
    r.to_side = side("to");
    r.class_index = static_cast<std::uint8_t>(f.number("class", kExpectClasses - 1));
    r.flags = f.flags("flags", kExpectFlags);
    f.read("tag", r.tag);
    f.read("call", r.call);
    r.timeout_ms = f.duration_ms("left_ms");
    r.child_helper = helper_of(plan, f.text("child_helper"));
    const std::string helper = f.text("helper");
    r.helper = helper_of(plan, helper);
    if (r.helper == kNoHelper && !helper.empty())
        f.wrong("helper", "there is no helper of this name", RecordFault::no_helper);
    set_limits(plan, r);
    return out;
}

}  // namespace

Json connection_record(const Plan& plan, const HelperSet& helpers, ConnId id, const Conn& conn,
                       const HelperImage* image, Tick now) {
    const bool there = image != nullptr && image->there;
    Conn c = conn;  // its tracker's state is completed
    Json out = tuple_into({{"id", id_text(id)}, {"master", id_or_null(c.master)}}, c.tuple());
    out["key_class"] = std::uint8_t{c.key_class};
    if (c.protocol() == proto::gre) out["both_calls_known"] = c.gre.second_key != 0;
    out = common_into(std::move(out), plan, c.ct_zone(), c.rule, c.mark, c.label);
    out["from"] = plan.edges[c.edge(Direction::original)].name;
    out["to"] = plan.edges[c.edge(Direction::reply)].name;
    if (!c.has(conn_flag::expected)) {
        out["vlan"] = unsigned{c.first.vlan};
        out["dscp"] = unsigned{c.first.dscp};
        const unsigned port = c.first.in_port;
        out["in_port"] =
            port != 0 && port <= plan.ports.size() ? Json(plan.ports[port - 1].name) : Json();
    }
    out["timeouts"] = text_or_null(plan.timeouts_name(c.timeouts()));
    out["expected_by"] = helper_or_null(plan, c.expected_by);
    out["flags"] = flags_json(c.flags, kConnFlags);
    out["state"] = c.state_name() != nullptr ? Json(c.state_name()) : Json(std::uint8_t{c.state});
    out["timeout_ms"] = c.timeout_ms;
    out["idle_ms"] = now.ms - c.last_seen_ms;
    out["age_ms"] = now.ms - c.start_ms;
    out["packets"] = {c.packets(Direction::original), c.packets(Direction::reply)};
    out["bytes"] = {c.bytes(Direction::original), c.bytes(Direction::reply)};
    if (c.protocol() == proto::tcp) {
        c.recall_last();
        for (unsigned d = 0; d < 2; ++d) {
            TcpSideImage side = image_of(c.tcp_side(d));
            out["tcp"].push_back(struct_json(bytes_of(side), kTcpSideFields));
        }
    }
    if (const TrackerPart part = tracker_part(c); !part.fields.empty())
        out["tracker"] = struct_json(part.bytes, part.fields);
    out["helper"] = helper_or_null(plan, c.helper);
    if (there && c.helper != kNoHelper)
        out["private"] = helper_json(*image, *helpers.find(c.helper)->desc);
    out["expects_by_rule"] = there && c.helper == kNoHelper;
    return {{"connection", out}};
}

Json expectation_record(const Plan& plan, const ExpectInfo& e, Tick now) {
    Json out{{"master", id_or_null(e.master)},
             {"proto", protocol_name(e.protocol)},
             {"src", e.any_src() ? Json(nullptr) : Json(e.src.address.to_string())},
             {"src_prefix", e.src.length},
             {"sport", e.any_sport() ? Json(nullptr) : Json(e.sport.host())},
             {"dst", e.dst.to_string()},
             {"dport", e.dport.host()},
             {"class", e.class_index},
             {"flags", flags_json(e.flags, kExpectFlags)},
             {"tag", e.tag},
             {"call", e.call},
             {"left_ms", std::max(e.deadline - now, 0)},
             {"helper", helper_or_null(plan, e.helper)},
             {"child_helper", helper_or_null(plan, e.child_helper)}};
    out["from"] = edge_or_null(plan, e.from_side);
    out["to"] = edge_or_null(plan, e.to_side);
    return {{"expectation", common_into(std::move(out), plan, e.ct_zone, e.rule, e.mark, e.label)}};
}

Result<SavedRecord> read_record(const Plan& plan, const HelperSet& helpers, const Json& record,
                                RecordFault* fault) {
    if (fault != nullptr) *fault = RecordFault::damaged;
    if (!record.is_object() || record.size() != 1)
        return Error{"expected an object with one key, connection or expectation"};
    const std::string kind = record.begin().key();
    if (kind != "connection" && kind != "expectation")
        return Error{"expected a connection or an expectation"};
    Problem problem;
    Fields f(record.front(), kind, problem);
    SavedRecord out;
    if (kind == "connection")
        out = read_connection(f, plan, helpers, problem);
    else
        out = read_expectation(f, plan);
    if (fault != nullptr) *fault = problem.fault;
    if (!problem.text.empty()) return Error{problem.text};
    return out;
}

}  // namespace postern
