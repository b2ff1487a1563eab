// SPDX-License-Identifier: BSD-3-Clause
#include "conn_state.h"

#include <algorithm>

#include "conntrack/saved_fields.h"
#include "helper_state.h"
#include "id_text.h"
#include "json_fields.h"
#include "json_names.h"

namespace postern {
namespace {

constexpr FlagName kConnFlags[] = {{conn_flag::seen_reply, "seen_reply"},
                                   {conn_flag::assured, "assured"},
                                   {conn_flag::expected, "expected"},
                                   {conn_flag::liberal, "liberal"}};

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

/// The states of a protocol with a state machine of its own; 0: it has none.
unsigned states_of(std::uint8_t protocol) {
    switch (protocol) {
        case proto::tcp: return kTcpStates;
        case proto::sctp: return kSctpStates;
        case proto::dccp: return kDccpStates;
        default: return 0;
    }
}

/// The part of the key that is not in the ends: the kind of an ICMP query, whether GRE is a call's.
/// Ends that no packet of the protocol has are an error.
void read_key_class(Fields& f, const Tuple& t, Conn& c) {
    const bool icmp = t.protocol == proto::icmp || t.protocol == proto::icmpv6;
    const bool call = t.protocol == proto::gre;
    c.key_class = f.number("key_class", icmp ? kIcmpQueries : call ? kGreCall : 0) & 0x0f;
    if (icmp && (c.key_class == 0 || t.sport != t.dport))
        f.wrong("key_class", "expected a query's, with one id");
    else if (!icmp && c.key_class == 0 && !has_ports(t.protocol) &&
             (t.sport.raw() != 0 || t.dport.raw() != 0))
        f.wrong("dport", "this protocol has no ports");
    if (!call) return;
    c.gre = {f.flag("both_calls_known") ? 1u : 0u};
    if (c.gre.second_key != 0 && c.key_class != kGreCall) f.wrong("both_calls_known", "is no call");
}

/// No packet has set state on which a later one depends.
bool is_silent(const Conn& c) {
    return c.protocol() != proto::tcp || c.tcp_state() == TcpState::syn_sent ||
           c.tcp_state() == TcpState::syn_recv;
}

SavedConnection read_connection(Fields& f, const Plan& plan, const HelperSet& helpers,
                                Problem& problem) {
    SavedConnection out;
    Conn& c = out.image.conn;
    const Tuple t = read_tuple(f, false);
    std::copy(t.src.bytes.begin(), t.src.bytes.end(), c.src);
    std::copy(t.dst.bytes.begin(), t.dst.bytes.end(), c.dst);
    c.sport = t.sport;
    c.dport = t.dport;
    c.key.protocol = t.protocol;
    c.key.family = static_cast<std::uint8_t>(t.src.family);
    read_common(f, plan, c.key.ct_zone, c);
    read_key_class(f, t, c);
    out.id = f.text("id");
    out.master = f.text("master");
    const auto edge = [&](const char* key) {
        const auto id = plan.edges.find(f.text(key));
        if (!id) f.wrong(key, "there is no zone of this name");
        return id.value_or(EdgeId{});
    };
    const EdgeId came_in = edge("from"), went_out = edge("to");
    if (!plan.edges.joined(came_in, went_out))
        f.wrong("to", "no bridge leads there from where it comes in");
    c.set_edges(plan.edges.pair(came_in, went_out));
    const auto profile =
        place(plan.timeout_names, f.text("timeouts"), [](const std::string& n) { return n; });
    c.set_timeouts(profile ? static_cast<unsigned>(*profile) + 1 : 0);
    c.expected_by = helper_of(plan, f.text("expected_by"));
    c.flags = f.flags("flags", kConnFlags);
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
    if (const unsigned states = states_of(t.protocol); states == 0) {
        c.set_state(f.number("state", 1));
    } else {
        const std::string wanted = f.text("state");
        unsigned state = 0;
        for (; state < states; ++state) {
            c.set_state(state);
            if (wanted == c.state_name()) break;
        }
        if (state == states) f.wrong("state", "this protocol has no such state");
    }
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
    out.master = f.text("master");
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
        if (!id) f.wrong(key, "there is no zone of this name");
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
        f.wrong("helper", "there is no helper of this name");
    if (r.helper != kNoHelper) {
        const auto& classes = plan.helpers[r.helper - 1u].classes;
        if (r.class_index < classes.size())
            r.class_max = r.call != 0 ? classes[r.class_index].max_per_call
                                      : classes[r.class_index].max_expected;
        r.master_max = plan.helpers[r.helper - 1u].max_pending;
    }
    r.flags |= expect_flag::beside;
    return out;
}

}  // namespace

WorkerId home_of(const Steering& steering, const Conn& conn) noexcept {
    return steering.home_of(conn.tuple(), conn.ct_zone(), conn.key_class);
}

Json connection_record(const Plan& plan, const HelperSet& helpers, WorkerId worker,
                       const ConnQuery::Row& row) {
    Conn c = row.conn;
    Json out = tuple_into(
        {{"id", id_text({row.slot, c.generation, worker})}, {"master", id_or_null(c.master)}},
        c.tuple());
    out["key_class"] = std::uint8_t{c.key_class};
    if (c.protocol() == proto::gre) out["both_calls_known"] = c.gre.second_key != 0;
    out = common_into(std::move(out), plan, c.ct_zone(), c.rule, c.mark, c.label);
    out["from"] = plan.edges[c.edge(Direction::original)].name;
    out["to"] = plan.edges[c.edge(Direction::reply)].name;
    out["timeouts"] = text_or_null(plan.timeouts_name(c.timeouts()));
    out["expected_by"] = helper_or_null(plan, c.expected_by);
    out["flags"] = flags_json(c.flags, kConnFlags);
    out["state"] = c.state_name() != nullptr ? Json(c.state_name()) : Json(std::uint8_t{c.state});
    out["timeout_ms"] = c.timeout_ms;
    out["idle_ms"] = row.now.ms - c.last_seen_ms;
    out["age_ms"] = row.now.ms - c.start_ms;
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
    if (row.helper.there && c.helper != kNoHelper)
        out["private"] = helper_json(row.helper, *helpers.find(c.helper)->desc);
    out["expects_by_rule"] = row.helper.there && c.helper == kNoHelper;
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

Result<SavedRecord> read_record(const Plan& plan, const HelperSet& helpers, const Json& record) {
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
    if (!problem.text.empty()) return Error{problem.text};
    return out;
}

}  // namespace postern
