// SPDX-License-Identifier: BSD-3-Clause
// Looks up, for each packet that may begin a connection, whether a helper expected it. Claims
// nothing: commit claims the expectation after policy has accepted, so that a packet which policy
// drops cannot use it up.
#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch& b) noexcept {
    Expecting& expecting = worker.expecting();
    if (!expecting.any_pending()) return;
    Mask may_begin = 0;
    for_each(b.sound_misses() & ~b.mid_stream,
             [&](unsigned i) { may_begin |= Mask{!stays_alone(b.info[i])} << i; });
    // The memory prefetched by the first loop has arrived in the second.
    for_each(may_begin, [&](unsigned i) { expecting.probe(i); });
    for_each(may_begin, [&](unsigned i) {
        PacketInfo& info = b.info[i];
        switch (expecting.peek(i)) {
            case ExpectAnswer::none: return;
            case ExpectAnswer::wrong_zone: info.why = DropReason::wrong_zone; return;
            case ExpectAnswer::match: info.ct = CtState::related; return;
        }
    });
}

}  // namespace

extern const StageDesc stage_expect;
constinit const StageDesc stage_expect{
    .name = "expect",
    .help = "recognise connections that a helper expected",
    .on = MaskId::miss,
    .needs = fact::connection,
    .provides = fact::expectation,
    .run = run,
};

}  // namespace postern
