// SPDX-License-Identifier: BSD-3-Clause
#include "helper/guards.h"

#include <charconv>
#include <optional>
#include <string>

namespace postern {
namespace {

constexpr std::uint16_t kFirstUnprivilegedPort = 1024;

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t v = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (ec != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return v;
}

}  // namespace

Result<void> parse_deny_ports(std::string_view text, GuardPolicy& policy) {
    while (!text.empty()) {
        const auto comma = text.find(',');
        const std::string_view item = text.substr(0, comma);
        text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
        const auto dash = item.find('-');
        const auto first = parse_port(item.substr(0, dash));
        const auto last =
            dash == std::string_view::npos ? first : parse_port(item.substr(dash + 1));
        if (!first || !last || *first > *last)
            return Error{"expected a port or a range of ports, not \"" + std::string(item) + "\""};
        if (policy.deny_count == GuardPolicy::kMaxRanges)
            return Error{"more than " + std::to_string(GuardPolicy::kMaxRanges) + " port ranges"};
        policy.deny[policy.deny_count++] = GuardPolicy::Range{*first, *last};
    }
    return {};
}

HelperCounter check_guards(const GuardPolicy& policy, const View& view, const PinHole& request,
                           bool foreign) noexcept {
    if (request.dst.family != view.original.src.family ||
        (!request.any_src() && request.src.address.family != request.dst.family))
        return HelperCounter::wrong_family;
    const IpAddr& own = request.announced_by_listener ? view.listener() : view.speaker();
    if (!policy.loose && !foreign && request.dst != own) return HelperCounter::third_party_address;
    if (request.protocol == proto::gre) return HelperCounter::kCount;  // a call id is no port
    const std::uint16_t port = request.dport.host();
    // To where the client sends from (answers to broadcast questions): that socket is open already.
    const bool own_socket =
        request.protocol == proto::udp && view.original.protocol == proto::udp &&
        request.dst == view.original.src && request.dport == view.original.sport;
    if (port < kFirstUnprivilegedPort && !own_socket) return HelperCounter::privileged_port;
    const unsigned last = unsigned{port} + request.more_ports;
    if (last > UINT16_MAX) return HelperCounter::denied_port;
    for (unsigned i = 0; i < policy.deny_count; ++i)
        if (last >= policy.deny[i].first && port <= policy.deny[i].last)
            return HelperCounter::denied_port;
    return HelperCounter::kCount;
}

}  // namespace postern
