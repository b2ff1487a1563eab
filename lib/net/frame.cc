// SPDX-License-Identifier: BSD-3-Clause
// Field offsets are those of the RFCs: IPv4 791, IPv6 8200.
#include "net/frame.h"

#include "net/bytes.h"
#include "net/ipv6.h"
#include "net/llc.h"

namespace postern {
namespace {

using wire::be16;

constexpr unsigned kMaxExtensionHeaders = 8;
constexpr int kMaxVlanTags = 2;

DropReason parse_ipv4(const std::uint8_t* ip, std::uint32_t len, std::uint32_t whole, bool quoted,
                      Layers& out) noexcept {
    if (len < 20) return DropReason::truncated_l3;
    const unsigned header = (ip[0] & 0x0fu) * 4;
    const unsigned total = be16(ip + 2);
    if (ip[0] >> 4 != 4 || header < 20 || (!quoted && total < header))
        return DropReason::bad_ip_header;
    if (header > len || (!quoted && total > whole)) return DropReason::truncated_l3;
    // "Do not fragment", by a host that swaps the word's bytes: as an offset it would be 512.
    constexpr unsigned kDontFragment = 0x4000, kTurned = 0x0040;
    unsigned frag = be16(ip + 6);
    if (quoted && frag == kTurned) frag = kDontFragment;
    out.src = ip + 12;
    out.dst = ip + 16;
    out.protocol = ip[9];
    out.fragment = (frag & 0x3fff) != 0;
    out.later_fragment = (frag & 0x1fff) != 0;
    out.l4_off = header;
    out.total = total;
    return DropReason::none;
}

DropReason parse_ipv6(const std::uint8_t* ip, std::uint32_t len, std::uint32_t whole, bool quoted,
                      Layers& out) noexcept {
    if (len < 40) return DropReason::truncated_l3;
    if (ip[0] >> 4 != 6) return DropReason::bad_ip_header;
    out.total = 40u + be16(ip + 4);
    if (!quoted && out.total > whole) return DropReason::truncated_l3;
    out.src = ip + 8;
    out.dst = ip + 24;
    const std::uint32_t end = quoted || out.total > len ? len : out.total;
    std::uint32_t at = 40;
    std::uint8_t next = ip[6];
    bool seen_fragment = false;
    for (unsigned n = 0;; ++n) {
        // After a later fragment's header comes payload: the chain is in the first one.
        if (out.later_fragment || !is_ipv6_extension(next)) {
            out.protocol = next;
            out.l4_off = at;
            return DropReason::none;
        }
        if (n == kMaxExtensionHeaders || end < at + 8) return DropReason::bad_ext_header;
        const unsigned size = ipv6_extension_bytes(next, ip + at);
        if (at + size > end) return DropReason::bad_ext_header;
        if (next == ipv6_next::fragment) {
            if (seen_fragment) return DropReason::bad_ext_header;
            seen_fragment = true;
            const unsigned frag = be16(ip + at + 2);
            out.fragment = (frag & 0xfff9) != 0;  // an atomic fragment (RFC 6946) is none
            out.later_fragment = (frag & 0xfff8) != 0;
        }
        next = ip[at];
        at += size;
    }
}

}  // namespace

bool parse_link(const std::uint8_t* data, std::uint32_t len, std::uint32_t frame_len,
                const ParseContext& port, PacketInfo& info, CtZone& ct_zone) noexcept {
    std::uint32_t at = 14;
    if (len < at) {
        info.why = DropReason::truncated_l2;
        return false;
    }
    std::uint16_t type = be16(data + 12);
    for (int tags = 0; is_vlan_tag(type); ++tags) {
        if (tags == kMaxVlanTags) {
            info.why = DropReason::vlan_tags;
            return false;
        }
        if (len < at + 4) {
            info.why = DropReason::truncated_l2;
            return false;
        }
        // A tag without an id carries a priority only; the frame's VLAN is the next one's.
        if (vlan_id(info.vlan) == 0) {
            info.vlan = be16(data + at);
            if (port.vlan_zones != nullptr) ct_zone = port.vlan_zones[vlan_id(info.vlan)];
        }
        type = be16(data + at + 2);
        at += 4;
    }
    if (is_llc(type)) {
        if (len < frame_len && len - at < kMaxLlcBytes) {
            info.why = DropReason::truncated_l2;
            return false;
        }
        info.why = read_llc(data + at, len - at, data, type);
    }
    info.ethertype = type;
    info.l3_off = static_cast<std::uint8_t>(at);
    return true;
}

DropReason parse_ip(const std::uint8_t* ip, std::uint32_t len, std::uint32_t whole, Family family,
                    bool quoted, Layers& out) noexcept {
    out.family = family;
    return family == Family::ipv4 ? parse_ipv4(ip, len, whole, quoted, out)
                                  : parse_ipv6(ip, len, whole, quoted, out);
}

}  // namespace postern
