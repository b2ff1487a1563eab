// SPDX-License-Identifier: BSD-3-Clause
// Finds the connection of each packet of the burst and tracks it, oldest first. What is left are
// misses: packets that may begin a connection.
#include <bit>

#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch& b) noexcept {
    worker.find_and_track();
    // Here, and not by whoever parsed them: they may have come from another worker.
    if (const Mask limited = b.scale_limited & b[MaskId::ip]; limited != 0)
        worker.counters().window_scales_limited.add(static_cast<unsigned>(std::popcount(limited)));
    const TrackConfig& config = worker.plan().track;
    for_each(b[MaskId::miss], [&](unsigned i) {
        PacketInfo& info = b.info[i];
        if (info.why == DropReason::none && may_start(info, b.data[i], config)) {
            info.ct = CtState::fresh;
            return;
        }
        // It may still be the answer to an earlier packet of this burst: commit looks again.
        info.ct = CtState::invalid;
        if (info.why == DropReason::none) info.why = DropReason::ct_not_first;
    });
}

}  // namespace

constinit const StageDesc kConntrackStage{
    .name = "conntrack",
    .help = "find and track connections",
    .on = MaskId::ip,
    .needs = fact::headers | fact::home,
    .provides = fact::connection,
    .run = run,
};

}  // namespace postern
