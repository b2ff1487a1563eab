// SPDX-License-Identifier: BSD-3-Clause
// SNMP (RFC 3417): requests to the whole subnet find agents. See broadcast.h and NOTES.md.
#include <cstdint>
#include <optional>

#include "broadcast/broadcast.h"

namespace postern {
namespace {

constexpr std::uint16_t kPorts[] = {161};
constexpr ExpectClass kClasses[] = {
    {"answers", "answers from agents of the sender's subnet", 1, 30}};
constexpr CounterDesc kCounters[] = {
    {"requests", "requests to a whole subnet", Unit::requests},
    {"unicast", "requests to one agent, whose answer needs no expectation", Unit::requests},
};

/// BER (X.690): the contents of the next element if it has this tag and is complete. Lengths of
/// definite form only, as RFC 3417 section 8 requires.
std::optional<Bytes> take_element(Cursor& c, std::uint8_t tag) noexcept {
    if (c.u8() != tag) return std::nullopt;
    const auto first = c.u8();
    if (!first) return std::nullopt;
    std::size_t length = *first;
    if (length >= 0x80) {
        const unsigned bytes = *first & 0x7fu;
        if (bytes == 0 || bytes > 4) return std::nullopt;
        length = 0;
        for (unsigned i = 0; i < bytes; ++i) {
            const auto b = c.u8();
            if (!b) return std::nullopt;
            length = length << 8 | *b;
        }
    }
    return c.take(length);
}

/// A message that an agent answers. Version 1 and 2c (RFC 1157, RFC 3416): version, community, and
/// the request. Version 3 (RFC 3412) may be encrypted from there on: version and header.
bool is_request(Cursor datagram) noexcept {
    constexpr std::uint8_t kSequence = 0x30, kInteger = 0x02, kOctets = 0x04;
    constexpr std::uint8_t kGet = 0xa0, kGetNext = 0xa1, kSet = 0xa3, kGetBulk = 0xa5;
    const auto message = take_element(datagram, kSequence);
    if (!message || !datagram.at_end()) return false;
    Cursor c{*message};
    const auto version = take_element(c, kInteger);
    if (!version || version->size() != 1) return false;
    if ((*version)[0] == 3) return take_element(c, kSequence).has_value();
    if ((*version)[0] > 1 || !take_element(c, kOctets)) return false;
    const auto pdu = c.peek();
    return pdu == kGet || pdu == kGetNext || pdu == kSet || pdu == kGetBulk;
}

}  // namespace

extern const HelperDesc helper_snmp;
constinit const HelperDesc helper_snmp{
    .name = "snmp",
    .help = "answers to SNMP requests that went to a whole subnet",
    .transports = transport::udp,
    .framing = Framing::datagram,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kBroadcastParams,
    .counters = kCounters,
    .on_message = on_request<is_request, kCounters>,
};

}  // namespace postern
