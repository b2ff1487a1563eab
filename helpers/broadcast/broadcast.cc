// SPDX-License-Identifier: BSD-3-Clause
#include "broadcast/broadcast.h"

#include <algorithm>

#include "net/addr.h"

namespace postern {
namespace {

constexpr std::uint16_t kFirstUnprivilegedPort = 1024;

/// The address with its bits from `bits` on cleared, or set.
IpAddr with_host_part(IpAddr a, unsigned bits, bool set) noexcept {
    for (unsigned i = 0; i < 4; ++i) {
        const unsigned here = std::min(bits - std::min(bits, i * 8), 8u);
        const auto host = static_cast<std::uint8_t>(0xffu >> here);
        a.bytes[i] = static_cast<std::uint8_t>(set ? a.bytes[i] | host : a.bytes[i] & ~host);
    }
    return a;
}

}  // namespace

bool expect_answers(const View& view, Emit& emit) noexcept {
    const Tuple& asked = view.original;
    if (asked.src.family != Family::ipv4) return false;  // IPv6 has no broadcast
    const auto prefix = static_cast<unsigned>(view.params[0].number);
    // RFC 919 section 7: to all of this network, or of the one that is named.
    if (asked.dst != IpAddr::v4(255, 255, 255, 255) &&
        asked.dst != with_host_part(asked.src, prefix, true))
        return false;
    // A service that asks its peers from its own port is known; of others no port is opened.
    if (asked.sport.host() < kFirstUnprivilegedPort && asked.sport != asked.dport) {
        emit.refuse(HelperCounter::privileged_port);
        return true;
    }
    PinHole hole;
    if (prefix != 0)
        hole.src = {with_host_part(asked.src, prefix, false), static_cast<std::uint8_t>(prefix)};
    hole.sport = asked.dport;
    hole.any_sport = false;
    hole.dst = asked.src;
    hole.dport = asked.sport;
    hole.protocol = proto::udp;
    hole.flags = PinHole::kPermanent;
    emit.expect(hole);
    return true;
}

}  // namespace postern
