// SPDX-License-Identifier: BSD-3-Clause
// RAS of H.323 (ITU-T H.225.0 section 7.6 on): endpoints and their gatekeeper, over UDP. Requests
// the call signalling that a registration, an admission or a location makes possible, and RAS
// itself if the gatekeeper names another address for it. See NOTES.md.
//
// State of a connection: the lifetime of each side's registration, and whether it has sent a GRQ. A
// message is independent in its datagram; its form is the proof of protocol.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "h323/requests.h"
#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/view.h"

namespace postern {
namespace {

using h323::HostPort;
using Items = std::span<const per::Item>;

enum Class : std::uint8_t {
    kRegistered,
    kRouted
};
enum Child : std::uint8_t {
    kQ931Child,
    kRasChild
};

struct RasState {
    // By Direction of the requester.
    std::array<std::uint16_t, 2> ttl_s{};  ///< lifetime in the last RRQ
    std::array<bool, 2> registers{};
    std::array<bool, 2> seeks_gatekeeper{};
};

constexpr Field kState[] = {
    POSTERN_FIELD(RasState, ttl_s),
    POSTERN_FIELD(RasState, registers),
    POSTERN_FIELD(RasState, seeks_gatekeeper),
};

constexpr std::uint32_t kMaxTtl = 65535;
constexpr std::uint16_t kPorts[] = {1719};
constexpr ExpectClass kClasses[] = {
    {"registered", "calls to a registered endpoint", 32, 240},
    {"routed", "call signalling to the address that the gatekeeper gives an endpoint", 32, 240,
     true}};
constexpr std::string_view kChildren[] = {"q931", "ras"};
constexpr ParamDesc kParams[] = {
    with_help(kLooseParam, "as of `ftp`: endpoints may register others' addresses"),
    kDenyPortsParam,
    ParamDesc{"gkrouted_only", ParamType::boolean, "true",
              "calls to a registered endpoint come from its gatekeeper only; false: from anywhere"},
    ParamDesc{"default_rrq_ttl", ParamType::uint, "300",
              "lifetime of a registration that names none, seconds; 0: no longer than its "
              "expectation's timeout",
              kMaxTtl},
    kDenyServicesParam};
enum Param : unsigned {
    kGkRoutedOnly = named(kParams, "gkrouted_only"),
    kDefaultRrqTtl = named(kParams, "default_rrq_ttl")
};
constexpr CounterDesc kCounters[] = {
    {"gatekeeper_requests", "GRQ read", Unit::messages},
    {"gatekeeper_confirms", "GCF read", Unit::messages},
    {"registration_requests", "RRQ read", Unit::messages},
    {"registration_confirms", "RCF read", Unit::messages},
    {"unregistrations", "URQ and UCF read", Unit::messages},
    {"admission_requests", "ARQ read", Unit::messages},
    {"admission_confirms", "ACF read", Unit::messages},
    {"location_requests", "LRQ read", Unit::messages},
    {"location_confirms", "LCF read", Unit::messages},
    {"info_responses", "IRR read", Unit::messages},
    {"unasked_confirms", "GCF and RCF that answer no request: they did nothing", Unit::messages},
};
enum OwnCounter : unsigned {
    kGatekeeperRequests = named(kCounters, "gatekeeper_requests"),
    kGatekeeperConfirms = named(kCounters, "gatekeeper_confirms"),
    kRegistrationRequests = named(kCounters, "registration_requests"),
    kRegistrationConfirms = named(kCounters, "registration_confirms"),
    kUnregistrations = named(kCounters, "unregistrations"),
    kAdmissionRequests = named(kCounters, "admission_requests"),
    kAdmissionConfirms = named(kCounters, "admission_confirms"),
    kLocationRequests = named(kCounters, "location_requests"),
    kLocationConfirms = named(kCounters, "location_confirms"),
    kInfoResponses = named(kCounters, "info_responses"),
    kUnaskedConfirms = named(kCounters, "unasked_confirms")
};

/// Registrations are distinguished by the endpoint.
std::uint32_t tag_of(Direction registrant) noexcept {
    return index(registrant) + 1;
}

std::optional<HostPort> first_address(Items items, std::uint8_t mark) noexcept {
    for (std::size_t i = 0; i < items.size(); ++i)
        if (items[i].mark == mark)
            if (const auto to = h323::address_in(per::inside(items, i))) return to;
    return std::nullopt;
}

std::optional<std::uint32_t> time_to_live(Items items) noexcept {
    for (const per::Item& i : items)
        if (i.mark == h323::kTimeToLive) return std::min(i.number, kMaxTtl);
    return std::nullopt;
}

/// Destination of calls to the endpoint: the first of its addresses that is its own. If none is,
/// the first, for the guards to judge.
std::optional<HostPort> own_signal_address(const View& view, Items items) noexcept {
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (items[i].mark != h323::kCallSignalAddress) continue;
        const auto to = h323::address_in(per::inside(items, i));
        if (to && to->host == view.speaker() && to->port.host() != 0) return to;
    }
    return first_address(items, h323::kCallSignalAddress);
}

/// Call signalling to `to`, for more than one call.
PinHole signalling(const h323::Requests& requests, const HostPort& to) noexcept {
    PinHole hole = requests.from_listener(to, proto::tcp);
    hole.flags |= expect_flag::permanent;
    hole.child = kQ931Child;
    return hole;
}

void on_registration_request(const View& view, h323::Requests& requests, RasState& s,
                             Items items) noexcept {
    const auto said = time_to_live(items);
    const auto otherwise = static_cast<std::uint32_t>(view.params[kDefaultRrqTtl].number);
    s.ttl_s[index(view.direction)] = static_cast<std::uint16_t>(said.value_or(otherwise));
    s.registers[index(view.direction)] = true;
    const auto to = own_signal_address(view, items);
    if (!to) return;  // a keep-alive may leave it out
    PinHole hole = signalling(requests, *to);
    if (view.params[kGkRoutedOnly].number == 0) hole.src = Prefix{};
    hole.class_index = kRegistered;
    hole.tag = tag_of(view.direction);
    requests.expect(hole);
}

/// The gatekeeper agrees and sends the lifetime; the RAS connection lasts as long.
void on_registration_confirm(const View& view, Emit& emit, const RasState& s,
                             Items items) noexcept {
    const unsigned registrant = index(!view.direction);
    if (!s.registers[registrant]) return emit.count(kUnaskedConfirms);
    const std::uint32_t ttl_s = time_to_live(items).value_or(s.ttl_s[registrant]);
    if (ttl_s == 0) return;
    emit.activate(kRegistered, tag_of(!view.direction), ttl_s);
    emit.min_timeout(ttl_s);
}

void on_unregistration(Emit& emit, RasState& s) noexcept {
    emit.remove(kRegistered, 0);
    emit.remove(kRouted, 0);
    emit.min_timeout(0);
    s.registers = {};
}

/// RAS continues at the address that the gatekeeper names, unless it is this one.
void on_gatekeeper_confirm(const View& view, h323::Requests& requests, const RasState& s,
                           Items items) noexcept {
    if (!s.seeks_gatekeeper[index(!view.direction)]) return requests.emit().count(kUnaskedConfirms);
    const auto to = first_address(items, h323::kRasAddress);
    const Be16 port = view.from_client() ? view.original.sport : view.original.dport;
    if (!to || (to->host == view.speaker() && to->port == port)) return;
    PinHole hole = requests.from_listener(*to, proto::udp);
    hole.class_index = kRouted;
    hole.child = kRasChild;
    requests.expect(hole);
}

/// An admission or a location: the requester may call there. Its own address answers an ARQ with
/// answerCall.
void on_routed(const View& view, h323::Requests& requests, Items items) noexcept {
    const auto to = first_address(items, h323::kCallSignalAddress);
    if (!to || to->host == view.listener()) return;
    PinHole hole = signalling(requests, *to);
    hole.class_index = kRouted;
    requests.expect(hole);
}

void on_message(View& view, Emit& emit) noexcept {
    per::Tree tree;
    if (!per::decode(h323::kRasMessage, view.message, tree)) return emit.parse_error();
    if (tree.items().empty()) return;
    auto s = view.load<RasState>();
    h323::Requests requests(view, emit);
    const Items items = per::inside(tree.items(), 0);
    switch (tree.items()[0].mark) {
        case h323::kGatekeeperRequest:
            emit.count(kGatekeeperRequests);
            s.seeks_gatekeeper[index(view.direction)] = true;
            break;
        case h323::kGatekeeperConfirm:
            emit.count(kGatekeeperConfirms);
            on_gatekeeper_confirm(view, requests, s, items);
            break;
        case h323::kRegistrationRequest:
            emit.count(kRegistrationRequests);
            on_registration_request(view, requests, s, items);
            break;
        case h323::kRegistrationConfirm:
            emit.count(kRegistrationConfirms);
            on_registration_confirm(view, emit, s, items);
            break;
        case h323::kRegistrationReject:
            emit.remove(kRegistered, tag_of(!view.direction));
            s.registers[index(!view.direction)] = false;
            break;
        case h323::kUnregistrationRequest:
            emit.count(kUnregistrations);
            on_unregistration(emit, s);
            break;
        case h323::kUnregistrationConfirm: emit.count(kUnregistrations); break;
        case h323::kAdmissionRequest: emit.count(kAdmissionRequests); break;
        case h323::kAdmissionConfirm:
            emit.count(kAdmissionConfirms);
            on_routed(view, requests, items);
            break;
        case h323::kLocationRequest: emit.count(kLocationRequests); break;
        case h323::kLocationConfirm:
            emit.count(kLocationConfirms);
            on_routed(view, requests, items);
            break;
        case h323::kInfoRequestResponse: emit.count(kInfoResponses); break;
        default: break;
    }
    view.save(s);
}

}  // namespace

extern const HelperDesc helper_ras;
constinit const HelperDesc helper_ras{
    .name = "ras",
    .help = "H.323 registration, admission and location: the call signalling they lead to",
    .transports = transport::udp,
    .framing = Framing::datagram,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .children = kChildren,
    .state = private_state<RasState, kState>(),
    .on_message = on_message,
};

}  // namespace postern
