// SPDX-License-Identifier: BSD-3-Clause
// Looks up the connections of the whole burst, then tracks those found, oldest packet first. What
// is left are misses: packets that may begin a connection.
#include <bit>

#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch& b) noexcept {
    const Mask ip = b[MaskId::ip];
    b[MaskId::hit] = worker.conns().lookup(b.info.data(), b.data.data(), ip, b.guessed);
    b[MaskId::miss] = ip & ~b[MaskId::hit];
    worker.track_hits();
    // Here, and not by whoever parsed them: they may have come from another worker.
    if (const Mask limited = b.scale_limited & ip; limited != 0)
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
