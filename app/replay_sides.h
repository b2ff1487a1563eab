// SPDX-License-Identifier: BSD-3-Clause
// Sides: the input port of a frame of a capture, if captures do not state it.
//
// The one of --in-port, if it is given. Else first its bridge: the only one; the one of --bridge;
// the one between the zones of its two addresses, by the zones' prefixes; the one on which its MAC
// addresses were seen before. Then the side of that bridge: by MAC or prefix of the command line,
// else by zones, else the first sender is inside. A frame whose bridge is unknown is not judged.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "net/addr.h"
#include "net/packet.h"
#include "plan/plan.h"
#include "replay.h"

namespace postern {

class Sides {
  public:
    /// The error of the options, or of a configuration with several bridges and nothing to select
    /// one. `spec` outlives it. `by_port`: captures state the ports, so this is not used.
    static Result<Sides> create(const ReplayOptions& options, const Spec& spec, bool by_port);

    /// Whether frames determine their side; else it is inferred from their addresses.
    bool known() const noexcept { return mac_.has_value() || all_.has_value(); }

    /// `parsed`: parse_packet()'s result for the frame. Nothing: its bridge is unknown.
    std::optional<PortId> port_of(Bytes frame, const PacketInfo& parsed, const Plan& plan);

  private:
    using Mac = std::array<std::uint8_t, 6>;
    struct Ends {
        PortId inside, outside;
    };
    /// A bridge, and the input port of a frame, if zones or MAC addresses determine it.
    struct Place {
        const Ends* bridge = nullptr;
        std::optional<PortId> port;
    };

    Place by_zones(const IpAddr& from, const IpAddr& to, std::uint16_t tci, const Plan& plan) const;
    Place by_macs(const Mac& from, const Mac& to) const;
    Place at(PortId port) const;
    bool inside(const Mac& from, const Mac& to, const std::optional<std::pair<IpAddr, IpAddr>>& ip);

    template <class T>
    static bool first_speaker(std::set<std::pair<T, T>>& seen, const T& from, const T& to) {
        if (seen.count({to, from}) != 0) return false;
        seen.insert({from, to});
        return true;
    }

    std::vector<Ends> bridges_;
    const Ends* chosen_ = nullptr;  ///< of all frames; null: each has to be determined
    std::optional<PortId> all_;     ///< the input port of all frames
    std::vector<Prefix> prefixes_;
    std::optional<Mac> mac_;
    std::set<std::pair<IpAddr, IpAddr>> addresses_;  // {inside, outside}
    std::set<std::pair<Mac, Mac>> macs_;
    std::map<Mac, PortId> ports_;  ///< their last input port, with several bridges
};

}  // namespace postern
