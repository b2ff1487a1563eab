// SPDX-License-Identifier: BSD-3-Clause
// `log`: records of packets and connections, and where they go.
#include <algorithm>
#include <charconv>

#include "config/loader.h"
#include "config/read_keys.h"

namespace postern::config {
namespace {

constexpr std::size_t kMaxAddress = 64;
constexpr std::uint16_t kIpfixPort = 4739;  // RFC 7011 section 10.3.4

std::vector<std::string_view> reasons() {
    std::vector<std::string_view> all;
    for (unsigned r = 1; r < kDropReasons; ++r)
        all.push_back(drop_reason_table()[r].name);
    return all;
}

/// Freed when their stage or their worker's turn is over: nobody knows more than their number.
bool leaves_no_record(DropReason why) {
    switch (why) {
        case DropReason::tx_full:
        case DropReason::link_down:
        case DropReason::fragment_timeout:
        case DropReason::fragment_full:
        case DropReason::helper_gone: return true;
        default: return false;
    }
}

/// ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT.
void read_collector(const Value& v, IpfixSpec& ipfix) {
    const auto text = v.text(kMaxAddress);
    if (!text) return;
    std::string_view address = *text, port;
    if (address.starts_with('[')) {
        const std::size_t end = address.find(']');
        if (end != address.npos) {
            port = address.substr(end + 1);
            address = address.substr(1, end - 1);
        }
    } else if (std::count(address.begin(), address.end(), ':') == 1) {
        port = address.substr(address.find(':'));
        address = address.substr(0, address.find(':'));
    }
    const auto parsed = IpAddr::parse(address);
    std::uint16_t number = kIpfixPort;
    if (!port.empty()) {
        const char* const end = port.data() + port.size();
        const auto [at, error] = std::from_chars(port.data() + 1, end, number);
        if (port[0] != ':' || error != std::errc{} || at != end) number = 0;
    }
    if (!parsed || number == 0)
        v.error(
            "expected an address, perhaps with a port, such as 192.0.2.9:4739 or "
            "[2001:db8::9]:4739, found " +
            v.found());
    else
        ipfix.port = number;
    if (parsed) ipfix.collector = *parsed;
}

}  // namespace

RateSpec read_rate(const Value& v) {
    const auto s = v.scalar();
    const std::size_t slash = s ? s->find('/') : std::string::npos;
    if (slash != std::string::npos && slash + 2 == s->size()) {
        const char unit = s->back();
        const std::uint32_t period_s = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : 0;
        std::uint32_t n = 0;
        const char* const last = s->data() + slash;
        const auto [end, error] = std::from_chars(s->data(), last, n);
        if (error == std::errc{} && end == last && period_s != 0 && n >= 1 && n <= RateSpec::kMost)
            return {n, period_s};
    }
    v.error("expected a number a second, minute or hour, such as 100/s, 20/m or 5/h, from 1 to " +
            std::to_string(RateSpec::kMost) + ", found " + v.found());
    return {};
}

LogRate read_log_rate(const Value& v) {
    const auto s = v.scalar();
    if (s && s->ends_with("/s")) {
        std::uint32_t n = 0;
        const char* const last = s->data() + s->size() - 2;
        const auto [end, error] = std::from_chars(s->data(), last, n);
        if (error == std::errc{} && end == last && n >= 1 && n <= LogRate::kMost) return {n};
    } else if (s && (*s == "yes" || *s == "true" || *s == "on")) {
        return {LogRate::kUnlimited};
    } else if (s && (*s == "no" || *s == "false" || *s == "off")) {
        return {};
    }
    v.error("expected yes, no, or a number of records a second from 1/s to 1000000/s, found " +
            v.found());
    return {};
}

void Loader::log(const Value& v) {
    LogSpec& log = spec_.log;
    Map map(v);
    read_keys(map, log);
    if (auto rate = map.get("default")) log.of_default = read_log_rate(*rate);
    if (auto drops = map.get("drops")) {
        const auto names = reasons();
        Map by_reason(*drops);
        for (const Map::Item& item : by_reason.items())
            if (const auto i = item.key.choice(names, "a reason for drops")) {
                log.of_reasons[*i + 1] = read_log_rate(item.value);
                if (leaves_no_record(static_cast<DropReason>(*i + 1)))
                    item.key.warning("packets dropped for this reason are counted only");
            }
        by_reason.finish();
    }
    if (auto file = map.get("file")) {
        Map of(*file);
        read_keys(of, log.file);
        if (auto at = of.require("path"))
            if (const auto path = at->text(kMaxPath)) {
                if (path->empty() || path->front() != '/' || path->back() == '/')
                    at->error(at->found() +
                              " is not a file from the root (expected such as "
                              "/var/log/postern/packets.jsonl)");
                log.file.path = *path;
            }
        of.finish();
    }
    const auto socket = [&](const char* key, const std::string& path) {
        if (!path.empty() && path.front() != '/')
            map.get(key)->error("\"" + path + "\" is not a path from the root");
    };
    if (auto ipfix = map.get("ipfix")) {
        Map of(*ipfix);
        read_keys(of, log.ipfix);
        if (auto at = of.require("collector")) read_collector(*at, log.ipfix);
        of.finish();
    }
    socket("syslog", log.syslog);
    socket("journal", log.journal);
    if (auto flows = map.get("flows"); flows && log.flows != FlowRecords::none &&
                                       log.file.path.empty() && log.syslog.empty() &&
                                       log.journal.empty() && log.ipfix.port == 0)
        flows->warning(
            "nobody gets flow records: there is no `file`, `syslog`, `journal` or "
            "`ipfix`");
    map.finish();
}

}  // namespace postern::config
