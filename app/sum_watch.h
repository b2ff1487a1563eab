// SPDX-License-Identifier: BSD-3-Clause
// Detects unfinished packets of this machine's kernel: a host leaves checksums and segmentation to
// its device, and behind a veth pair, for example, there is none. Postern forwards such packets
// unchanged, and their receiver drops them silently.
//
// Called by workers for the first packet of each burst of a port that the kernel feeds: with little
// traffic that is each packet. Cost: some 20 ns a burst, beside the system calls of such a port.
#pragma once

#include "net/keyed_hash.h"
#include "port/port_set.h"

namespace postern {

/// Counts the unfinished properties of the packet in `seen`.
void look_at_sums(const rte_mbuf* m, const HashSecret& secret, PortSet::Seen& seen) noexcept;

}  // namespace postern
