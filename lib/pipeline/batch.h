// SPDX-License-Identifier: BSD-3-Clause
// Batch: the packets that a worker processes, with the results of the stages.
//
// Worker-private scratch, reused every turn, never allocated. Packet i is bit i of every mask. A
// stage reads the mask it runs on and moves bits; it never frees or sends a packet. At the end of
// the turn each packet is in exactly one of accept, drop, away and held (Worker::finish() ensures
// that), so that no packet leaks or is freed twice.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "base/types.h"
#include "conntrack/conn.h"
#include "expect/table.h"
#include "net/packet.h"
#include "policy/policy.h"

struct rte_mbuf;

namespace postern {

struct Plan;

using Mask = std::uint64_t;
static_assert(kMaxBurst == 64, "a mask has one bit a packet");

constexpr Mask bit(unsigned i) noexcept {
    return Mask{1} << i;
}
constexpr Mask first_n(unsigned n) noexcept {
    return n >= 64 ? ~Mask{0} : bit(n) - 1;
}

/// Calls fn(i) for each set bit, lowest (oldest packet) first.
template <class Fn>
inline void for_each(Mask mask, Fn&& fn) noexcept {
    for (; mask != 0; mask &= mask - 1)
        fn(static_cast<unsigned>(std::countr_zero(mask)));
}

enum class MaskId : std::uint8_t {
    live,      ///< no verdict yet
    ip,        ///< parsed, and subject to connection tracking
    fragment,  ///< of a datagram that is subject to connection tracking once it is complete
    hit,       ///< belongs to a known connection
    miss,      ///< belongs to none
    helped,    ///< accepted, and its connection's helper reads it
    accept,    ///< will be sent
    answer,    ///< of these, packets made into an answer to their sender; out_port is set
    drop,      ///< will be freed, for PacketInfo::why
    away,      ///< handed over to another worker
    held,      ///< waits for the rest of its datagram, or for its helper's process
    kCount
};

struct alignas(64) Batch {
    const Plan* plan = nullptr;  ///< the plan of this turn
    unsigned n = 0;
    bool chains = false;      ///< a packet may be a reassembled datagram
    std::uint64_t flags = 0;  ///< bitwise or of all packets' ol_flags
    Mask guessed = 0;         ///< packets whose connection has been prefetched
    Mask scale_limited = 0;   ///< SYNs that offer a window scale beyond 14
    Mask mid_stream = 0;      ///< misses that only a sloppy or untracked rule accepts
    /// Of those in `miss`, packets from other zones than the connection with their tuple, which is
    /// info.conn and may be replaced.
    Mask contested = 0;
    Tick now;                  ///< read once a burst
    std::uint64_t cookie = 0;  ///< replay: the number of the packet; stored in events
    std::array<Mask, static_cast<unsigned>(MaskId::kCount)> masks{};
    std::array<rte_mbuf*, kMaxBurst> pkt{};
    std::array<std::uint8_t*, kMaxBurst> data{};  ///< first byte of the frame
    std::array<PacketInfo, kMaxBurst> info{};
    std::array<std::uint32_t, kMaxBurst> helper_slot{};  ///< of packets in `helped`
    Mask judged = 0;                       ///< packets about which a rule, or the default, decided
    std::array<RuleId, kMaxBurst> rule{};  ///< of those in `judged`, which
    Mask logged = 0;                       ///< packets whose fate has been logged already
    // For packets in `miss` only:
    std::array<ExpectMatch, kMaxBurst> match{};  ///< for packets with is_expected() only
    std::array<PolicyVerdict, kMaxBurst> verdict{};
    std::array<ExpectProbe, kMaxBurst> probe{};  ///< private to the expect stage
    PolicyBurst queries;                         ///< private to the policy stage

    Mask& operator[](MaskId id) noexcept { return masks[static_cast<unsigned>(id)]; }
    Mask operator[](MaskId id) const noexcept { return masks[static_cast<unsigned>(id)]; }

    /// Queues packet i for its connection's helper, unless it has no payload (`says` is false).
    void show_helper(unsigned i, const Conn& conn, bool has_payload = true) noexcept {
        helper_slot[i] = conn.helper_slot;
        (*this)[MaskId::helped] |= Mask{has_payload} << i;
    }
    /// Packets in `miss` that may begin a connection, by conntrack.
    Mask sound_misses() const noexcept {
        Mask sound = 0;
        for_each((*this)[MaskId::miss],
                 [&](unsigned i) { sound |= Mask{info[i].why == DropReason::none} << i; });
        return sound;
    }
    /// This rule, or the default, has decided about packet i.
    void judge(unsigned i, RuleId by) noexcept {
        judged |= bit(i);
        rule[i] = by;
    }
    /// The rule that decided about packet i; kNoRule also when policy was not asked.
    RuleId rule_of(unsigned i) const noexcept { return (judged & bit(i)) != 0 ? rule[i] : kNoRule; }
    /// Whether an expectation matches packet i, a miss; `match` is the expectation. An error is
    /// never expected: its `related` means that its connection is known.
    bool is_expected(unsigned i) const noexcept {
        return info[i].ct == CtState::related && info[i].kind != L4Kind::icmp_error;
    }
    /// Accepts packet i without a connection.
    void pass_untracked(unsigned i) noexcept {
        info[i].ct = CtState::untracked;
        accept(i);
    }
    /// Marks packet i as handed over to another worker.
    void give_away(unsigned i) noexcept {
        (*this)[MaskId::live] &= ~bit(i);
        (*this)[MaskId::away] |= bit(i);
    }
    /// Marks packet i as held.
    void hold(unsigned i) noexcept {
        (*this)[MaskId::live] &= ~bit(i);
        (*this)[MaskId::accept] &= ~bit(i);
        (*this)[MaskId::held] |= bit(i);
    }
    void accept(unsigned i) noexcept {
        (*this)[MaskId::live] &= ~bit(i);
        (*this)[MaskId::accept] |= bit(i);
    }
    void drop(unsigned i, DropReason why) noexcept {
        info[i].why = why;
        (*this)[MaskId::live] &= ~bit(i);
        (*this)[MaskId::accept] &= ~bit(i);
        (*this)[MaskId::drop] |= bit(i);
    }
};

}  // namespace postern
