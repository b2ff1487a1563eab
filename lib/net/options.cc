// SPDX-License-Identifier: BSD-3-Clause
#include "net/options.h"

#include <algorithm>

#include "net/bytes.h"
#include "net/ipv6.h"
#include "net/packet.h"
#include "net/parse_plain.h"

namespace postern {
namespace {

using wire::be32;

/// The drop reason for options that ended like this; `bad`: one of them is impossible for its kind.
struct OptionReasons {
    DropReason length, cut, bad;
};
DropReason judge(OptionsEnd end, bool bad, const OptionReasons& reasons) noexcept {
    switch (end) {
        case OptionsEnd::short_length: return reasons.length;
        case OptionsEnd::cut: return reasons.cut;
        case OptionsEnd::sound: break;
    }
    return bad ? reasons.bad : DropReason::none;
}

/// Whether a routing header may pass: rules match the address of the next segment only. Without
/// segments left it has no effect, and hosts skip it (RFC 8200 section 4.4); type 0 is always
/// refused (RFC 5095).
DropReason check_routing(const std::uint8_t* header, std::uint8_t allowed) noexcept {
    const std::uint8_t type = header[2], segments_left = header[3];
    if (type == ipv6_routing::source_route) return DropReason::ip6_source_route;
    if (segments_left == 0 || (ipv6_routing::bit(type) & allowed) != 0) return DropReason::none;
    return DropReason::ip6_routing_header;
}

}  // namespace

DropReason check_ip_options(const std::uint8_t* ip, unsigned header) noexcept {
    constexpr std::uint8_t kRecordRoute = 7, kTimestamps = 68, kLooseRoute = 131,
                           kStrictRoute = 137, kRouterAlert = 148;
    bool bad = false, routed = false;
    const auto check = [&](std::uint8_t kind, const std::uint8_t* value, unsigned len) {
        switch (kind) {
            case kLooseRoute:
            case kStrictRoute: routed = true; [[fallthrough]];
            case kRecordRoute: bad |= len < 1 || value[0] < 4; break;
            case kTimestamps: bad |= len < 2 || value[0] < 5; break;
            case kRouterAlert: bad |= len != 2; break;
            default: break;
        }
    };
    const OptionsEnd end = for_each_option(ip + 20, header - 20, check);
    if (routed) return DropReason::ip_source_route;
    return judge(
        end, bad,
        {DropReason::ip_option_length, DropReason::ip_option_cut, DropReason::ip_option_bad});
}

DropReason check_ip6_extensions(const std::uint8_t* ip, unsigned headers,
                                std::uint8_t allowed) noexcept {
    constexpr std::uint8_t kPad1 = 0;  // the one without a length
    std::uint8_t protocol = ip[6];
    for (unsigned at = 40; at < headers;) {
        const unsigned end = at + ipv6_extension_bytes(protocol, ip + at);
        const std::uint8_t next = ip[at];
        if (protocol == ipv6_next::routing)
            if (const DropReason why = check_routing(ip + at, allowed); why != DropReason::none)
                return why;
        if (protocol == ipv6_next::hop_by_hop || protocol == ipv6_next::destination) {
            for (at += 2; at < end;) {
                if (ip[at] == kPad1) {
                    ++at;
                    continue;
                }
                if (end - at < 2 || ip[at + 1] + 2u > end - at) return DropReason::ip6_option_cut;
                at += ip[at + 1] + 2u;
            }
        }
        protocol = next;
        at = end;
    }
    return DropReason::none;
}

DropReason read_tcp_options(const std::uint8_t* l4, unsigned header, std::uint8_t& found) noexcept {
    bool bad = false;
    std::uint8_t offers = 0, edge_at = 0;
    std::uint32_t highest = be32(l4 + 8);
    const auto read = [&](std::uint8_t kind, const std::uint8_t* value, unsigned len) {
        switch (kind) {
            case tcp_option::mss: bad |= len != 2; break;
            case tcp_option::window_scale:
                if (len != 1) {
                    bad = true;
                    break;
                }
                offers &= static_cast<std::uint8_t>(~tcp_offer::scale);  // the last one counts
                offers |= tcp_offer::window_scale;
                offers |= std::min(value[0], kMaxWindowScale);
                if (value[0] > kMaxWindowScale) offers |= tcp_offer::limited;
                break;
            case tcp_option::sack_permitted:
                bad |= len != 0;
                offers |= tcp_offer::sack;
                break;
            case tcp_option::sack:
                bad |= len == 0 || len % 8 != 0;
                for (unsigned at = 4; at + 4 <= len; at += 8) {  // each block's right edge
                    const std::uint32_t edge = be32(value + at);
                    if (!seq_after(edge, highest)) continue;
                    highest = edge;
                    edge_at = static_cast<std::uint8_t>(value + at - l4);
                }
                break;
            case tcp_option::timestamps: bad |= len != 8; break;
            default: break;
        }
    };
    const OptionsEnd end = for_each_option(l4 + 20, header - 20, read);
    found = (l4[13] & tcp_flag::syn) != 0 ? offers : edge_at;
    // RFC 9293 section 3.1 requires hosts to be prepared for illegal lengths.
    return judge(
        end, bad,
        {DropReason::tcp_option_length, DropReason::tcp_option_cut, DropReason::tcp_option_bad});
}

bool tcp_options_plain(const std::uint8_t* l4, unsigned header, PacketInfo& info) noexcept {
    return header >= 20 && read_tcp_options(l4, header, info.tcp_options) == DropReason::none &&
           (info.tcp_options & tcp_offer::limited) == 0;
}

}  // namespace postern
