// SPDX-License-Identifier: BSD-3-Clause
#include "policy/zone_prefixes.h"

#include <atomic>
#include <cstring>
#include <string>

#include <rte_errno.h>
#include <rte_memory.h>
#include <rte_rib.h>
#include <rte_rib6.h>

#include "net/bytes.h"

namespace postern {
namespace {

bool may_be_anywhere(const std::uint8_t* a, Family family) noexcept {
    static constexpr std::uint8_t kUnspecified[16] = {};
    if (std::memcmp(a, kUnspecified, address_bytes(family)) == 0) return true;
    return family == Family::ipv4 ? a[0] == 169 && a[1] == 254              // RFC 3927
                                  : a[0] == 0xfe && (a[1] & 0xc0) == 0x80;  // RFC 4291 2.5.6
}

}  // namespace

Result<std::unique_ptr<ZonePrefixes>> ZonePrefixes::build(
    const std::vector<std::pair<Prefix, ZoneId>>& prefixes) {
    // DPDK identifies trees, and their pools, by name: those of the two families need different
    // ones.
    static std::atomic<unsigned> serial{0};
    const std::string name = "zones_" + std::to_string(serial.fetch_add(1));
    std::unique_ptr<ZonePrefixes> out(new ZonePrefixes);
    // A prefix is a node, and two that diverge need one more.
    const int nodes = static_cast<int>(2 * prefixes.size() + 2);
    rte_rib_conf v4{};
    v4.max_nodes = nodes;
    rte_rib6_conf v6{};
    v6.max_nodes = nodes;
    out->v4_ = rte_rib_create(name.c_str(), SOCKET_ID_ANY, &v4);
    out->v6_ = rte_rib6_create((name + "_6").c_str(), SOCKET_ID_ANY, &v6);
    if (out->v4_ == nullptr || out->v6_ == nullptr)
        return Error{"no memory for the prefixes of zones"};
    for (const auto& [prefix, zone] : prefixes) {
        const std::uint8_t* address = prefix.address.bytes.data();
        bool done = false;
        if (prefix.address.family == Family::ipv4) {
            auto* node = rte_rib_insert(out->v4_, wire::be32(address), prefix.length);
            done = node != nullptr && rte_rib_set_nh(node, zone.number()) == 0;
        } else {
            auto* node = rte_rib6_insert(out->v6_, address, prefix.length);
            done = node != nullptr && rte_rib6_set_nh(node, zone.number()) == 0;
        }
        if (!done)
            return Error{"prefix " + prefix.to_string() +
                         " of a zone could not be kept: " + rte_strerror(rte_errno)};
    }
    return out;
}

ZonePrefixes::~ZonePrefixes() {
    rte_rib_free(v4_);
    rte_rib6_free(v6_);
}

std::optional<ZoneId> ZonePrefixes::zone_of(const std::uint8_t* address,
                                            Family family) const noexcept {
    if (may_be_anywhere(address, family)) return std::nullopt;
    std::uint64_t zone = 0;
    if (family == Family::ipv4) {
        const auto* node = rte_rib_lookup(v4_, wire::be32(address));
        if (node == nullptr || rte_rib_get_nh(node, &zone) != 0) return std::nullopt;
    } else {
        const auto* node = rte_rib6_lookup(v6_, address);
        if (node == nullptr || rte_rib6_get_nh(node, &zone) != 0) return std::nullopt;
    }
    return ZoneId::from(zone);
}

}  // namespace postern
