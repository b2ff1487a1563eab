// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "pipeline/batch.h"

namespace postern {

/// Asks the plan's policy about these packets of the batch, all at once; the answers are in
/// Batch::verdict. Of packets that belong to no connection, and of ICMP errors about one.
void ask_policy(Batch& batch, Mask which) noexcept;

}  // namespace postern
