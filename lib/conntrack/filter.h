// SPDX-License-Identifier: BSD-3-Clause
// ConnFilter: which connections a list, a deletion or a listener means. Read by control from an
// operator's words, matched by the worker that owns the connections. All conditions given must
// hold.
#pragma once

#include <optional>

#include "conntrack/conn.h"
#include "net/addr.h"

namespace postern {

struct ConnFilter {
    std::optional<CtZone> ct_zone;
    /// Edges that its original direction comes in or goes out by: bit n for the edge n.
    std::uint64_t from = ~std::uint64_t{0}, to = ~std::uint64_t{0};
    std::optional<Family> family;
    std::optional<std::uint8_t> protocol;
    std::optional<Prefix> src, dst;  ///< of the original direction, like the ports
    std::optional<Be16> sport, dport;
    std::optional<CtState> state;           ///< fresh, related or established
    const char* state_name = nullptr;       ///< its protocol's own, as Conn::state_name() says it
    std::uint32_t mark = 0, mark_mask = 0;  ///< mask 0: any
    std::uint32_t label = 0, label_mask = 0;
    std::optional<bool> assured;
    std::optional<HelperId> helper;       ///< watches it
    std::optional<HelperId> expected_by;  ///< expected it
    std::optional<ConnId> master;
    std::optional<RuleId> rule;

    /// Whether the filter names a live connection. Reads its other lines only when the first
    /// agrees.
    bool matches(const Conn& conn) const noexcept;
};

/// What lists call a connection's state: new until the first reply, related if it was expected.
inline CtState list_state(const Conn& conn) noexcept {
    if (conn.has(conn_flag::seen_reply)) return CtState::established;
    return conn.has(conn_flag::expected) ? CtState::related : CtState::fresh;
}

}  // namespace postern
