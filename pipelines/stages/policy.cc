// SPDX-License-Identifier: BSD-3-Clause
// Classifies every packet that would begin a connection by policy, all of the burst at once.
#include "pipeline/ask_policy.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker&, Batch& b) noexcept {
    ask_policy(b, b.sound_misses());
}

}  // namespace

extern const StageDesc stage_policy;
constinit const StageDesc stage_policy{
    .name = "policy",
    .help = "match new and related connections against the rules",
    .on = MaskId::miss,
    .needs = fact::connection | fact::expectation,
    .provides = fact::verdict,
    .run = run,
};

}  // namespace postern
