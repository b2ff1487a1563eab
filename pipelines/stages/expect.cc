// SPDX-License-Identifier: BSD-3-Clause
// Asks of each packet that may begin a connection whether a helper expected it. Only looks: the
// expectation is claimed at commit, once policy agrees, so that a packet which policy drops cannot
// use it up.
#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch&) noexcept {
    worker.find_expectations();
}

}  // namespace

constinit const StageDesc kExpectStage{
    .name = "expect",
    .help = "recognise connections that a helper expected",
    .on = MaskId::miss,
    .needs = fact::connection,
    .provides = fact::expectation,
    .run = run,
};

}  // namespace postern
