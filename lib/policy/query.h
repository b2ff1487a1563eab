// SPDX-License-Identifier: BSD-3-Clause
// Input of policy: the first packets of a burst's new connections, as keys.
//
// A key has the fields that rules match. `origin` folds connection state and helper into one byte:
// 0 = an ICMP error about no connection, 1 = other ICMP that a rule has to name, 2 = new, 3 + h =
// expected by helper h (3: related, but by no helper), 255 = an ICMP error about a connection. So
// "new", "related" and "related by ftp" are each one range. How a packet came (VLAN, DSCP, port) is
// beside the keys, for policies that read it.
//
// Used by: a worker, which fills its PolicyBurst with the packets of a burst without a connection,
// and passes it to Policy::classify(). Cost: for a packet with ports, one copy of its addresses and
// ports.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/types.h"
#include "net/addr.h"

namespace postern {

/// Zones and state of a new connection.
struct PolicyContext {
    ZoneId from;
    ZoneId to;
    /// fresh or related; or for ICMP: untracked, if only a rule that names its type accepts it;
    /// invalid for an error about no connection; established for one about a connection, which is
    /// accepted unless a rule that names its type decides otherwise.
    CtState state = CtState::fresh;
    /// With `related`: owner of the expectation; kNoHelper for a rule's.
    HelperId related_by = kNoHelper;
    std::uint32_t mark = 0;  ///< inherited from the master
};

/// By what means the packet came. Read only by a policy that judges_links().
struct PolicyLink {
    std::uint16_t vlan = 0;  ///< id of the outermost tag that has one; 0: none
    std::uint8_t dscp = 0;
    std::uint8_t in_port = kUnknownPort;  ///< PortId

    static constexpr std::uint8_t kUnknownPort = 0xff;  ///< no rule names it
};
static_assert(kMaxPorts < PolicyLink::kUnknownPort);

/// One new connection.
struct PolicyQuery {
    Tuple tuple;  ///< of its first packet; for ICMP, dport must be icmp_port() of it
    PolicyContext context;
    PolicyLink link = {};
    /// The sets that its addresses are taken to be in. For Policy::matching() only: classify()
    /// looks them up.
    std::uint32_t src_sets = 0, dst_sets = 0;
};

/// Type and code of an ICMP or ICMPv6 packet, as a query's dport.
constexpr Be16 icmp_port(std::uint8_t type, std::uint8_t code) noexcept {
    return Be16::from_host(static_cast<std::uint16_t>(type << 8 | code));
}

/// Whether a rule has to name this ICMP (IPv4) type to accept it: source quench and redirect, by
/// which a stranger makes the receiver send elsewhere or less.
constexpr bool only_by_name(std::uint8_t icmp_type) noexcept {
    return icmp_type == 4 || icmp_type == 5;
}

inline constexpr std::uint8_t kOriginUnknownError = 0, kOriginNamed = 1, kOriginNew = 2,
                              kOriginError = 0xff;
constexpr std::uint8_t origin_related(HelperId helper) noexcept {
    return static_cast<std::uint8_t>(kOriginNew + 1 + helper);
}
constexpr std::uint8_t origin_of(CtState state, HelperId related_by) noexcept {
    if (state == CtState::fresh) [[likely]]
        return kOriginNew;
    switch (state) {
        case CtState::related: return origin_related(related_by);
        case CtState::untracked: return kOriginNamed;
        case CtState::invalid: return kOriginUnknownError;
        case CtState::established: return kOriginError;
        case CtState::fresh: break;
    }
    return kOriginNew;
}
static_assert(kMaxZones <= 256 && origin_related(kMaxHelpers) < kOriginError,
              "zones and origins are one byte of the key");

/// The fields that are a byte, or are looked up as bytes.
struct PolicyKeyBytes {
    std::uint8_t protocol;
    std::uint8_t from;
    std::uint8_t to;
    std::uint8_t origin;
    std::uint8_t mark[4];  // the most significant first
};

/// Addresses and ports are in network order.
template <std::size_t AddressBytes>
struct PolicyKey {
    static constexpr Family kFamily = AddressBytes == 4 ? Family::ipv4 : Family::ipv6;

    PolicyKeyBytes bytes;
    std::uint8_t src[AddressBytes];
    std::uint8_t dst[AddressBytes];
    std::uint16_t sport;
    std::uint16_t dport;
};
static_assert(sizeof(PolicyKey<4>) == 20 && sizeof(PolicyKey<16>) == 44);

/// The queries of one family, and their packets.
template <class Key>
struct FamilyKeys {
    std::array<Key, kMaxBurst> keys;
    std::array<std::uint8_t, kMaxBurst> packet;
    unsigned n = 0;
    std::array<PolicyLink, kMaxBurst> links;  ///< apart, since most policies do not read them

    /// Adds a key for packet i, whose addresses and ports the caller sets.
    Key& add(unsigned i, std::uint8_t protocol, const PolicyContext& c) noexcept {
        Key& key = keys[n];
        packet[n] = static_cast<std::uint8_t>(i);
        ++n;
        key.bytes.protocol = protocol;
        key.bytes.from = c.from.number();
        key.bytes.to = c.to.number();
        key.bytes.origin = origin_of(c.state, c.related_by);
        const std::uint32_t mark = Be32::from_host(c.mark).raw();
        std::memcpy(key.bytes.mark, &mark, sizeof mark);
        return key;
    }
};

class PolicyBurst {
  public:
    /// Removes all queries.
    void clear() noexcept { ipv4_.n = ipv6_.n = 0; }
    void add(unsigned i, const PolicyQuery& q) noexcept {
        const auto add_to = [&](auto& keys) {
            auto& key = keys.add(i, q.tuple.protocol, q.context);
            std::memcpy(key.src, q.tuple.src.bytes.data(), sizeof key.src);
            std::memcpy(key.dst, q.tuple.dst.bytes.data(), sizeof key.dst);
            key.sport = q.tuple.sport.raw();
            key.dport = q.tuple.dport.raw();
            keys.links[keys.n - 1] = q.link;
        };
        q.tuple.src.family == Family::ipv4 ? add_to(ipv4_) : add_to(ipv6_);
    }
    /// The same from the packet's header fields: both addresses, the source's first, and both
    /// ports, in network order. Returns the query's link, to be set if the policy judges_links().
    PolicyLink& add(unsigned i, Family family, std::uint8_t protocol, const std::uint8_t* addresses,
                    const std::uint8_t* ports, const PolicyContext& context) noexcept {
        const auto add_to = [&](auto& keys) -> PolicyLink& {
            auto& key = keys.add(i, protocol, context);
            std::memcpy(key.src, addresses, sizeof key.src);
            std::memcpy(key.dst, addresses + sizeof key.src, sizeof key.dst);
            std::memcpy(&key.sport, ports, sizeof key.sport);
            std::memcpy(&key.dport, ports + sizeof key.sport, sizeof key.dport);
            return keys.links[keys.n - 1];
        };
        return family == Family::ipv4 ? add_to(ipv4_) : add_to(ipv6_);
    }

  private:
    friend class Policy;
    FamilyKeys<PolicyKey<4>> ipv4_;
    FamilyKeys<PolicyKey<16>> ipv6_;
};

}  // namespace postern
