// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/plan.h"

#include <algorithm>

namespace postern {
namespace {

struct FactName {
    std::uint32_t bit;
    const char* text;
};
constexpr FactName kFacts[] = {
    {fact::headers, "parsed headers"},
    {fact::home, "packets on their home worker"},
    {fact::connection, "a connection look-up"},
    {fact::expectation, "an expectation look-up"},
    {fact::verdict, "a policy verdict"},
    {fact::committed, "committed connections"},
    {fact::announced, "helpers that have read it"},
    {fact::route, "an output port"},
};

}  // namespace

bool PortPlan::passes(std::uint16_t ethertype) const noexcept {
    if (pass_all_non_ip) return true;
    if (ethertype < 0x0600) return pass_llc;
    return std::binary_search(pass_ethertypes.begin(), pass_ethertypes.end(), ethertype);
}

void HelperPorts::add(const Entry& entry) {
    if (find(entry.protocol, entry.port) != nullptr) return;
    known_[entry.port / 64] |= std::uint64_t{1} << entry.port % 64;
    entries_.push_back(entry);
}

Result<void> check_order(const std::vector<const StageDesc*>& stages) {
    std::uint32_t known = 0;
    for (const StageDesc* s : stages) {
        for (const auto& f : kFacts)
            if (s->needs & ~known & f.bit)
                return Error{"stage \"" + std::string(s->name) + "\" needs " + f.text +
                             ", which no stage before it provides"};
        for (const auto& f : kFacts)
            if (s->before & known & f.bit)
                return Error{"stage \"" + std::string(s->name) +
                             "\" comes too late: a stage before it provides " + f.text};
        known |= s->provides;
    }
    // What is accepted after that would leave by a port that nobody chose.
    if (stages.empty() || !(stages.back()->provides & fact::route))
        return Error{"no stage decides where packets go; expected \"forward\" at the end"};
    return {};
}

}  // namespace postern
