// SPDX-License-Identifier: BSD-3-Clause
// Keeps frames out of net_af_packet whose tag it would alter.
//
// The kernel removes the outermost VLAN tag of a frame and reports its type separately. DPDK's
// driver restores the tag as 0x8100, whatever type it had (rte_vlan_insert(), 22.11): a provider's
// tag (0x88a8) would leave as a customer's, which is another network. The driver does not report
// the type, so a filter on its sockets refuses such frames. Called once a port, by control, at
// start.
#pragma once

#include <string>

#include "base/result.h"

namespace postern {

/// Refuses frames with a tag of another type than 0x8100 on each packet socket of this process that
/// is bound to the interface. Fails if there is none, or if one accepts no filter.
Result<void> refuse_foreign_tags(const std::string& interface);

}  // namespace postern
