// SPDX-License-Identifier: BSD-3-Clause
// Selects the output port of accepted packets. Transparent mode: the other port of the bridge.
#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch& b) noexcept {
    const Plan& plan = worker.plan();
    const PortPlan* const ports = plan.ports.data();
    // Answers to rejected packets have their output port: back.
    for_each(b[MaskId::accept] & ~b[MaskId::answer], [&](unsigned i) {
        const PortPlan& port = ports[b.info[i].in_port.number()];
        if (port.has_peer)
            b.info[i].out_port = port.peer;
        else
            b.drop(i, DropReason::no_peer);
    });
}

}  // namespace

extern const StageDesc stage_forward;
constinit const StageDesc stage_forward{
    .name = "forward",
    .help = "choose the output port",
    .on = MaskId::accept,
    .needs = fact::headers,
    .provides = fact::route,
    .run = run,
};

}  // namespace postern
