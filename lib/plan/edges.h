// SPDX-License-Identifier: BSD-3-Clause
// Edges: input and output sides of packets, as connections compare them.
//
// What: an edge is a security zone, or one port of a bridge with `sides: port`. Zones that are
// `loose` count as one: they are one side, named by its first edge. A pair of edges has a short
// number by its sides, for a connection's first line of memory.
//
// Used by: control, which builds it with the plan; workers read it if a short number does not
// decide, when a connection begins, and for lists. Immutable after that.
#pragma once

#include <array>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/types.h"
#include "net/packet.h"

namespace postern {

class Edges {
  public:
    struct Edge {
        std::string name;  ///< the zone's, or ZONE/PORT
        ZoneId zone;
        EdgeId side;         ///< the first edge of those that count as one with it
        bool in_use = true;  ///< false: a removed name, which connections may still have
    };

    /// Adds the edge of the next zone. `side`: an earlier edge with which it counts as one.
    EdgeId add_zone(std::string name, std::optional<EdgeId> side = {});
    /// Adds the edge of a port. At most kMaxEdges in all.
    EdgeId add_port(std::string_view port, EdgeId zone);
    /// The same with a given number. A zone has the number of its edge.
    void put_zone(EdgeId id, std::string name, std::optional<EdgeId> side);
    void put_port(EdgeId id, std::string_view port, EdgeId zone);
    /// Adds an edge of an earlier plan, which connections may have: no packet has it any more.
    void put_gone(EdgeId id, std::string name, ZoneId zone);
    /// A bridge joins the two: gives their sides a short number while there is one.
    void join(EdgeId a, EdgeId b);
    /// The same, with the given number, or none. The pair of sides is named with the lesser name
    /// first, so that its number has the same direction in each plan.
    void join(EdgeId a, EdgeId b, std::optional<unsigned> number);
    /// The name of the pair of their sides: a short number is kept while it stays the same.
    std::string name_of_sides(EdgeId a, EdgeId b) const;
    /// Whether some bridge joins the two, or edges that count as the same.
    bool joined(EdgeId a, EdgeId b) const { return joined_.contains({side_of(a), side_of(b)}); }
    /// The ZonePair of packets from `from` to `to`.
    ZonePair pair(EdgeId from, EdgeId to) const;

    std::size_t size() const noexcept { return edges_.size(); }
    const Edge& operator[](EdgeId id) const noexcept { return edges_[id.number()]; }
    ZoneId zone_of(EdgeId id) const noexcept { return edges_[id.number()].zone; }
    EdgeId side_of(EdgeId id) const noexcept { return edges_[id.number()].side; }
    std::optional<EdgeId> find(std::string_view name) const;
    /// The edges of a zone: bit n for the edge n.
    std::uint64_t edges_in(std::string_view zone) const;

  private:
    using Sides = std::pair<EdgeId, EdgeId>;
    static constexpr unsigned kPairs = ZonePair::kNumbers / 2;
    unsigned place_of(const Sides& sides) const;
    /// All edges that count as one with this side.
    std::string name_of_side(EdgeId side) const;
    Edge& at(EdgeId id);

    std::vector<Edge> edges_;
    std::set<Sides> joined_;  ///< both ways
    /// [i] has the number 2i, its reverse 2i + 1.
    std::array<std::optional<Sides>, kPairs> numbered_;
};

}  // namespace postern
