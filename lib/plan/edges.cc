// SPDX-License-Identifier: BSD-3-Clause
#include "plan/edges.h"

#include <algorithm>

namespace postern {

Edges::Edge& Edges::at(EdgeId id) {
    while (edges_.size() <= id.number())
        edges_.push_back({{}, ZoneId::from(edges_.size()), EdgeId::from(edges_.size()), false});
    return edges_[id.number()];
}

void Edges::put_zone(EdgeId id, std::string name, std::optional<EdgeId> side) {
    at(id) = {std::move(name), ZoneId(id.number()), side.value_or(id)};
}

void Edges::put_port(EdgeId id, std::string_view port, EdgeId zone) {
    at(id) = {edges_[zone.number()].name + "/" + std::string(port), zone_of(zone), id};
}

void Edges::put_gone(EdgeId id, std::string name, ZoneId zone) {
    at(id) = {std::move(name), zone, id, false};
}

EdgeId Edges::add_zone(std::string name, std::optional<EdgeId> side) {
    const auto id = EdgeId::from(edges_.size());
    put_zone(id, std::move(name), side);
    return id;
}

EdgeId Edges::add_port(std::string_view port, EdgeId zone) {
    const auto id = EdgeId::from(edges_.size());
    put_port(id, port, zone);
    return id;
}

unsigned Edges::place_of(const Sides& sides) const {
    const Sides back(sides.second, sides.first);
    const auto same = [&](const std::optional<Sides>& p) { return p == sides || p == back; };
    return static_cast<unsigned>(std::ranges::find_if(numbered_, same) - numbered_.begin());
}

std::string Edges::name_of_side(EdgeId side) const {
    std::set<std::string> names;
    for (const Edge& e : edges_)
        if (e.in_use && e.side == side) names.insert(e.name);
    std::string out;
    for (const std::string& name : names)
        out += name + ",";
    return out;
}

std::string Edges::name_of_sides(EdgeId a, EdgeId b) const {
    const std::string x = name_of_side(side_of(a)), y = name_of_side(side_of(b));
    return std::min(x, y) + " " + std::max(x, y);
}

void Edges::join(EdgeId a, EdgeId b) {
    const auto free =
        std::ranges::find_if(numbered_, [](const auto& pair) { return !pair.has_value(); });
    join(a, b,
         free == numbered_.end() ? std::nullopt
                                 : std::optional(static_cast<unsigned>(free - numbered_.begin())));
}

void Edges::join(EdgeId a, EdgeId b, std::optional<unsigned> number) {
    Sides sides(side_of(a), side_of(b));
    joined_.insert(sides);
    joined_.emplace(sides.second, sides.first);
    if (!number || place_of(sides) != kPairs) return;
    if (name_of_side(sides.second) < name_of_side(sides.first))
        std::swap(sides.first, sides.second);
    numbered_[*number] = sides;
}

ZonePair Edges::pair(EdgeId from, EdgeId to) const {
    ZonePair out{from, to};
    const Sides sides(side_of(from), side_of(to));
    const unsigned at = place_of(sides);
    if (at == kPairs) return out;
    const unsigned number = 2 * at + (numbered_[at] == sides ? 0 : 1);
    const unsigned of_swapped = sides.first == sides.second ? number : number ^ 1;
    out.tags[0] = static_cast<std::uint8_t>(number << ZonePair::kTagShift);
    out.tags[1] = static_cast<std::uint8_t>(of_swapped << ZonePair::kTagShift);
    return out;
}

std::optional<EdgeId> Edges::find(std::string_view name) const {
    for (std::size_t i = 0; i < edges_.size(); ++i)
        if (edges_[i].in_use && edges_[i].name == name) return EdgeId::from(i);
    return std::nullopt;
}

std::uint64_t Edges::edges_in(std::string_view zone) const {
    std::uint64_t out = 0;
    for (std::size_t i = 0; i < edges_.size(); ++i)
        if (edges_[i].in_use && edges_[edges_[i].zone.number()].name == zone)
            out |= std::uint64_t{1} << i;
    return out;
}

}  // namespace postern
