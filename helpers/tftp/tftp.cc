// SPDX-License-Identifier: BSD-3-Clause
// TFTP: a client sends a request to the server's well-known port, the server answers from a port of
// its own choice (RFC 1350 section 4): that answer is expected. Boot loaders send it to a whole
// subnet, and any server of it may answer. See NOTES.md.
//
// No state: a request is alone in its datagram, and its form is the proof of protocol.
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "helper/descriptor.h"
#include "helper/emit.h"
#include "helper/subnet.h"
#include "helper/view.h"
#include "net/addr.h"
#include "net/cursor.h"

namespace postern {
namespace {

enum Class : std::uint8_t {
    kData,
    kAnswers
};

constexpr std::uint16_t kPorts[] = {69};
constexpr ExpectClass kClasses[] = {
    {"data", "the transfer itself", 1, 300},
    {"answers", "from the servers of a subnet after a request to its broadcast address", 1, 30}};
constexpr ParamDesc kParams[] = {
    kDenyPortsParam, kDenyServicesParam,
    ParamDesc{
        "prefix", ParamType::uint, "24",
        "prefix length of a subnet. Its last address is a broadcast address; hosts of the subnet "
        "may answer a request to it. 0: any host may answer a request to 255.255.255.255",
        30}};
enum Param : unsigned {
    kPrefix = named(kParams, "prefix")
};
constexpr CounterDesc kCounters[] = {
    {"read_requests", "RRQ read", Unit::requests},
    {"write_requests", "WRQ read", Unit::requests},
    {"broadcasts", "of both, those to a broadcast address", Unit::requests},
};
enum OwnCounter : unsigned {
    kReadRequests = named(kCounters, "read_requests"),
    kWriteRequests = named(kCounters, "write_requests"),
    kBroadcasts = named(kCounters, "broadcasts")
};

constexpr std::uint16_t kReadRequest = 1, kWriteRequest = 2, kLastOpcode = 6;

/// The text before the next NUL, which is skipped.
std::optional<Bytes> take_string(Cursor& c) noexcept {
    for (std::size_t n = 0;; ++n) {
        const auto b = c.peek(n);
        if (!b) return std::nullopt;
        if (*b != 0) continue;
        const auto text = c.take(n);
        c.skip(1);
        return text;
    }
}

bool equals(Bytes text, std::string_view lower_case) noexcept {
    return std::equal(text.begin(), text.end(), lower_case.begin(), lower_case.end(),
                      [](std::uint8_t have, char wanted) {
                          const bool upper = have >= 'A' && have <= 'Z';
                          return (upper ? have - 'A' + 'a' : have) == wanted;
                      });
}

/// A file name, then the mode (RFC 1350 section 5). Options may follow (RFC 2347). They do not
/// change the ends of the transfer, and some clients pad, so the rest is ignored. A server refuses
/// an empty name with an error, which its client expects.
bool is_request(Cursor c) noexcept {
    if (!take_string(c)) return false;
    const auto mode = take_string(c);
    return mode && (equals(*mode, "octet") || equals(*mode, "netascii") || equals(*mode, "mail"));
}

void on_message(View& view, Emit& emit) noexcept {
    Cursor c{view.message};
    const auto opcode = c.u16_be();
    if (!opcode || *opcode == 0 || *opcode > kLastOpcode) return emit.parse_error();
    if (*opcode != kReadRequest && *opcode != kWriteRequest) return;
    if (!view.from_client()) return emit.refuse(HelperCounter::wrong_direction);
    if (!is_request(c)) return emit.parse_error();
    emit.count(*opcode == kReadRequest ? kReadRequests : kWriteRequests);

    // From the server, any port, to the request's source.
    PinHole request;
    request.src = Prefix::exact(view.listener());
    const auto prefix = static_cast<unsigned>(view.params[kPrefix].number);
    if (const auto subnet = asked_subnet(view.original, prefix)) {
        // Servers without the file may answer, too, and sooner.
        emit.count(kBroadcasts);
        request.src = *subnet;
        request.class_index = kAnswers;
        request.flags = expect_flag::permanent | expect_flag::answers;
    }
    request.dst = view.speaker();
    request.dport = view.original.sport;
    request.protocol = proto::udp;
    emit.expect(request);
}

}  // namespace

extern const HelperDesc helper_tftp;
constinit const HelperDesc helper_tftp{
    .name = "tftp",
    .help = "TFTP transfers requested by RRQ and WRQ",
    .transports = transport::udp,
    .framing = Framing::datagram,
    .default_ports = kPorts,
    .classes = kClasses,
    .params = kParams,
    .counters = kCounters,
    .on_message = on_message,
};

}  // namespace postern
