// SPDX-License-Identifier: BSD-3-Clause
// NetBIOS name service (RFC 1002): a query for a name goes to the whole subnet. See broadcast.h and
// NOTES.md.
#include <cstdint>

#include "broadcast/broadcast.h"

namespace postern {
namespace {

constexpr std::uint16_t kPorts[] = {137};
constexpr ExpectClass kClasses[] = {{"answers", "answers from hosts of the sender's subnet", 1, 3}};
constexpr CounterDesc kCounters[] = {
    {"requests", "requests to a whole subnet", Unit::requests},
    {"unicast", "requests to one host, whose answer needs no expectation", Unit::requests},
};

/// RFC 1002 section 4.2.1: id, flags, four counts; then the question, whose name is 32 letters
/// (section 4.1, "first level encoding").
bool is_request(Cursor c) noexcept {
    constexpr unsigned kResponse = 0x8000, kNameLetters = 32;
    c.skip(2);
    const auto flags = c.u16_be();
    const auto questions = c.u16_be();
    c.skip(6);
    if (!flags || (*flags & kResponse) != 0 || questions != 1) return false;
    if (c.u8() != kNameLetters) return false;
    const auto name = c.take(kNameLetters);
    if (!name) return false;
    for (const std::uint8_t letter : *name)
        if (letter < 'A' || letter > 'P') return false;
    return true;
}

}  // namespace

extern const HelperDesc helper_netbios;
constinit const HelperDesc helper_netbios{
    .name = "netbios",
    .help = "answers to NetBIOS name service requests that went to a whole subnet",
    .transports = transport::udp,
    .framing = Framing::datagram,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kBroadcastParams,
    .counters = kCounters,
    .on_message = on_request<is_request, kCounters>,
};

}  // namespace postern
