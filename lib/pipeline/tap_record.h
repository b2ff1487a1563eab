// SPDX-License-Identifier: BSD-3-Clause
// TapRecord: what a worker reports of one packet to a capture or a trace. Plain data, and a bounded
// copy of the packet's first bytes.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/types.h"
#include "pipeline/batch.h"
#include "pipeline/packet_record.h"
#include "pipeline/stage.h"
#include "policy/policy.h"

namespace postern {

/// Where the packet was seen.
enum class TapPoint : std::uint8_t {
    receive,   ///< as it came; its fate is known
    drop,      ///< the same, of dropped packets
    transmit,  ///< as it was given to its output port
    trace      ///< its way through the stages
};
constexpr std::string_view to_string(TapPoint p) noexcept {
    constexpr std::string_view kNames[] = {"receive", "drop", "transmit", "trace"};
    return kNames[static_cast<unsigned>(p)];
}

/// What became of it.
enum class TapFate : std::uint8_t {
    accept,
    drop,
    reject,  ///< dropped, and policy says that its sender gets an answer
    answer,  ///< sent by Postern itself, to the sender of a rejected packet
    held,    ///< waits for the rest of its datagram, or for its helper's process
    handed   ///< handed over to the worker of its connection
};
constexpr std::string_view to_string(TapFate f) noexcept {
    constexpr std::string_view kNames[] = {"accept", "drop", "reject", "answer", "held", "handed"};
    return kNames[static_cast<unsigned>(f)];
}

/// A packet after a stage that it was in.
struct TapStep {
    const StageDesc* stage = nullptr;  ///< constant data
    CtState ct = CtState::invalid;
    DropReason why = DropReason::none;
    bool judged = false;      ///< this stage asked policy: `action` and `rule` are its verdict
    std::uint16_t masks = 0;  ///< bit n: it is in the mask n, see MaskId
    PolicyAction action = PolicyAction::drop;
    HelperId expected_by = kNoHelper;  ///< an expectation of this helper matches
    RuleId rule = kNoRule;             ///< kNoRule: the default

    bool in(MaskId id) const noexcept { return (masks >> static_cast<unsigned>(id) & 1) != 0; }
};
static_assert(static_cast<unsigned>(MaskId::kCount) <= 16);

struct TapRecord {
    static constexpr unsigned kMaxSteps = 16;

    /// Its tuple, rule, zones, connection. `tsc` is the time of `point`.
    PacketRecord packet;
    std::uint8_t* bytes = nullptr;  ///< the copy, in memory of the tap
    std::uint16_t kept = 0;         ///< its length
    TapPoint point = TapPoint::receive;
    TapFate fate = TapFate::drop;
    // Only with packet.conn:
    Direction dir = Direction::original;
    HelperId helper = kNoHelper;
    HelperId expected_by = kNoHelper;  ///< the helper that expected its connection
    RuleId conn_rule = kNoRule;        ///< the rule that accepted its connection
    const char* state = nullptr;       ///< of its protocol's tracker; null: it has none
    // Only of traces:
    std::uint8_t n_steps = 0;
    std::array<TapStep, kMaxSteps> steps{};
};

}  // namespace postern
