// SPDX-License-Identifier: BSD-3-Clause
// Asks policy about every packet that would begin a connection, all of the burst at once.
#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch& b) noexcept {
    std::array<PolicyVerdict, kMaxBurst> verdicts;
    std::array<std::uint8_t, kMaxBurst> which;
    unsigned n = 0;
    for_each(b[MaskId::miss], [&](unsigned i) {
        if (b.info[i].why != DropReason::none) return;
        which[n] = static_cast<std::uint8_t>(i);
        b.query[n++] = worker.policy_query(i);
    });
    worker.plan().policy->classify(b.query.data(), n, verdicts.data());
    for (unsigned k = 0; k < n; ++k)
        b.verdict[which[k]] = verdicts[k];
}

}  // namespace

constinit const StageDesc kPolicyStage{
    .name = "policy",
    .help = "match new and related connections against the rules",
    .on = MaskId::miss,
    .needs = fact::connection | fact::expectation,
    .provides = fact::verdict,
    .run = run,
};

}  // namespace postern
