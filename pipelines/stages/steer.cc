// SPDX-License-Identifier: BSD-3-Clause
// Hands each packet over to its home worker, the one that tracks its connection. With symmetric RSS
// in the NIC nearly all are there already; the rest (ports without RSS, ICMP errors) use a ring.
// The receiving worker computes the same hash, finds itself, and continues.
#include "pipeline/worker.h"
#include "stages/send_home.h"
#include "stages/stages.h"

namespace postern {
namespace {

void run(Worker& worker, Batch& b) noexcept {
    const Steering& steering = worker.steering();
    if (steering.workers == 1) return;
    for_each(b[MaskId::ip] & b[MaskId::live], [&](unsigned i) {
        const WorkerId home = steering.home(b.info[i].rss);
        if (home == worker.id()) return;
        b[MaskId::ip] &= ~bit(i);
        b.info[i].conn = 0;  // a guess, wrong for connections of another worker
        send_home(worker, b, i, home);
    });
}

}  // namespace

extern const StageDesc stage_steer;
constinit const StageDesc stage_steer{
    .name = "steer",
    .help = "hand packets of other workers' connections to them",
    .on = MaskId::ip,
    .needs = fact::headers,
    .provides = fact::home,
    .run = run,
};

}  // namespace postern
