// SPDX-License-Identifier: BSD-3-Clause
#include "broadcast/broadcast.h"

#include "helper/subnet.h"
#include "net/addr.h"

namespace postern {
namespace {

constexpr std::uint16_t kFirstUnprivilegedPort = 1024;
constexpr unsigned kPrefix = named(kBroadcastParams, "prefix");

}  // namespace

bool expect_answers(const View& view, Emit& emit) noexcept {
    const Tuple& asked = view.original;
    const auto prefix = static_cast<unsigned>(view.params[kPrefix].number);
    const auto subnet = asked_subnet(asked, prefix);
    if (subnet != subnet_of(asked.src, prefix)) return false;
    // A service that sends requests from its own port is allowed; no port of another service is
    // opened.
    if (asked.sport.host() < kFirstUnprivilegedPort && asked.sport != asked.dport) {
        emit.refuse(HelperCounter::privileged_port);
        return true;
    }
    PinHole hole;
    hole.src = *subnet;
    hole.set_sport(asked.dport);
    hole.dst = asked.src;
    hole.dport = asked.sport;
    hole.protocol = proto::udp;
    hole.flags = expect_flag::permanent | expect_flag::answers;
    emit.expect(hole);
    return true;
}

}  // namespace postern
