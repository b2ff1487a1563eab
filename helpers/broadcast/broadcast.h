// SPDX-License-Identifier: BSD-3-Clause
// Shared by NetBIOS name service and SNMP: a request to all hosts of a subnet, answered by any of
// them from the service's own port. These answers match no connection: they come from other
// addresses than the request's destination.
#pragma once

#include <cstdint>
#include <string_view>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/view.h"

namespace postern {

/// Parameters of both helpers. A bridge has no address and so no netmask: it is configured.
inline constexpr ParamDesc kBroadcastParams[] = {
    ParamDesc{"prefix", ParamType::uint, "24",
              "prefix length of the client's subnet. Its last address is a broadcast address; "
              "hosts of the subnet may answer. 0: any host may",
              30},
    kDenyPortsParam, kDenyServicesParam};

/// Handles a request of the client. If its destination is the sender's whole subnet, expects the
/// answers, from any host there and the request's destination port, to its source port. The
/// parameters are kBroadcastParams. False, without an expectation: its destination is one host.
bool expect_answers(const View& view, Emit& emit) noexcept;

/// HelperDesc::on_message of both; `is_request(Cursor)` parses the protocol. `counters` has
/// `requests` and `unicast`.
template <auto is_request, const auto& counters>
void on_request(View& view, Emit& emit) noexcept {
    constexpr unsigned kRequests = named(counters, "requests");
    constexpr unsigned kUnicast = named(counters, "unicast");
    if (!view.from_client()) return;
    if (!is_request(Cursor{view.message})) return emit.parse_error();
    emit.count(expect_answers(view, emit) ? kRequests : kUnicast);
}

}  // namespace postern
