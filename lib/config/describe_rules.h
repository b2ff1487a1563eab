// SPDX-License-Identifier: BSD-3-Clause
// The rules of a Spec as text, for `check`: what each one matches and does, with groups resolved.
#pragma once

#include <string>

#include "config/spec.h"

namespace postern {

/// A line a rule, in their order. Long lists are cut.
std::string describe_rules(const Spec& spec);

}  // namespace postern
