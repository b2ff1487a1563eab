// SPDX-License-Identifier: BSD-3-Clause
#include "commands.h"

#include <ctime>

#include <rte_ethdev.h>
#include <rte_rcu_qsbr.h>

namespace postern {
namespace {

Json name_or_null(const Plan& plan, HelperId id) {
    return id == kNoHelper ? Json(nullptr) : Json(plan.helpers[id - 1u].name);
}
Json rule_or_null(const Plan& plan, RuleId id) {
    return id == kNoRule ? Json(nullptr) : Json(plan.rules[id]);
}
Json id_json(ConnId id) {
    if (!id) return nullptr;
    return Json{{"worker", id.worker}, {"index", id.index}, {"generation", id.generation}};
}
Json tuple_json(const Tuple& t) {
    return Json{{"src", t.src.to_string()},
                {"sport", t.sport.host()},
                {"dst", t.dst.to_string()},
                {"dport", t.dport.host()},
                {"proto", protocol_name(t.protocol)}};
}
std::int64_t seconds_left(Tick deadline, Tick now) {
    const std::int32_t ms = deadline - now;
    return ms <= 0 ? 0 : (ms + 999) / 1000;
}

std::vector<Json> count_rows(Firewall& fw) {
    std::uint64_t total = 0, capacity = 0;
    for (unsigned w = 0; w < fw.workers(); ++w) {
        const ConnTable& t = fw.worker(w).conns();
        total += t.count().get();
        capacity += t.capacity();
    }
    return {{{"connections", total}, {"max", capacity}}};
}

std::string transports_text(const HelperDesc& desc) {
    if (desc.transports == (transport::tcp | transport::udp)) return "tcp, udp";
    return desc.transports == transport::tcp ? "tcp" : "udp";
}

/// Of a helper whose parser is another process.
Json process_json(const UserspaceServer::Status& s) {
    Json row{{"connected", s.connected},
             {"pid", s.pid == 0 ? Json(nullptr) : Json(s.pid)},
             {"socket", s.socket}};
#define X(name, help) row[#name] = s.counters.name.get();
    POSTERN_PROCESS_COUNTERS(X)
#undef X
    return row;
}

std::vector<Json> helper_rows(Firewall& fw, const UserspaceServer* processes) {
    std::vector<Json> rows;
    for (std::size_t h = 0; h < fw.plan().helpers.size(); ++h) {
        const auto id = static_cast<HelperId>(h + 1);
        const HelperInstance* instance = fw.helpers().find(id);
        Json counters = Json::object();
        for (unsigned w = 0; w < fw.workers(); ++w) {
            fw.worker(w).helpers().for_each_counter(id, [&](const CounterValue& c) {
                const std::string name(c.name);
                counters[name] = counters.value(name, std::uint64_t{0}) + c.value;
            });
        }
        rows.push_back({{"name", instance->name},
                        {"kind", instance->desc->name},
                        {"proto", transports_text(*instance->desc)},
                        {"removed", fw.is_removed(id)},
                        {"ports", fw.plan().helpers[h].ports},
                        {"attached", counters["attached"]},
                        {"messages", counters["messages"]},
                        {"expectations", counters["expectations"]},
                        {"counters", counters}});
        if (const auto s = processes != nullptr ? processes->status(id) : std::nullopt)
            rows.back()["process"] = process_json(*s);
    }
    return rows;
}

std::vector<Json> stats_rows(Firewall& fw, const PortSet& ports) {
    std::vector<Json> rows;
    auto add = [&](const Json& where, std::string_view name, std::uint64_t value,
                   std::string_view help) {
        rows.push_back({{"worker", where}, {"name", name}, {"value", value}, {"help", help}});
    };
    for (unsigned w = 0; w < fw.workers(); ++w) {
        const WorkerCounters& c = fw.worker(w).counters();
#define X(name, help) add(w, #name, c.name.get(), help);
        POSTERN_WORKER_COUNTERS(X)
#undef X
        add(w, "connections", fw.worker(w).conns().count().get(), "connections now");
        const ExpectOwner& e = fw.expectations().owner(static_cast<OwnerId>(w));
        for (unsigned o = 0; o < kInsertOutcomes; ++o) {
            const auto outcome = static_cast<InsertOutcome>(o);
            add(w, "expectations_" + std::string(to_string(outcome)), e.inserted(outcome),
                help_text(outcome));
        }
        for (unsigned o = 0; o < kExpectEnds; ++o) {
            const auto end = static_cast<ExpectEnd>(o);
            add(w, "expectations_ended_" + std::string(to_string(end)), e.ended(end),
                help_text(end));
        }
    }
    add("all", "expectations", fw.expectations().live(), "expectations pending now");
    for (unsigned p = 0; p < ports.size(); ++p) {
        const PortSet::Info info = ports.info(static_cast<PortIndex>(p));
        rte_eth_stats s{};
        if (rte_eth_stats_get(info.ethdev, &s) != 0) continue;
        const Json where = "port " + info.name;
        add(where, "rx_packets", s.ipackets, "frames received by the device");
        add(where, "rx_bytes", s.ibytes, "bytes of those frames");
        add(where, "rx_missed", s.imissed, "frames the device had no room for");
        add(where, "rx_no_buffer", s.rx_nombuf, "frames for which no packet buffer was left");
        add(where, "rx_errors", s.ierrors, "frames received with an error");
        add(where, "tx_packets", s.opackets, "frames sent by the device");
        add(where, "tx_bytes", s.obytes, "bytes of those frames");
        add(where, "tx_errors", s.oerrors, "frames the device failed to send");
    }
    return rows;
}

std::vector<Json> drop_rows(Firewall& fw) {
    std::vector<Json> rows;
    for (unsigned r = 1; r < kDropReasons; ++r) {
        std::uint64_t n = 0;
        for (unsigned w = 0; w < fw.workers(); ++w)
            n += fw.worker(w).counters().drops[r].get();
        rows.push_back({{"reason", drop_reason_table()[r].name},
                        {"packets", n},
                        {"help", drop_reason_table()[r].help}});
    }
    return rows;
}

}  // namespace

Json connection_row(const Plan& plan, WorkerId worker, std::uint32_t slot, const Conn& c,
                    Tick now) {
    const Tuple t = c.tuple();
    // Unsigned: right for connections of up to 49 days.
    const std::uint32_t age_s = (now.ms - c.start_ms) / 1000;
    return {{"proto", protocol_name(c.protocol())},
            {"family", to_string(c.family())},
            {"src", t.src.to_string()},
            {"sport", t.sport.host()},
            {"dst", t.dst.to_string()},
            {"dport", t.dport.host()},
            {"state", to_string(list_state(c))},
            {"proto_state", c.state_name() != nullptr ? Json(c.state_name()) : Json(nullptr)},
            {"assured", c.has(conn_flag::assured)},
            {"worker", worker},
            {"index", slot},
            {"generation", c.generation},
            {"helper", name_or_null(plan, c.helper)},
            {"expected_by", name_or_null(plan, c.expected_by)},
            {"master", id_json(c.master)},
            {"zone", c.zone()},
            {"rule", rule_or_null(plan, c.rule)},
            {"mark", c.mark},
            {"label", c.label},
            {"timeouts", c.timeouts == 0 ? "default" : plan.timeout_names[c.timeouts - 1u]},
            {"liberal", c.has(conn_flag::liberal)},
            {"timeout_s", seconds_left(c.deadline(), now)},
            {"start", static_cast<std::int64_t>(std::time(nullptr)) - age_s},
            {"age_s", age_s},
            {"idle_s", (now.ms - c.last_seen_ms) / 1000},
            {"packets_original", c.packets(Direction::original)},
            {"bytes_original", c.bytes(Direction::original)},
            {"packets_reply", c.packets(Direction::reply)},
            {"bytes_reply", c.bytes(Direction::reply)}};
}

namespace {
/// An operator may file in the name of a helper what that one has no class for.
Json class_name(const Plan& plan, const ExpectInfo& e) {
    if (e.helper == kNoHelper) return nullptr;
    const auto& classes = plan.helpers[e.helper - 1u].classes;
    return e.class_index < classes.size() ? Json(classes[e.class_index].name) : Json(nullptr);
}
}  // namespace

Json expectation_row(const Plan& plan, const ExpectInfo& e) {
    Json flags = Json::array();
    if (e.flags & expect_flag::permanent) flags.push_back("permanent");
    if (e.flags & expect_flag::inactive) flags.push_back("inactive");
    if (e.flags & expect_flag::userspace) flags.push_back("userspace");
    const unsigned full = address_bytes(e.dst.family) * 8;
    Json row{{"id", std::to_string(e.id.index) + "." + std::to_string(e.id.generation)},
             {"helper", name_or_null(plan, e.helper)},
             {"class", class_name(plan, e)},
             {"rule", rule_or_null(plan, e.rule)},
             {"flags", flags},
             {"timeout_s", e.timeout_ms / 1000},
             {"family", to_string(e.dst.family)},
             {"proto", protocol_name(e.protocol)},
             {"src", e.src_prefix == 0 ? Json(nullptr) : Json(e.src.to_string())}};
    if (e.src_prefix != 0 && e.src_prefix != full) row["src_prefix"] = e.src_prefix;
    row["sport"] = e.sport_mask.raw() == 0 ? Json(nullptr) : Json(e.sport.host());
    row["dst"] = e.dst.to_string();
    row["dport"] = e.dport.host();
    row["zone"] = e.zone;
    row["master"] = e.master ? tuple_json(e.master_tuple) : Json(nullptr);
    row["mark"] = e.mark;
    row["label"] = e.label;
    row["owner"] = e.owner;
    return row;
}

void register_commands(ControlServer& server, Firewall& fw, const PortSet& ports,
                       const UserspaceServer* processes, std::function<Tick()> now) {
    using Source = Result<std::unique_ptr<RowSource>>;
    register_conntrack_commands(server, fw, now);
    const auto letters = std::make_shared<Letters>(fw.workers());
    const auto restores = std::make_shared<Letters>(fw.workers());
    server.register_command(
        {"conntrack count", "how many connections there are", {}, [&fw](const Json&) {
             return Source(rows_of(count_rows(fw)));
         }});
    register_restore_command(server, fw, now, letters, restores);
    register_expect_commands(server, fw, std::move(now), letters);
    server.register_command(
        {"helper list", "helpers and their counters", {}, [&fw, processes](const Json&) {
             return Source(rows_of(helper_rows(fw, processes)));
         }});
    server.register_command({"stats", "counters of workers and ports", {}, [&](const Json&) {
                                 return Source(rows_of(stats_rows(fw, ports)));
                             }});
    server.register_command({"drops", "packets dropped, by reason", {}, [&fw](const Json&) {
                                 return Source(rows_of(drop_rows(fw)));
                             }});
}

}  // namespace postern
