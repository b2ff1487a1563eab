// SPDX-License-Identifier: BSD-3-Clause
// PacketRecord: what a worker reports of one packet. Plain data: numbers of ports, zones and rules,
// which control turns into names.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "base/drop_reason.h"
#include "base/types.h"
#include "net/packet.h"

namespace postern {

/// What became of it.
enum class Fate : std::uint8_t {
    accept,
    drop,
    reject  ///< dropped, and policy says that its sender gets an answer
};
constexpr std::string_view to_string(Fate f) noexcept {
    constexpr std::string_view kNames[] = {"accept", "drop", "reject"};
    return kNames[static_cast<unsigned>(f)];
}

struct PacketRecord {
    std::uint64_t tsc = 0;                    ///< the processor's clock when its fate was decided
    ConnId conn;                              ///< its connection, if it has one
    RuleId rule;                              ///< kNoRule with `judged`: the default
    std::uint8_t src[16] = {}, dst[16] = {};  ///< as in Conn
    Be16 sport, dport;
    std::uint32_t frame_bytes = 0;
    std::uint16_t ip_bytes = 0;       ///< from the IP header on; 0: not read
    std::uint16_t payload_bytes = 0;  ///< of the transport protocol
    std::uint16_t vlan = 0;           ///< as in PacketInfo
    std::uint16_t ethertype = 0;
    EdgeId from, to;
    PortId in_port, out_port;  ///< out_port: only with has_out_port
    WorkerId worker;
    Fate fate = Fate::drop;
    DropReason why = DropReason::none;
    Family family = Family::none;
    std::uint8_t protocol = 0;
    std::uint8_t tcp_flags = 0;
    L4Kind kind = L4Kind::unparsed;
    std::uint8_t icmp_type = 0, icmp_code = 0;
    CtState ct = CtState::invalid;
    bool judged = false;  ///< `rule` has decided about it
    bool has_out_port = false;
    bool has_icmp = false;  ///< icmp_type and icmp_code are known
};
static_assert(std::is_trivially_copyable_v<PacketRecord> && sizeof(PacketRecord) <= 128);

}  // namespace postern
