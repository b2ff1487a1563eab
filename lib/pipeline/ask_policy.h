// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pipeline/batch.h"

namespace postern {

/// Classifies these packets of the batch by the plan's policy, all at once. Verdicts are in
/// Batch::verdict. For packets that belong to no connection, and for ICMP errors about one.
void ask_policy(Batch& batch, Mask which) noexcept;

/// How packet i came, as rules match it.
PolicyLink link_of(const Batch& batch, unsigned i) noexcept;

}  // namespace postern
