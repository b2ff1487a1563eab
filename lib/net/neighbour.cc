// SPDX-License-Identifier: BSD-3-Clause
#include "net/neighbour.h"

#include <cstring>

#include "net/bytes.h"
#include "net/ipv6.h"

namespace postern {
namespace {

using wire::be16;

constexpr std::uint8_t kQuery = 130, kReport = 131, kDone = 132, kRouterSolicitation = 133,
                       kRouterAdvertisement = 134, kSolicitation = 135, kAdvertisement = 136,
                       kRedirect = 137, kReport2 = 143;
constexpr std::uint8_t kSourceLinkLayer = 1;  // option, RFC 4861 section 4.6.1

bool is_link_local(const std::uint8_t* address) noexcept {
    return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}
bool is_multicast(const std::uint8_t* address) noexcept {
    return address[0] == 0xff;
}
bool is_unspecified(const std::uint8_t* address) noexcept {
    static constexpr std::uint8_t kNone[16] = {};
    return std::memcmp(address, kNone, sizeof kNone) == 0;
}
/// ff02::1:ff00:0/104, RFC 4291 section 2.7.1.
bool is_solicited_node(const std::uint8_t* address) noexcept {
    static constexpr std::uint8_t kPrefix[13] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
    return std::memcmp(address, kPrefix, sizeof kPrefix) == 0;
}

/// Properties of the extension headers before the message.
struct Chain {
    bool fragment = false;
    bool router_alert = false;  ///< of multicast listeners, RFC 2711
};
Chain read_chain(const std::uint8_t* ip, unsigned headers) noexcept {
    constexpr std::uint8_t kPad1 = 0, kRouterAlert = 5;
    Chain chain;
    std::uint8_t protocol = ip[6];
    for (unsigned at = 40; at < headers;) {
        const unsigned end = at + ipv6_extension_bytes(protocol, ip + at);
        if (protocol == ipv6_next::fragment) chain.fragment = true;
        if (protocol == ipv6_next::hop_by_hop)
            for (unsigned option = at + 2; option + 2 <= end;) {
                const std::uint8_t* o = ip + option;
                if (o[0] == kPad1) {
                    ++option;
                    continue;
                }
                option += 2u + o[1];
                if (o[0] == kRouterAlert && o[1] == 2 && option <= end && be16(o + 2) == 0)
                    chain.router_alert = true;
            }
        protocol = ip[at];
        at = end;
    }
    return chain;
}

/// Whether options fill the message from `at` on, none of them of length 0 (RFC 4861 section 4.6).
/// `source_seen`: whether one of them is the sender's link-layer address.
bool options_valid(const std::uint8_t* icmp, unsigned at, unsigned bytes,
                   bool& source_seen) noexcept {
    source_seen = false;
    while (at < bytes) {
        if (bytes - at < 8) return false;
        const unsigned length = icmp[at + 1] * 8u;
        if (length == 0 || length > bytes - at) return false;
        if (icmp[at] == kSourceLinkLayer) source_seen = true;
        at += length;
    }
    return true;
}

bool discovery_valid(const std::uint8_t* ip, unsigned headers, const std::uint8_t* icmp,
                     unsigned bytes) noexcept {
    const std::uint8_t* src = ip + 8;
    const std::uint8_t* dst = ip + 24;
    const std::uint8_t* target = icmp + 8;
    constexpr unsigned kHopLimit = 255;  // so it has crossed no router
    if (ip[7] != kHopLimit || icmp[1] != 0 || is_multicast(src)) return false;
    bool source_seen;
    const auto fits = [&](unsigned fixed, unsigned most) {
        // Extension headers can carry other data just like options.
        const unsigned extensions = headers - 40;
        return bytes >= fixed && extensions + bytes <= most &&
               options_valid(icmp, fixed, bytes, source_seen);
    };
    switch (icmp[0]) {
        case kRouterSolicitation:  // RFC 4861 section 6.1.1
            return fits(8, kMaxSolicitation) && !(is_unspecified(src) && source_seen);
        case kRouterAdvertisement:  // section 6.1.2
            return fits(16, kMaxAdvertisement) && is_link_local(src);
        case kSolicitation:  // section 7.1.1
            return fits(24, kMaxSolicitation) && !is_multicast(target) &&
                   !(is_unspecified(src) && (source_seen || !is_solicited_node(dst)));
        case kAdvertisement: {  // section 7.1.2
            constexpr std::uint8_t kSolicited = 0x40;
            return fits(24, kMaxSolicitation) && !is_multicast(target) && !is_unspecified(src) &&
                   !(is_multicast(dst) && (icmp[4] & kSolicited) != 0);
        }
        case kRedirect: {  // section 8.1
            if (!fits(40, kMaxAdvertisement) || !is_link_local(src)) return false;
            const std::uint8_t* about = icmp + 24;
            return !is_multicast(about) &&
                   (is_link_local(target) || std::memcmp(target, about, 16) == 0);
        }
        default: return false;
    }
}

/// A version 2 report is exactly its records: a group and its sources, without auxiliary data,
/// which no version of the protocol uses (RFC 3810 section 5.2).
bool report_valid(const std::uint8_t* icmp, unsigned bytes) noexcept {
    unsigned at = 8;
    for (unsigned left = be16(icmp + 6); left != 0; --left) {
        if (bytes - at < 20 || icmp[at + 1] != 0 || !is_multicast(icmp + at + 4)) return false;
        const unsigned sources = be16(icmp + at + 2) * 16u;
        if (sources > bytes - at - 20) return false;
        at += 20 + sources;
    }
    return at == bytes;
}

bool listener_valid(const std::uint8_t* ip, unsigned headers, const std::uint8_t* icmp,
                    unsigned bytes) noexcept {
    const std::uint8_t* src = ip + 8;
    // One header before it, with the router alert, for which eight bytes suffice (RFC 2711 section
    // 2.1, RFC 3810 section 5).
    if (ip[7] != 1 || icmp[1] != 0 || headers != 48) return false;
    if (!is_link_local(src) && !is_unspecified(src)) return false;
    if (icmp[0] == kReport2) return report_valid(icmp, bytes);
    if (bytes < 24) return false;
    const std::uint8_t* group = icmp + 8;
    if (icmp[0] != kQuery) return bytes == 24 && is_multicast(group);  // RFC 2710 section 3
    if (!is_multicast(group) && !is_unspecified(group)) return false;
    // Version 1, or 2 with its sources (RFC 3810 section 5.1).
    return bytes == 24 || (bytes >= 28 && bytes == 28 + be16(icmp + 26) * 16u);
}

}  // namespace

DropReason check_neighbour(const std::uint8_t* ip, unsigned headers, unsigned bytes,
                           unsigned have) noexcept {
    const Chain chain = read_chain(ip, headers);
    if (chain.fragment) return DropReason::fragment_bad;
    // All of it has to be readable. Buffers hold any frame of up to 2 KB contiguously.
    if (have < bytes) return DropReason::nd_invalid;
    const std::uint8_t* icmp = ip + headers;
    const std::uint8_t type = icmp[0];
    const bool listener = type == kQuery || type == kReport || type == kDone || type == kReport2;
    const bool valid = listener ? chain.router_alert && listener_valid(ip, headers, icmp, bytes)
                                : discovery_valid(ip, headers, icmp, bytes);
    return valid ? DropReason::none : DropReason::nd_invalid;
}

}  // namespace postern
