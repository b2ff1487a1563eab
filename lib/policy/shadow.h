// SPDX-License-Identifier: BSD-3-Clause
// Rules that can never match, because an earlier one matches all that they do.
//
// For each rule one packet that it matches is looked up. Only the earlier rules that match it, too,
// can cover the rule, and each of them is compared with it. So the cost is a look-up a rule, not a
// comparison of all pairs. Not found: a rule that only several earlier ones together cover, or that
// too many others match as well. For control: `check`.
#pragma once

#include <cstddef>
#include <vector>

#include "policy/policy.h"
#include "policy/rule.h"

namespace postern {

struct ShadowedRule {
    std::size_t rule = 0;  ///< by index
    std::size_t by = 0;    ///< an earlier one
};

/// `policy` is built from `rules`.
std::vector<ShadowedRule> shadowed_rules(const PolicyRules& rules, const Policy& policy);

/// Whether `rule` matches whatever `other` does. Not counted: ICMP that `other` can only drop, and
/// only because an accepting rule has to name its type.
bool covers(const PolicyRule& rule, const PolicyRule& other);

}  // namespace postern
