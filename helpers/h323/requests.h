// SPDX-License-Identifier: BSD-3-Clause
// Shared by the three helpers of H.323: addresses in a message, and the expectations of one
// message. On a worker; lives while one message is read.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "h323/per.h"
#include "h323/schema.h"
#include "helper/emit.h"
#include "helper/view.h"
#include "net/addr.h"

namespace postern::h323 {

struct HostPort {
    IpAddr host;
    Be16 port;
};

/// The first IP address and port among `items`; none if the address is of another kind (IPX, NSAP,
/// a multicast group, …), which cannot be expected.
inline std::optional<HostPort> address_in(std::span<const per::Item> items) noexcept {
    for (std::size_t i = 0; i + 1 < items.size(); ++i) {
        if (items[i].mark != kIp || items[i + 1].mark != kPort) continue;
        const Bytes ip = items[i].bytes();
        return HostPort{ip.size() == 4 ? IpAddr::v4(ip.data()) : IpAddr::v6(ip.data()),
                        Be16::from_host(static_cast<std::uint16_t>(items[i + 1].number))};
    }
    return std::nullopt;
}

/// Whether the first protocol identifier among `items` starts like this, in any version.
inline bool is_version_of(std::span<const per::Item> items, Bytes id) noexcept {
    for (const per::Item& i : items)
        if (i.mark == kProtocol)
            return i.bytes().size() > id.size() &&
                   std::equal(id.begin(), id.end(), i.bytes().begin());
    return false;
}

/// The expectations of one message. Identical ones are requested once: a Setup proposes its media
/// address with each codec, and a channel names it for RTP and for RTCP.
class Requests {
  public:
    Requests(const View& view, Emit& emit) noexcept : view_(view), emit_(emit) {}

    const View& view() const noexcept { return view_; }
    Emit& emit() const noexcept { return emit_; }

    /// The listener, from any port, to `to`.
    PinHole from_listener(const HostPort& to, std::uint8_t protocol) const noexcept {
        PinHole hole;
        hole.src = Prefix::exact(view_.listener());
        hole.dst = to.host;
        hole.dport = to.port;
        hole.protocol = protocol;
        // The same announcement arrives over several connections: fast start and H.245, or the legs
        // of a call through a gatekeeper.
        hole.flags = expect_flag::skip_master;
        return hole;
    }

    void expect(const PinHole& hole) noexcept {
        const Asked now{hole.dst, hole.dport, hole.protocol, hole.class_index};
        const auto end = asked_.begin() + count_;
        if (std::find(asked_.begin(), end, now) != end) return;
        if (count_ != asked_.size()) asked_[count_++] = now;
        emit_.expect(hole);
    }

    /// RTP at the even port, RTCP at the odd one after it (RFC 3550 section 11), whichever of the
    /// two was announced.
    void expect_media(const HostPort& to, std::uint8_t class_index, std::uint32_t tag) noexcept {
        const unsigned even = to.port.host() & 0xfffeu;
        for (const unsigned port : {even, even + 1}) {
            PinHole hole = from_listener(
                {to.host, Be16::from_host(static_cast<std::uint16_t>(port))}, proto::udp);
            hole.class_index = class_index;
            hole.tag = tag;
            expect(hole);
        }
    }

  private:
    struct Asked {
        IpAddr dst;
        Be16 dport;
        std::uint8_t protocol = 0;
        std::uint8_t class_index = 0;
        friend bool operator==(const Asked&, const Asked&) = default;
    };

    const View& view_;
    Emit& emit_;
    std::array<Asked, Emit::kPerMessage> asked_{};
    unsigned count_ = 0;
};

}  // namespace postern::h323
