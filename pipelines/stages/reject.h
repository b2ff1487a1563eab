// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pipeline/worker.h"

namespace postern {

/// Turns packet i into the answer to its sender: a TCP reset (RFC 9293 section 3.10.7.1), or an
/// ICMP "administratively prohibited" (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1). The packet
/// is accepted, with its output port set. False, and counted, if no answer may be sent:
/// * to a reset, an ICMP error, or ICMP other than a query (RFC 1122 section 3.2.2, RFC 4443
///   section 2.4 (e));
/// * to or from an address that is not a single host's: multicast, broadcast, unspecified,
///   loopback, on either layer;
/// * beyond the limits of answers (RFC 4443 section 2.4 (f));
/// * to a packet in several segments, or without room.
bool reject(Worker& worker, Batch& batch, unsigned i) noexcept;

}  // namespace postern
