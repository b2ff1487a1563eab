// SPDX-License-Identifier: BSD-3-Clause
// Files of addresses, ports and services that a configuration includes.
//
// Input: such a file. Oracles: the lines lie within the text, in ascending order; each item's set
// is not empty, has ascending ranges that do not touch, is printed to text that means the same, and
// together with everything else is everything.
#include <cstdint>
#include <string>
#include <string_view>

#include "config/list_items.h"
#include "require.h"

namespace postern::config {
namespace {

template <class Kind>
void check_numbers(std::string_view text) {
    const auto item = Kind::parse(text);
    if (!item.set) return;
    require(item.problem.empty() && !is_empty(*item.set), "a set and a problem, or an empty set");
    require(finished(*item.set) == *item.set, "ranges that touch");
    require(item.set->back().last <= Kind::kLast, "a number too large");
}

void check_addresses(std::string_view text) {
    const auto item = AddressKind::parse(text);
    if (!item.set) return;
    require(item.problem.empty() && !is_empty(*item.set), "a set and a problem, or an empty set");
    require(finished(*item.set) == *item.set, "ranges that touch");
    Addresses again;
    for (const AddressRange& r : AddressSet(*item.set).ranges()) {
        const auto part = AddressKind::parse(r.to_string());
        require(part.set.has_value(), "its own text is not read");
        append(again, *part.set);
    }
    require(finished(again) == *item.set, "its own text means something else");
    Addresses all{{{0, UINT32_MAX}}, {{Wide{}, NumberLimits<Wide>::kMax}}};
    Addresses both = without(all, *item.set);
    append(both, *item.set);
    require(finished(both) == all, "a set and its complement are not everything");
}

}  // namespace
}  // namespace postern::config

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern::config;
    const std::string text(reinterpret_cast<const char*>(data), size);
    unsigned last = 0;
    for (const ListLine& line : lines_of(text)) {
        postern::require(line.number > last && !line.text.empty(), "lines out of order");
        last = line.number;
        std::string_view item = line.text;
        take_not(item);
        check_addresses(item);
        check_numbers<PortKind>(item);
        check_numbers<ServiceKind>(item);
        check_numbers<VlanKind>(item);
        check_numbers<DscpKind>(item);
    }
    return 0;
}
