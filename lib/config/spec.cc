// SPDX-License-Identifier: BSD-3-Clause
#include "config/spec.h"

#include <algorithm>
#include <cctype>

#include "net/ipv6.h"

namespace postern {
namespace {

std::string count(std::size_t n, const char* one) {
    return std::to_string(n) + " " + one + (n == 1 ? "" : "s");
}

template <class Items, class Text>
std::string join(const Items& items, Text text) {
    std::string out;
    for (const auto& item : items)
        out += (out.empty() ? "" : ", ") + text(item);
    return out;
}

/// The largest unit that gives a whole number, as the file would write it.
std::string duration(std::uint32_t seconds) {
    constexpr struct {
        std::uint32_t seconds;
        const char* unit;
    } kUnits[] = {{86400, "d"}, {3600, "h"}, {60, "m"}};
    for (const auto& u : kUnits)
        if (seconds >= u.seconds && seconds % u.seconds == 0)
            return std::to_string(seconds / u.seconds) + u.unit;
    return std::to_string(seconds) + "s";
}

std::string to_string(const PassSpec& pass) {
    std::vector<std::string> words;
    if (pass.all_non_ip) words.emplace_back("all that is not IP");
    if (pass.llc) words.emplace_back("llc");
    if (pass.cdp) words.emplace_back("cdp");
    if (pass.isis) words.emplace_back("isis");
    if (pass.neighbour_discovery) words.emplace_back("nd");
    for (const auto type : pass.ethertypes) {
        char text[8];
        constexpr char kHex[] = "0123456789abcdef";
        text[0] = '0';
        text[1] = 'x';
        for (int i = 0; i < 4; ++i)
            text[2 + i] = kHex[(type >> (12 - 4 * i)) & 0xf];
        text[6] = 0;
        words.emplace_back(text);
    }
    return words.empty() ? "no exceptions"
                         : join(words, [](const std::string& w) { return w; }) + " pass";
}

std::string routing_headers(std::uint8_t allowed) {
    std::string out;
    if ((allowed & ipv6_routing::bit(ipv6_routing::mobile)) != 0) out += " rh2";
    if ((allowed & ipv6_routing::bit(ipv6_routing::segments)) != 0) out += " srh";
    return out.empty() ? out : ", routing headers" + out;
}

}  // namespace

bool PortSpec::is_pci() const noexcept {
    // [domain:]bus:device.function, all hexadecimal.
    const auto hex = [&](std::size_t at, std::size_t n) {
        return at + n <= device.size() &&
               std::all_of(device.begin() + static_cast<std::ptrdiff_t>(at),
                           device.begin() + static_cast<std::ptrdiff_t>(at + n),
                           [](unsigned char c) { return std::isxdigit(c) != 0; });
    };
    const std::size_t at = device.size() == 12 && hex(0, 4) && device[4] == ':' ? 5 : 0;
    return device.size() == at + 7 && hex(at, 2) && device[at + 2] == ':' && hex(at + 3, 2) &&
           device[at + 5] == '.' && hex(at + 6, 1);
}

std::string describe(const Spec& s) {
    const auto zone_name = [&](ZoneId z) { return s.zones[z.number()].name; };
    std::string out;

    out += count(s.workers.count, "worker") + ", burst " + std::to_string(s.workers.burst);
    out += s.workers.idle.sleep_us == 0
               ? ", always polling\n"
               : ", idle after " + std::to_string(s.workers.idle.spins) + " empty polls\n";

    out += count(s.zones.size(), "zone") + ": " +
           join(s.zones, [](const auto& z) { return z.name; }) + "\n";
    out += count(s.ports.size(), "port") + "\n";
    for (const auto& p : s.ports)
        out += "  " + p.name + " (" + zone_name(p.zone) + "): " + p.device + ", " +
               (p.queues == 0 ? "a queue a worker" : count(p.queues, "queue")) + "\n";
    out += count(s.bridges.size(), "bridge") + "\n";
    for (const auto& b : s.bridges)
        out += "  " + s.ports[b.ports[0].number()].name + " <-> " +
               s.ports[b.ports[1].number()].name + ", " + to_string(b.pass) +
               routing_headers(b.routing_headers) + "\n";
    out += count(s.helpers.size(), "helper") + "\n";
    for (const auto& h : s.helpers)
        out += "  " + h.name + (h.name == h.kind ? "" : " (" + h.kind + ")") + ": " +
               join(h.protocols, [](auto p) { return protocol_name(p); }) + " " +
               join(h.ports, [](auto port) { return std::to_string(port); }) + "\n";

    const auto rules = [&](RuleAction a) {
        return std::count_if(s.policy.rules.begin(), s.policy.rules.end(),
                             [&](const RuleSpec& r) { return r.action == a; });
    };
    out += count(s.policy.rules.size(), "rule") + ": " + std::to_string(rules(RuleAction::accept)) +
           " accept, " + std::to_string(rules(RuleAction::drop)) + " drop, " +
           std::to_string(rules(RuleAction::reject)) + " reject; otherwise " +
           postern::to_string(s.policy.fallback) + "\n";
    out += "at most " + count(s.limits.connections, "connection") + ", " +
           count(s.limits.expectations, "expectation") + ", " +
           count(s.limits.helped_connections, "helped connection") + "\n";
    out += "timeouts: TCP established " + duration(s.timeouts[Timeout::tcp_established]) +
           ", UDP unreplied " + duration(s.timeouts[Timeout::udp_unreplied]) + ", UDP stream " +
           duration(s.timeouts[Timeout::udp_stream]) + "\n";
    out += "control socket " + s.control.socket + "\n";
    if (!s.state.file.empty()) {
        out += "connections are kept in " + s.state.file;
        if (s.state.save_every_s != 0) out += ", every " + duration(s.state.save_every_s);
        if (s.state.save_on_stop) out += ", at the stop";
        out += "\n";
    }
    if (!s.log.file.path.empty()) out += "records go to " + s.log.file.path + "\n";
    if (s.log.ipfix.port != 0)
        out += "records go to the collector at " + s.log.ipfix.collector.to_string() + ", port " +
               std::to_string(s.log.ipfix.port) + "\n";
    if (s.log.flows != FlowRecords::none)
        out += std::string("connections are recorded at their end") +
               (s.log.flows == FlowRecords::all ? " and their beginning" : "") + "\n";
    return out;
}

}  // namespace postern
