// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pipeline/worker.h"

namespace postern {

/// Hands packet i over to `home`, another worker, or drops it if that worker's ring is full.
inline void send_home(Worker& worker, Batch& b, unsigned i, WorkerId home) noexcept {
    if (worker.peers().hand_off(b.pkt[i], home))
        b.give_away(i);
    else
        b.drop(i, DropReason::handoff_full);
}

}  // namespace postern
