// SPDX-License-Identifier: BSD-3-Clause
// What NetBIOS name service and SNMP have in common: a request to all hosts of a subnet, answered
// by any of them from the service's own port. No connection knows those answers: they come from
// other addresses than the request went to.
#pragma once

#include <cstdint>
#include <string_view>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/view.h"

namespace postern {

/// Parameters of both helpers. A bridge has no address and so no netmask: the configuration tells.
inline constexpr ParamDesc kBroadcastParams[] = {
    ParamDesc{"prefix", ParamType::uint, "24",
              "prefix length of the client's subnet. Its last address is a broadcast address; "
              "hosts of the subnet may answer. 0: any host may",
              30},
    kDenyPortsParam, kDenyServicesParam};

/// A request by the client: if it went to the sender's whole subnet, opens for the answers, from
/// any host there and the port that was asked, to the port that asks. The parameters are
/// kBroadcastParams. False, and nothing opens: it went to one host.
bool expect_answers(const View& view, Emit& emit) noexcept;

/// HelperDesc::on_message of both; `is_request(Cursor)` knows the protocol. `counters` has
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
