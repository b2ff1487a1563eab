// SPDX-License-Identifier: BSD-3-Clause
// Zones of packets and connections, and their comparison. For packets of known connections the
// first line of memory usually decides; these functions are for the others.
#pragma once

#include "conntrack/conn.h"
#include "pipeline/batch.h"
#include "plan/plan.h"

namespace postern {

/// Whether a packet travels between the zones of a connection with its tuple, in direction
/// info.dir.
inline bool has_edges_of(const Conn& conn, const PacketInfo& info, const Edges& edges) noexcept {
    return edges.side_of(info.zones.from) == edges.side_of(conn.edge(info.dir)) &&
           edges.side_of(info.zones.to) == edges.side_of(conn.edge(!info.dir));
}
inline bool between_its_zones(const Conn& conn, const PacketInfo& info,
                              const Edges& edges) noexcept {
    return conn.joins(info) || has_edges_of(conn, info, edges);
}

/// Whether a connection is between these two sides, in either order.
inline bool same_ends(const Conn& conn, EdgeId a, EdgeId b, const Edges& edges) noexcept {
    const EdgeId x = edges.side_of(conn.edge(Direction::original));
    const EdgeId y = edges.side_of(conn.edge(Direction::reply));
    return (x == a && y == b) || (x == b && y == a);
}

bool contradicts_prefixes(const Batch& batch, unsigned i) noexcept;
/// Whether the source of packet i belongs to another zone than its input zone.
inline bool is_spoofed(const Batch& batch, unsigned i) noexcept {
    return batch.plan->zone_prefixes != nullptr && contradicts_prefixes(batch, i);
}

}  // namespace postern
