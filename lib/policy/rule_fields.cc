// SPDX-License-Identifier: BSD-3-Clause
#include "policy/rule_fields.h"

#include <utility>

#include "policy/query.h"

namespace postern {

NumberSet<std::uint8_t> zones_of(const std::vector<ZoneId>& zones) {
    std::vector<NumberRange<std::uint8_t>> out;
    for (const ZoneId z : zones)
        out.push_back({z.number(), z.number()});
    return set_of(std::move(out));
}
NumberSet<std::uint8_t> origins_of(const PolicyRule& r) {
    std::vector<PolicyRange> out;
    // Types that only a rule naming them accepts can still be dropped by a rule without types.
    const bool any = r.action != PolicyAction::accept || !r.icmp_types.empty();
    if (r.match_new) {
        out.push_back({any ? kOriginUnknownError : kOriginNew, kOriginNew});
        if (r.untracked) out.push_back({kOriginUnknownError, kOriginUnknownError});
    }
    if (r.match_related && r.related.empty()) {
        const bool errors = !r.icmp_types.empty();
        out.push_back({origin_related(kNoHelper),
                       static_cast<std::uint16_t>(errors ? kOriginError : kOriginError - 1)});
    }
    if (r.match_related)
        for (const auto h : r.related)
            out.push_back({origin_related(h), origin_related(h)});
    return numbers_of<std::uint8_t>(out);
}
bool names_ports(const PolicyRule& r) {
    return !r.dport.empty() || !r.icmp_types.empty() || r.services != nullptr;
}

NumberSet<std::uint32_t> services_of(const PolicyRule& r) {
    if (r.services) return *r.services;
    std::vector<PolicyRange> ports = r.dport;
    for (const std::uint8_t type : r.icmp_types)
        ports.push_back(
            {static_cast<std::uint16_t>(type << 8), static_cast<std::uint16_t>(type << 8 | 0xff)});
    if (ports.empty()) ports.push_back({0, 0xffff});
    std::vector<NumberRange<std::uint32_t>> out;
    const auto add = [&](std::uint8_t protocol) {
        for (const PolicyRange& p : ports)
            out.push_back({service_of(protocol, p.first), service_of(protocol, p.last)});
    };
    for (const std::uint8_t protocol : r.protocols)
        add(protocol);
    for (unsigned protocol = 0; r.protocols.empty() && protocol < 256; ++protocol)
        add(static_cast<std::uint8_t>(protocol));
    return set_of(std::move(out));
}
NumberSet<std::uint8_t> set_bytes(const PolicySets& sets, unsigned byte) {
    const std::uint32_t any = sets.any >> 8 * byte & 0xff, none = sets.none >> 8 * byte & 0xff;
    std::vector<NumberRange<std::uint8_t>> out;
    for (unsigned v = 0; v < 256; ++v)
        if ((any == 0 || (v & any) != 0) && (v & none) == 0)
            out.push_back({static_cast<std::uint8_t>(v), static_cast<std::uint8_t>(v)});
    return set_of(std::move(out));
}
NumberSet<std::uint8_t> masked_bytes(std::uint8_t value, std::uint8_t mask) {
    std::vector<NumberRange<std::uint8_t>> out;
    for (unsigned v = 0; v < 256; ++v)
        if ((v & mask) == value)
            out.push_back({static_cast<std::uint8_t>(v), static_cast<std::uint8_t>(v)});
    return set_of(std::move(out));
}

}  // namespace postern
