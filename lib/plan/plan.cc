// SPDX-License-Identifier: BSD-3-Clause
#include "plan/plan.h"

#include <algorithm>

#include "net/llc.h"

namespace postern {
bool PortPlan::passes(std::uint16_t ethertype) const noexcept {
    if (pass_all_non_ip) return true;
    switch (ethertype) {
        case llc_type::other: return false;
        case llc_type::bpdu: return pass_bpdu;
        case llc_type::cisco: return pass_cisco;
        case llc_type::isis: return pass_isis;
        default: break;
    }
    return std::binary_search(pass_ethertypes.begin(), pass_ethertypes.end(), ethertype);
}

const std::string& Plan::none() noexcept {
    static const std::string kNone;
    return kNone;
}

void HelperPorts::add(const Entry& entry) {
    if (find(entry.protocol, entry.port) != nullptr) return;
    known_[entry.port / 64] |= std::uint64_t{1} << entry.port % 64;
    entries_.push_back(entry);
}

}  // namespace postern
