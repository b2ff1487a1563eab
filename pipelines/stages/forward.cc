// SPDX-License-Identifier: BSD-3-Clause
// Decides by which port accepted packets leave. Transparent mode: by the other side of the bridge.
#include "pipeline/worker.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch& b) noexcept {
    const Plan& plan = worker.plan();
    const PortPlan* const ports = plan.ports.data();
    // Answers to senders of rejected packets know their way: back.
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
