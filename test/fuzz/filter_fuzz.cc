// SPDX-License-Identifier: BSD-3-Clause
// Programs of packet filters, as the control socket takes them, and the packets that they run on.
//
// Input: a line with a program, then a packet. Oracles: what is accepted runs to its end on any
// part of the packet (sanitizers see every read); what is refused has a reason.
#include <cstdint>
#include <string_view>
#include <vector>

#include "capture/filter.h"
#include "require.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern;
    const std::string_view all(reinterpret_cast<const char*>(data), size);
    const std::size_t end = all.find('\n');
    const auto filter = PacketFilter::from_program(all.substr(0, end));
    if (!filter) {
        require(!filter.error().message.empty(), "refused without a reason");
        return 0;
    }
    require(!filter.value().matches_all(), "an accepted program is empty");
    // Memory of its own, whose end sanitizers know.
    const std::string_view rest = end == std::string_view::npos ? "" : all.substr(end + 1);
    for (std::size_t n = 0; n <= rest.size() && n < 100; ++n) {
        const std::vector<std::uint8_t> packet(rest.begin(), rest.begin() + static_cast<long>(n));
        (void)filter.value().matches(packet, 1514);
    }
    return 0;
}
