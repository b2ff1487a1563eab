// SPDX-License-Identifier: BSD-3-Clause
// The helpers built into this program. Defined in helpers/, from the list in helpers/meson.build;
// callers link helpers_dep.
#pragma once

#include <span>
#include <string_view>

#include "helper/descriptor.h"

namespace postern {

/// In the order of the list. Constant data.
std::span<const HelperDesc* const> all_helpers() noexcept;
/// By HelperDesc::name; null if there is none.
const HelperDesc* find_helper(std::string_view name) noexcept;

}  // namespace postern
