// SPDX-License-Identifier: BSD-3-Clause
#include "tap_rows.h"

#include <fmt/core.h>

#include "state/id_text.h"
#include "state/json_names.h"

namespace postern {
namespace {

bool is_refused(const TapRecord& r) {
    return r.fate == TapFate::drop || r.fate == TapFate::reject;
}

/// The rule that decided about the packet, else the one that accepted its connection.
std::optional<std::string> rule_behind(const Plan& plan, const TapRecord& r) {
    if (auto rule = rule_of(plan, r.packet)) return rule;
    if (r.conn_rule == kNoRule) return std::nullopt;
    return plan.names.rules.name(r.conn_rule.number());
}

std::string cause_of(const Plan& plan, const TapRecord& r) {
    const auto rule = rule_behind(plan, r);
    if (is_refused(r)) {
        const std::string why(to_string(r.packet.why));
        const bool by_rule =
            r.packet.why == DropReason::policy || r.packet.why == DropReason::reject;
        return by_rule && rule ? why + ": " + *rule : why;
    }
    if (rule) return *rule;
    return r.packet.ct == CtState::untracked ? "pass" : "";
}

std::string text_of_verdict(TapFate fate) {
    return fate == TapFate::drop     ? "DROP"
           : fate == TapFate::reject ? "REJECT"
                                     : std::string(to_string(fate));
}

std::string helper_text(const Plan& plan, HelperId helper) {
    return helper == kNoHelper ? std::string() : plan.helper_name(helper);
}

/// What a stage changed: the packet `before` and after it.
std::string change_of(const Plan& plan, const TapRecord& r, const TapStep* before,
                      const TapStep& after) {
    const auto became = [&](MaskId id) {
        return after.in(id) && (before == nullptr || !before->in(id));
    };
    std::string text;
    const auto add = [&](const std::string& part) {
        if (!text.empty()) text += ", ";
        text += part;
    };
    if (became(MaskId::fragment)) add("a fragment");
    if (became(MaskId::hit)) {
        add(std::string("known connection, ") + to_string(after.ct));
    } else if (became(MaskId::miss)) {
        add(after.why == DropReason::none
                ? "no connection, new"
                : "no connection, and it begins none: " + std::string(to_string(after.why)));
    } else if (before != nullptr && before->ct != after.ct && after.ct == CtState::related) {
        add("related");
    }
    if (const std::string by = helper_text(plan, after.expected_by); !by.empty())
        add("expected by helper " + by);
    if (after.judged) {
        add((after.rule == kNoRule ? std::string("the default")
                                   : "rule " + plan.names.rules.name(after.rule.number())) +
            ": " + to_string(after.action));
    }
    if (became(MaskId::drop)) add("dropped: " + std::string(to_string(after.why)));
    if (became(MaskId::away)) add("handed over to its connection's worker");
    if (became(MaskId::held)) add("held");
    if (became(MaskId::answer))
        add("rejected: answered");
    else if (became(MaskId::accept))
        add("accepted");
    if (became(MaskId::accept) && before != nullptr && before->in(MaskId::miss) && r.packet.conn)
        add("begins connection " + id_text(r.packet.conn));
    if (became(MaskId::helped) || (after.in(MaskId::helped) && after.stage->on == MaskId::helped)) {
        const std::string helper = helper_text(plan, r.helper);
        const bool reads = after.stage->on == MaskId::helped;
        if (!helper.empty()) add(reads ? "read by helper " + helper : "for helper " + helper);
    }
    if ((after.stage->provides & fact::route) != 0 && r.packet.has_out_port)
        add("to port " + plan.ports[r.packet.out_port.number()].name);
    return text;
}

}  // namespace

std::string tap_comment(const Plan& plan, const TapRecord& r) {
    std::string text = text_of_verdict(r.fate);
    // Conntrack processes datagrams, never a fragment.
    const bool fragment = r.fate == TapFate::held && !r.packet.conn;
    if (!fragment && r.packet.family != Family::none && r.packet.kind != L4Kind::unparsed)
        text += std::string(" ") + to_string(r.packet.ct);
    if (const std::string cause = cause_of(plan, r); !cause.empty()) text += " [" + cause + "]";
    if (!r.packet.conn) return text;
    text += " connection " + id_text(r.packet.conn);
    text += r.dir == Direction::original ? " original" : " reply";
    if (r.state != nullptr) text += std::string(" ") + r.state;
    if (const std::string helper = helper_text(plan, r.helper); !helper.empty())
        text += " helper " + helper;
    if (const std::string by = helper_text(plan, r.expected_by); !by.empty())
        text += " expected by " + by;
    return text;
}

Json tap_row(const Plan& plan, const TapRecord& r, const TscWall& clock) {
    Json row = record_row(plan, r.packet, clock);
    row["verdict"] = to_string(r.fate);
    row["reason"] = is_refused(r) ? Json(to_string(r.packet.why)) : Json(nullptr);
    const auto rule = rule_behind(plan, r);
    row["rule"] = rule ? Json(*rule) : Json(nullptr);
    row["at"] = to_string(r.point);
    row["direction"] = !r.packet.conn                 ? Json(nullptr)
                       : r.dir == Direction::original ? Json("original")
                                                      : Json("reply");
    row["proto_state"] = r.state != nullptr ? Json(r.state) : Json(nullptr);
    row["helper"] = text_or_null(helper_text(plan, r.helper));
    row["expected_by"] = text_or_null(helper_text(plan, r.expected_by));
    row["comment"] = tap_comment(plan, r);
    return row;
}

std::uint32_t tap_port(const TapRecord& r) {
    const bool out = r.point == TapPoint::transmit && r.packet.has_out_port;
    return (out ? r.packet.out_port : r.packet.in_port).number();
}

std::vector<Json> trace_rows(const Plan& plan, const TapRecord& r, const TscWall& clock,
                             std::uint64_t number) {
    std::vector<Json> rows;
    const auto begin = [&](const char* event) -> Json& {
        Json& row = rows.emplace_back();
        row["packet"] = number;
        row["worker"] = r.packet.worker.number();
        row["event"] = event;
        return row;
    };
    const Json whole = tap_row(plan, r, clock);
    Json& first = begin("receive");
    for (const char* key : {"time", "in", "vlan", "ethertype", "proto", "src", "sport", "dst",
                            "dport", "tcp_flags", "icmp_type", "icmp_code", "bytes"})
        if (whole.contains(key)) first[key] = whole[key];
    const Tuple tuple{source_of(r.packet), destination_of(r.packet), r.packet.sport, r.packet.dport,
                      r.packet.protocol};
    first["stage"] = "receive";
    first["text"] = whole["in"].get<std::string>() + ": " +
                    (r.packet.family == Family::none
                         ? fmt::format("ethertype 0x{:04x}", r.packet.ethertype)
                         : tuple.to_string() + (whole["tcp_flags"].is_string()
                                                    ? " " + whole["tcp_flags"].get<std::string>()
                                                    : std::string())) +
                    fmt::format(", {} bytes", r.packet.frame_bytes);
    const TapStep* before = nullptr;
    for (unsigned s = 0; s < r.n_steps; ++s) {
        const TapStep& step = r.steps[s];
        Json& row = begin("stage");
        row["stage"] = step.stage->name;
        row["state"] = to_string(step.ct);
        row["text"] = change_of(plan, r, before, step);
        before = &step;
    }
    Json& last = begin("verdict");
    last["stage"] = "verdict";
    for (const char* key : {"verdict", "reason", "rule", "state", "id", "direction", "proto_state",
                            "helper", "expected_by", "out"})
        last[key] = whole[key];
    last["text"] = whole["comment"];
    return rows;
}

}  // namespace postern
