// SPDX-License-Identifier: BSD-3-Clause
// The parts of an expectation: the packet that begins the expected connection, the properties that
// the connection inherits, and the terms. Requests, the table, helpers and lists embed these parts
// and copy them whole. Plain data.
#pragma once

#include <cstdint>

#include "base/types.h"
#include "net/addr.h"

namespace postern {

/// Flags of an expectation. The values of the first three are Linux's; they stay with it. The
/// others control how it is filed.
namespace expect_flag {
inline constexpr std::uint8_t permanent = 1,  ///< a match does not consume it
    inactive = 2,                             ///< matching skips it until it is activated
    userspace = 4,  ///< made by an operator or a helper in another process
    kept = permanent | inactive | userspace;
/// Another master's identical expectation serves this one too: `shared`, nothing is added. One that
/// could match the same packet does not conflict either: the newer is found first.
inline constexpr std::uint8_t skip_master = 8;
/// Never conflicts with other masters' expectations, even identical ones: each ends with its own
/// master. The newest is found first.
inline constexpr std::uint8_t beside = 16;
/// An active one that is the same, of the same master, is `shared`: it stays as it is, for a
/// minimum time.
inline constexpr std::uint8_t stays = 32;
/// It answers the master's first message, whoever sends it: it comes from the side to which that
/// message went.
inline constexpr std::uint8_t answers = 64;
}  // namespace expect_flag

/// The packet that begins the expected connection. The destination is always exact.
struct ExpectTuple {
    CtZone ct_zone;
    /// The packet's input and output sides; kAnyEdge: any.
    EdgeId from_side = kAnyEdge, to_side = kAnyEdge;
    std::uint8_t protocol = 0;
    Prefix src;  ///< length 0: any source of dst's family
    IpAddr dst;
    Be16 sport;
    Be16 sport_mask;  ///< raw 0: any source port; raw 0xffff: exactly sport
    Be16 dport;

    bool any_src() const noexcept { return src.length == 0; }
    bool any_sport() const noexcept { return sport_mask.raw() == 0; }
    void set_sport(Be16 exactly) noexcept {
        sport = exactly;
        sport_mask = Be16::from_raw(0xffff);
    }
    ExpectTuple& as_tuple() noexcept { return *this; }
    const ExpectTuple& as_tuple() const noexcept { return *this; }
};

/// Properties that the expected connection inherits.
struct ExpectInherited {
    ConnId master;  ///< none: made by an operator
    std::uint32_t mark = 0;
    std::uint32_t label = 0;
    RuleId rule = kNoRule;
    HelperId helper = kNoHelper;        ///< its owner
    HelperId child_helper = kNoHelper;  ///< helper of the connection

    ExpectInherited& as_inherited() noexcept { return *this; }
    const ExpectInherited& as_inherited() const noexcept { return *this; }
};

/// Lifetime, class and number of matches.
struct ExpectTerms {
    /// The helper's own: a dialog, an attempt; 0: none.
    std::uint32_t tag = 0;
    /// The helper's own: one of its master's calls; 0: none. Expectations of one master that differ
    /// in it or in the tag never conflict, and each ends by its own.
    std::uint32_t call = 0;
    std::uint32_t timeout_ms = 0;
    std::uint8_t class_index = 0;  ///< of the helper's classes
    std::uint8_t flags = 0;        ///< expect_flag
    /// With a call: the number of matches that do not end it yet. Not before its master is proven,
    /// which the end of one may show.
    std::uint8_t again = 0;

    ExpectTerms& as_terms() noexcept { return *this; }
    const ExpectTerms& as_terms() const noexcept { return *this; }
};

}  // namespace postern
