// SPDX-License-Identifier: BSD-3-Clause
#include "net/llc.h"

#include <array>
#include <cstring>

#include "net/bytes.h"

namespace postern {
namespace {

constexpr std::uint16_t kIpv4 = 0x0800, kArp = 0x0806, kIpv6 = 0x86dd;

// Service access points, without the lowest bit, which means group, or response.
constexpr std::uint8_t kIpSap = 0x06, kBpduSap = 0x42, kArpSap = 0x98, kSnapSap = 0xaa,
                       kOsiSap = 0xfe;

constexpr unsigned kSnapBytes = 5;
static_assert(4 + kSnapBytes == kMaxLlcBytes);

using Mac = std::array<std::uint8_t, 6>;
constexpr Mac kBridges = {0x01, 0x80, 0xc2, 0, 0, 0},  // IEEE 802.1D
    kProviderBridges = {0x01, 0x80, 0xc2, 0, 0, 8},    // IEEE 802.1ad
    kLevel1 = {0x01, 0x80, 0xc2, 0, 0, 0x14},          // ISO/IEC 10589
    kLevel2 = {0x01, 0x80, 0xc2, 0, 0, 0x15},
              kEndSystems = {0x09, 0, 0x2b, 0, 0, 0x04},  // ISO 9542
    kIntermediateSystems = {0x09, 0, 0x2b, 0, 0, 0x05}, kPvst = {0x01, 0, 0x0c, 0xcc, 0xcc, 0xcd},
              kCdp = {0x01, 0, 0x0c, 0xcc, 0xcc, 0xcc};

bool is(const std::uint8_t* destination, const Mac& mac) noexcept {
    return std::memcmp(destination, mac.data(), mac.size()) == 0;
}
std::uint32_t be24(const std::uint8_t* p) noexcept {
    return std::uint32_t{p[0]} << 16 | std::uint32_t{p[1]} << 8 | p[2];
}

/// `p`: an organisation, then its protocol number.
DropReason read_snap(const std::uint8_t* p, const std::uint8_t* destination,
                     std::uint16_t& type) noexcept {
    constexpr std::uint32_t kCisco = 0x00000c, kEthernet = 0, kBridgeTunnel = 0x0000f8;
    constexpr std::uint16_t kSharedSpanningTree = 0x010b;
    const std::uint32_t organisation = be24(p);
    const auto protocol = wire::be16(p + 3);
    if (organisation == kCisco) {
        if (protocol == kSharedSpanningTree && is(destination, kPvst))
            type = llc_type::bpdu;
        else if (is(destination, kCdp))
            type = llc_type::cisco;
        return DropReason::none;
    }
    // RFC 1042; IEEE 802.1H has another organisation for the same.
    if (organisation != kEthernet && organisation != kBridgeTunnel) return DropReason::none;
    if (protocol == kIpv4 || protocol == kIpv6 || protocol == kArp) return DropReason::snap_ip;
    if (is_vlan_tag(protocol)) return DropReason::vlan_tags;
    if (!is_llc(protocol)) type = protocol;
    return DropReason::none;
}

/// `p`: the protocol of OSI's network layer (ISO/IEC TR 9577), then its own bytes.
DropReason read_osi(const std::uint8_t* p, const std::uint8_t* destination,
                    std::uint16_t& type) noexcept {
    constexpr std::uint8_t kSnap = 0x80, kEsIs = 0x82, kIsIs = 0x83, kIpv6Id = 0x8e, kIpv4Id = 0xcc;
    switch (p[0]) {
        case kIpv4Id:
        case kIpv6Id:
        case kSnap: return DropReason::snap_ip;
        case kEsIs:
        case kIsIs:
            if (is(destination, kLevel1) || is(destination, kLevel2) ||
                is(destination, kEndSystems) || is(destination, kIntermediateSystems))
                type = llc_type::isis;
            return DropReason::none;
        default: return DropReason::none;
    }
}

}  // namespace

DropReason read_llc(const std::uint8_t* p, std::uint32_t have, const std::uint8_t* destination,
                    std::uint16_t& type) noexcept {
    std::array<std::uint8_t, kMaxLlcBytes> h{};
    std::memcpy(h.data(), p, have < h.size() ? have : h.size());
    type = llc_type::other;
    const std::uint8_t to = h[0] & 0xfe, from = h[1] & 0xfe;
    // Unnumbered frames have a control field of one byte, others of two. Hosts differ in whether
    // they evaluate it, and in which of the two access points they use.
    const unsigned header = (h[2] & 3) == 3 ? 3 : 4;
    const auto either = [&](std::uint8_t sap) { return to == sap || from == sap; };
    if (either(kIpSap) || either(kArpSap)) return DropReason::snap_ip;
    if (either(kSnapSap) && have >= header + kSnapBytes)
        return read_snap(h.data() + header, destination, type);
    if (either(kOsiSap)) return read_osi(h.data() + header, destination, type);
    if (to == kBpduSap && from == kBpduSap && header == 3 &&
        (is(destination, kBridges) || is(destination, kProviderBridges)))
        type = llc_type::bpdu;
    return DropReason::none;
}

}  // namespace postern
