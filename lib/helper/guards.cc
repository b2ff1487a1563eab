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

Result<GuardPolicy::Range> parse_range(std::string_view text) {
    const auto dash = text.find('-');
    const auto first = parse_port(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_port(text.substr(dash + 1));
    if (!first || !last || *first > *last)
        return Error{"expected a port or a range of ports, not \"" + std::string(text) + "\""};
    return GuardPolicy::Range{*first, *last};
}

Result<GuardPolicy::Service> parse_service(std::string_view text) {
    const auto slash = text.find('/');
    const std::string_view name =
        slash == std::string_view::npos ? std::string_view("tcp") : text.substr(slash + 1);
    if (name != "tcp" && name != "udp" && name != "any")
        return Error{"expected tcp, udp or any after the slash, not \"" + std::string(text) + "\""};
    const auto range = parse_range(text.substr(0, slash));
    if (!range) return range.error();
    return GuardPolicy::Service{range.value(), name == "tcp"   ? proto::tcp
                                               : name == "udp" ? proto::udp
                                                               : std::uint8_t{0}};
}

/// Items between commas into `list`, each read by `parse`.
template <class List, class Parse>
Result<void> parse_list(std::string_view text, List& list, std::uint8_t& count, Parse&& parse) {
    while (!text.empty()) {
        const auto comma = text.find(',');
        const auto item = parse(text.substr(0, comma));
        text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
        if (!item) return item.error();
        if (count == list.size())
            return Error{"more than " + std::to_string(list.size()) + " port ranges"};
        list[count++] = item.value();
    }
    return {};
}

/// Whether the expectation leads to a host that the initiator of the master did not contact itself.
bool leads_back(const View& view, const PinHole& request) noexcept {
    if (request.dst == view.original.src) return true;
    const bool goes_itself = !request.any_src() && request.src == Prefix::exact(view.original.src);
    return request.dst != view.original.dst && !goes_itself;
}

bool overlaps(const GuardPolicy::Range& range, unsigned first, unsigned last) noexcept {
    return last >= range.first && first <= range.last;
}

}  // namespace

Result<void> parse_deny_ports(std::string_view text, GuardPolicy& policy) {
    return parse_list(text, policy.deny, policy.deny_count, parse_range);
}

Result<void> parse_deny_services(std::string_view text, GuardPolicy& policy) {
    policy.service_count = 0;
    return parse_list(text, policy.services, policy.service_count, parse_service);
}

HelperCounter check_guards(const GuardPolicy& policy, const View& view, const PinHole& request,
                           bool foreign) noexcept {
    if (request.dst.family != view.original.src.family ||
        (!request.any_src() && request.src.address.family != request.dst.family))
        return HelperCounter::wrong_family;
    const IpAddr& own = request.announced_by_listener ? view.listener() : view.speaker();
    if (!policy.loose && !foreign && request.dst != own) return HelperCounter::third_party_address;
    if (request.protocol == proto::gre) return HelperCounter::kCount;  // a call id is not a port
    const std::uint16_t port = request.dport.host();
    // To the client's source port (answers to broadcasts): that socket is open already.
    const bool own_socket =
        request.protocol == proto::udp && view.original.protocol == proto::udp &&
        request.dst == view.original.src && request.dport == view.original.sport;
    if (port < kFirstUnprivilegedPort && !own_socket) return HelperCounter::privileged_port;
    const unsigned last = unsigned{port} + request.more_ports;
    if (last > UINT16_MAX) return HelperCounter::denied_port;
    for (unsigned i = 0; i < policy.deny_count; ++i)
        if (overlaps(policy.deny[i], port, last)) return HelperCounter::denied_port;
    if (!leads_back(view, request)) return HelperCounter::kCount;
    for (unsigned i = 0; i < policy.service_count; ++i) {
        const GuardPolicy::Service& service = policy.services[i];
        if ((service.protocol == 0 || service.protocol == request.protocol) &&
            overlaps(service, port, last) && !own_socket)
            return HelperCounter::denied_service;
    }
    return HelperCounter::kCount;
}

}  // namespace postern
