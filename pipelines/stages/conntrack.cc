// SPDX-License-Identifier: BSD-3-Clause
// Finds the connection of each packet of the burst and tracks it, oldest first. The rest are
// misses: packets that may begin a connection.
#include <bit>

#include "pipeline/worker.h"
#include "pipeline/zones.h"
#include "stages/stages.h"

namespace postern {
namespace {

constexpr bool has_states(L4Kind kind) noexcept {
    return kind == L4Kind::tcp || kind == L4Kind::sctp || kind == L4Kind::dccp;
}

void run(Worker& worker, Batch& b) noexcept {
    worker.tracking().find_and_track();
    // Here, not in the parse stage: packets may have been parsed by another worker.
    if (const Mask limited = b.scale_limited & b[MaskId::ip]; limited != 0)
        worker.counters().window_scales_limited.add(static_cast<unsigned>(std::popcount(limited)));
    const TrackConfig& config = worker.plan().track;
    const bool all = worker.plan().asks_about_all;
    const bool has_prefixes = worker.plan().zone_prefixes != nullptr;
    for_each(b[MaskId::miss], [&](unsigned i) {
        PacketInfo& info = b.info[i];
        if (has_prefixes && info.why == DropReason::none && is_spoofed(b, i)) [[unlikely]]
            info.why = DropReason::spoofed;
        if (info.why == DropReason::none && may_start(info, b.data[i], config) &&
            ((b.contested & bit(i)) == 0 || !stays_alone(info))) {
            info.ct = CtState::fresh;
            return;
        }
        const bool contested = (b.contested & bit(i)) != 0;
        // Possibly a connection whose other packets take another path: a rule may accept it.
        if (all && info.why == DropReason::none && !contested && has_states(info.kind)) {
            info.ct = CtState::fresh;
            b.mid_stream |= bit(i);
            return;
        }
        // It may be the answer to an earlier packet of this burst: commit looks it up again.
        info.ct = CtState::invalid;
        if (info.why == DropReason::none)
            info.why = contested ? DropReason::wrong_zone : DropReason::ct_not_first;
    });
}

}  // namespace

extern const StageDesc stage_conntrack;
constinit const StageDesc stage_conntrack{
    .name = "conntrack",
    .help = "find and track connections",
    .on = MaskId::ip,
    .needs = fact::headers | fact::home,
    .provides = fact::connection,
    .run = run,
};

}  // namespace postern
