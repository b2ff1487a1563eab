// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/zones.h"

namespace postern {

bool contradicts_prefixes(const Batch& batch, unsigned i) noexcept {
    const PacketInfo& info = batch.info[i];
    const auto zone = batch.plan->zone_prefixes->zone_of(
        addresses_in(batch.data[i] + info.l3_off, info.family), info.family);
    if (!zone) return false;
    // Compares zones: an edge of a port counts as its zone.
    const Edges& edges = batch.plan->edges;
    const EdgeId from(edges.zone_of(info.zones.from).number());
    return edges.side_of(EdgeId(zone->number())) != edges.side_of(from);
}

}  // namespace postern
