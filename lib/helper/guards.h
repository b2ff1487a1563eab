// SPDX-License-Identifier: BSD-3-Clause
// Guards: restrictions on all helpers, checked once for all of them, on every request, by the
// engine. A helper cannot bypass them. Cost: a few comparisons a request.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "helper/counters.h"
#include "helper/emit.h"
#include "helper/view.h"

namespace postern {

/// Of one helper instance; immutable after construction.
struct GuardPolicy {
    static constexpr unsigned kMaxRanges = 16;
    static constexpr unsigned kMaxServices = 32;
    bool loose = false;  ///< announced addresses may be foreign
    std::uint8_t deny_count = 0;
    struct Range {
        std::uint16_t first = 0;
        std::uint16_t last = 0;  ///< inclusive
    };
    std::array<Range, kMaxRanges> deny{};
    /// Not opened on the host that began the control connection, nor on a third one, unless that
    /// host is the source.
    struct Service : Range {
        std::uint8_t protocol = 0;  ///< 0: any
    };
    std::array<Service, kMaxServices> services{};
    std::uint8_t service_count = 0;
};

/// Parses "3306,6000-6063" into `policy.deny`. Control only.
Result<void> parse_deny_ports(std::string_view text, GuardPolicy& policy);
/// Parses "3389,5900-5909/tcp,5060/udp,7000/any" into `policy.services`, replacing its contents.
/// Control only.
Result<void> parse_deny_services(std::string_view text, GuardPolicy& policy);

/// Returns the counter of the guard that forbids the request, or HelperCounter::kCount. `foreign`:
/// the request's class may announce other hosts' addresses.
HelperCounter check_guards(const GuardPolicy& policy, const View& view, const PinHole& request,
                           bool foreign) noexcept;

}  // namespace postern
