// SPDX-License-Identifier: BSD-3-Clause
// Finds out whether packets that come from this machine's kernel are finished: a host leaves
// checksums and segmentation to its device, and behind a veth pair, say, there is none. Postern
// forwards such packets as they are, and their receiver throws them away without a word.
//
// Called by workers for the first packet of each burst of a port that the kernel feeds: where
// traffic is thin that is each packet. Cost: some 20 ns a burst, next to the system calls of such a
// port.
#pragma once

#include "net/keyed_hash.h"
#include "port/port_set.h"

namespace postern {

/// Counts into `seen` what is unfinished about the packet.
void look_at_sums(const rte_mbuf* m, const HashSecret& secret, PortSet::Seen& seen) noexcept;

}  // namespace postern
