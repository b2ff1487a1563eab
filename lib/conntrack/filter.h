// SPDX-License-Identifier: BSD-3-Clause
// ConnFilter: conditions that select connections for a list, a deletion or a listener. Made by
// control from a command's arguments, matched by the worker that owns the connections. All given
// conditions must hold.
#pragma once

#include <optional>

#include "conntrack/conn.h"
#include "net/addr.h"

namespace postern {

struct ConnFilter {
    std::optional<CtZone> ct_zone;
    /// Input or output edges of its original direction: bit n for the edge n.
    std::uint64_t from = ~std::uint64_t{0}, to = ~std::uint64_t{0};
    std::optional<Family> family;
    std::optional<std::uint8_t> protocol;
    std::optional<Prefix> src, dst;  ///< of the original direction, like the ports
    std::optional<Be16> sport, dport;
    std::optional<CtState> state;           ///< fresh, related or established
    const char* state_name = nullptr;       ///< its protocol's own, as from Conn::state_name()
    std::uint32_t mark = 0, mark_mask = 0;  ///< mask 0: any
    std::uint32_t label = 0, label_mask = 0;
    std::optional<bool> assured;
    std::optional<HelperId> helper;       ///< its helper
    std::optional<HelperId> expected_by;  ///< the helper that expected it
    std::optional<ConnId> master;
    std::optional<RuleId> rule;

    /// Whether a live connection matches the filter. Reads its other lines only if the first
    /// matches.
    bool matches(const Conn& conn) const noexcept;
};

/// A connection's state in lists: new until the first reply, related if it was expected.
inline CtState list_state(const Conn& conn) noexcept {
    if (conn.has(conn_flag::seen_reply)) return CtState::established;
    return conn.has(conn_flag::expected) ? CtState::related : CtState::fresh;
}

}  // namespace postern
