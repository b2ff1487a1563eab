// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/stage.h"

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

std::optional<OrderProblem> order_problem(const std::vector<const StageDesc*>& stages) {
    const auto provider = [&](std::uint32_t bit) {
        const auto found = std::find_if(stages.begin(), stages.end(),
                                        [bit](const StageDesc* s) { return s->provides & bit; });
        return found == stages.end() ? std::string() : "\"" + std::string((*found)->name) + "\"";
    };
    std::uint32_t known = 0;
    for (std::size_t at = 0; at < stages.size(); ++at) {
        const StageDesc& s = *stages[at];
        const std::string name = "stage \"" + std::string(s.name) + "\"";
        for (const auto& f : kFacts) {
            if (s.needs & ~known & f.bit) {
                const std::string by = provider(f.bit);
                return OrderProblem{at, name + " needs " + f.text + ", which " +
                                            (by.empty() ? "no stage before it provides"
                                                        : by + " provides: that has to be before "
                                                               "it")};
            }
            if (s.before & known & f.bit)
                return OrderProblem{
                    at, name + " comes too late: it has to be before " + provider(f.bit)};
        }
        known |= s.provides;
    }
    // A packet accepted after that would leave by an undefined port.
    if (stages.empty() || !(stages.back()->provides & fact::route))
        return OrderProblem{stages.size(),
                            "no stage decides where packets go; expected \"forward\" at the end"};
    return std::nullopt;
}

}  // namespace postern
