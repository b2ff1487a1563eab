// SPDX-License-Identifier: BSD-3-Clause
// Passes accepted packets of helped connections to their helper and files its expectations, before
// the packet leaves: so every worker sees the expectation before the announced connection can
// arrive.
#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch&) noexcept {
    if (worker.sweep().is_under_way()) [[unlikely]]
        worker.sweep().detach_unserved();
    worker.helping().run();
}

}  // namespace

extern const StageDesc stage_helper;
constinit const StageDesc stage_helper{
    .name = "helper",
    .help = "read control connections and file what they announce",
    .on = MaskId::helped,
    .needs = fact::connection | fact::committed,
    .provides = fact::announced,
    .run = run,
};

}  // namespace postern
