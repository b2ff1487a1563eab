// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pipeline/worker.h"

namespace postern {

/// Makes packet i into the answer to its sender: a TCP reset (RFC 9293 section 3.10.7.1), or an
/// ICMP "administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1). The packet
/// is accepted, with its way back set. False, and untouched, when no answer may be sent: to
/// multicast, to a reset, to a packet in several segments, without room.
bool reject(Worker& worker, Batch& batch, unsigned i) noexcept;

}  // namespace postern
