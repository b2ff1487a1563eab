// SPDX-License-Identifier: BSD-3-Clause
// The helper's part of a saved connection as JSON: its two streams, what waits in them, and its
// private state by the names of its table; a remote helper's is bytes.
#pragma once

#include "helper/descriptor.h"
#include "helper/engine.h"
#include "state/json_fields.h"

namespace postern {

Json helper_json(const HelperImage& image, const HelperDesc& desc);
/// False: its private state is another build's, and means nothing to this one.
bool read_helper(Fields f, const HelperDesc& desc, HelperImage& image, Problem& problem);

}  // namespace postern
