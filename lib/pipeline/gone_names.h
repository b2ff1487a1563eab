// SPDX-License-Identifier: BSD-3-Clause
// What a connection may not hold: numbers of names that its worker's plan does not have any more.
// Who: the sweep, about connections that are there; restore, about those that were read by the
// numbers of a plan that may have been replaced since.
#pragma once

#include "conntrack/conn.h"
#include "plan/names.h"

namespace postern {

/// A zone cannot be nothing: no packet comes or goes by one that is gone.
inline bool is_zone_gone(const Conn& conn, const Names& names) noexcept {
    return names.edges.is_gone(conn.edge(Direction::original).number()) ||
           names.edges.is_gone(conn.edge(Direction::reply).number());
}

/// In place of rule, expecting helper and timeout profile that are gone it holds none. True: its
/// timeouts are others now.
inline bool forget_gone_names(Conn& conn, const Names& names) noexcept {
    if (names.helpers.is_gone(conn.expected_by)) conn.expected_by = kNoHelper;
    if (names.rules.is_gone(conn.rule.number())) conn.rule = kNoRule;
    if (!names.timeouts.is_gone(conn.timeouts())) return false;
    conn.set_timeouts(0);
    return true;
}

}  // namespace postern
