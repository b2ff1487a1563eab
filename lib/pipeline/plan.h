// SPDX-License-Identifier: BSD-3-Clause
// Plan: all that configuration decides about packets. Built by control, immutable; workers read one
// pointer to it per turn.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "conntrack/track.h"
#include "helper/descriptor.h"
#include "net/keyed_hash.h"
#include "net/packet.h"
#include "pipeline/checksum.h"
#include "pipeline/stage.h"
#include "policy/policy.h"

namespace postern {

/// What a port's packets are, and where they go.
struct PortPlan {
    std::string name;
    ZoneId zone = 0;
    bool has_peer = false;
    PortIndex peer = 0;              ///< transparent mode: the other side of the bridge
    ZoneId beyond = 0;               ///< zone of the peer; without one, its own
    CtZone ct_zone = 0;              ///< of untagged frames
    std::vector<CtZone> vlan_zones;  ///< by VLAN id; empty: tags do not matter
    Checksums checksums = Checksums::nic;
    bool pass_all_non_ip = false;
    bool pass_llc = false;  ///< 802.3 frames with a length instead of an ethertype
    bool pass_nd = false;   ///< IPv6 neighbour discovery and multicast listeners
    std::vector<std::uint16_t> pass_ethertypes;  ///< sorted

    bool passes(std::uint16_t ethertype) const noexcept;
};

/// A helper instance as the path sees it.
struct HelperPlan {
    std::string name;
    std::uint8_t transports = 0;       ///< bits of `transport`
    std::vector<std::uint16_t> ports;  ///< its usual control ports, host order
    struct Class {
        std::string name;
        std::uint8_t max_expected = 1;
        std::uint32_t timeout_ms = 0;
    };
    std::vector<Class> classes;

    bool speaks(std::uint8_t protocol) const noexcept {
        return (transports & transport::of(protocol)) != 0;
    }
};

/// Which helper a control port is usually for, whatever the rules say.
class HelperPorts {
  public:
    struct Entry {
        std::uint16_t port = 0;
        std::uint8_t protocol = 0;
        HelperId helper = kNoHelper;
        bool assign = false;  ///< without being asked by a rule
    };
    /// The first one of a port stays.
    void add(const Entry& entry);
    const Entry* find(std::uint8_t protocol, std::uint16_t port) const noexcept {
        if ((known_[port / 64] >> port % 64 & 1) == 0) return nullptr;
        for (const Entry& e : entries_)
            if (e.port == port && e.protocol == protocol) return &e;
        return nullptr;
    }

  private:
    std::array<std::uint64_t, 1024> known_{};  ///< a bit a port, so that most look-ups end here
    std::vector<Entry> entries_;
};

/// What a connection expects by its rule, without any parser: others to its ports, from its peer.
struct RuleExpect {
    std::uint8_t protocol = 0;
    bool to_server = false;  ///< from who began it to whom it asked; else the other way
    std::uint16_t first_port = 0,
                  last_port = 0;  ///< host order; destinations of one connection each
    std::uint8_t class_max = 0;   ///< pending at once, of one connection
    bool permanent = false;
    std::uint32_t timeout_ms = 0;
};

/// What a rule does to the connections that it accepts.
struct RuleEffect {
    std::uint32_t mark = 0, mark_mask = 0;  ///< bits of the mask take the value
    std::uint32_t label = 0, label_mask = 0;
    std::uint8_t timeouts = 0;  ///< index into TrackConfig::timeouts
    bool liberal = false;       ///< TCP windows are not enforced
    std::uint16_t expects = 0;  ///< 0: nothing, else place in Plan::expects plus 1
    static constexpr std::uint32_t set(std::uint32_t old, std::uint32_t value,
                                       std::uint32_t mask) noexcept {
        return (old & ~mask) | value;
    }
};

struct Plan {
    static constexpr unsigned kRetaSize = 128;

    std::vector<PortPlan> ports;
    std::vector<HelperPlan> helpers;  ///< by HelperId - 1
    HelperPorts helper_ports;
    std::vector<std::string> rules;   ///< names, by RuleId
    std::vector<RuleEffect> effects;  ///< by RuleId
    std::vector<RuleExpect> expects;
    std::vector<std::string> zones;
    std::vector<std::string> timeout_names;  ///< of TrackConfig::timeouts from [1] on
    std::unique_ptr<const Policy> policy;
    TrackConfig track;
    HashSecret secret;
    std::vector<const StageDesc*> stages;
    unsigned workers = 1;
    /// Home worker by the low bits of the symmetric hash; NICs get the same table.
    std::array<WorkerId, kRetaSize> reta{};

    /// What parse_packet() has to know of frames that come in by this port.
    ParseContext parse_context(PortIndex port) const noexcept {
        const PortPlan& p = ports[port];
        return {&secret, p.ct_zone, p.vlan_zones.empty() ? nullptr : p.vlan_zones.data(),
                workers > 1};
    }
    WorkerId home(std::uint32_t rss) const noexcept { return reta[rss % kRetaSize]; }
    void set_workers(unsigned n) noexcept {
        workers = n;
        for (unsigned i = 0; i < kRetaSize; ++i)
            reta[i] = static_cast<WorkerId>(i % n);
    }
};

/// Why an order of stages does not work, and which of them is to blame (their number: the end).
struct OrderProblem {
    std::size_t at;
    std::string text;
};
/// Nothing when everything that a stage needs is provided before it, and at the end packets know
/// where to go.
std::optional<OrderProblem> order_problem(const std::vector<const StageDesc*>& stages);

}  // namespace postern
