// SPDX-License-Identifier: BSD-3-Clause
#include "log/record_rows.h"

#include <chrono>
#include <cstring>

#include <fmt/chrono.h>
#include <rte_cycles.h>

#include "base/wall_clock.h"
#include "state/id_text.h"
#include "state/json_names.h"

namespace postern {
namespace {

IpAddr address_of(const std::uint8_t (&bytes)[16], Family family) noexcept {
    IpAddr out;
    out.family = family;
    std::memcpy(out.bytes.data(), bytes, sizeof bytes);
    return out;
}

Json zone_name(const Plan& plan, EdgeId edge) {
    return text_or_null(plan.edges[EdgeId(plan.edges.zone_of(edge).number())].name);
}

Json flag_names(std::uint8_t flags) {
    static constexpr struct {
        std::uint8_t bit;
        const char* name;
    } kFlags[] = {{tcp_flag::syn, "syn"}, {tcp_flag::ack, "ack"}, {tcp_flag::fin, "fin"},
                  {tcp_flag::rst, "rst"}, {tcp_flag::psh, "psh"}, {tcp_flag::urg, "urg"}};
    std::string out;
    for (const auto& f : kFlags)
        if ((flags & f.bit) != 0) out += (out.empty() ? "" : ",") + std::string(f.name);
    return out;
}

bool has_ports_here(const PacketRecord& r) noexcept {
    return r.kind == L4Kind::ports || r.kind == L4Kind::tcp || r.kind == L4Kind::sctp ||
           r.kind == L4Kind::dccp || r.kind == L4Kind::icmp_error;
}

}  // namespace

TscWall TscWall::now() noexcept {
    return {rte_rdtsc(), rte_get_tsc_hz(), wall_us()};
}

std::int64_t TscWall::us(std::uint64_t tsc) const noexcept {
    const auto ago = static_cast<std::int64_t>(tsc_ - tsc);
    return wall_us_ -
           static_cast<std::int64_t>(static_cast<double>(ago) * 1e6 / static_cast<double>(hz_));
}

std::string time_text(std::int64_t wall_us) {
    const std::chrono::sys_seconds seconds{std::chrono::seconds(wall_us / 1'000'000)};
    return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(seconds), wall_us % 1'000'000);
}

std::optional<std::string> rule_of(const Plan& plan, const PacketRecord& r) {
    if (!r.judged) return std::nullopt;
    if (r.rule == kNoRule) return std::string(kDefaultRule);
    return plan.names.rules.name(r.rule.number());
}

IpAddr source_of(const PacketRecord& r) noexcept {
    return address_of(r.src, r.family);
}
IpAddr destination_of(const PacketRecord& r) noexcept {
    return address_of(r.dst, r.family);
}

Json record_row(const Plan& plan, const PacketRecord& r, const TscWall& clock) {
    const bool ip = r.family != Family::none;
    const bool ports = ip && has_ports_here(r);
    const auto rule = rule_of(plan, r);
    Json row{{"time", time_text(clock.us(r.tsc))},
             {"event", "packet"},
             {"verdict", to_string(r.fate)},
             {"rule", rule ? Json(*rule) : Json(nullptr)},
             {"reason", r.fate == Fate::accept ? Json(nullptr) : Json(to_string(r.why))},
             {"in", plan.ports[r.in_port.number()].name},
             {"out", r.has_out_port ? Json(plan.ports[r.out_port.number()].name) : Json(nullptr)},
             {"from", zone_name(plan, r.from)},
             {"to", zone_name(plan, r.to)},
             {"vlan", r.vlan == 0 ? Json(nullptr) : Json(vlan_id(r.vlan))},
             {"ethertype", r.ethertype},
             {"family", ip ? Json(to_string(r.family)) : Json(nullptr)},
             {"proto", ip ? Json(protocol_name(r.protocol)) : Json(nullptr)},
             {"src", ip ? Json(source_of(r).to_string()) : Json(nullptr)},
             {"sport", ports ? Json(r.sport.host()) : Json(nullptr)},
             {"dst", ip ? Json(destination_of(r).to_string()) : Json(nullptr)},
             {"dport", ports ? Json(r.dport.host()) : Json(nullptr)}};
    row["tcp_flags"] = r.kind == L4Kind::tcp ? flag_names(r.tcp_flags) : Json(nullptr);
    if (r.has_icmp) {
        row["icmp_type"] = r.icmp_type;
        row["icmp_code"] = r.icmp_code;
    }
    row["state"] = ip ? Json(to_string(r.ct)) : Json(nullptr);
    row["bytes"] = r.frame_bytes;
    row["ip_bytes"] = r.ip_bytes;
    row["payload_bytes"] = r.payload_bytes;
    row["id"] = r.conn ? Json(id_text(r.conn)) : Json(nullptr);
    row["worker"] = r.worker.number();
    return row;
}

}  // namespace postern
