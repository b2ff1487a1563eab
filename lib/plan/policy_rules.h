// SPDX-License-Identifier: BSD-3-Clause
// From the configuration's rules to the matcher's: the one place that depends on both lib/config
// and lib/policy. Control thread, at start and on every new configuration.
#pragma once

#include <memory>

#include "base/result.h"
#include "config/spec.h"
#include "policy/policy.h"

namespace postern {

PolicyAction to_policy_action(RuleAction action);

/// The same rules in the same order, with these numbers; without numbers a RuleId is an index into
/// spec.policy.rules.
PolicyRules to_policy_rules(const Spec& spec, std::vector<RuleId> ids = {});

/// An error names the rule and its line.
Result<std::unique_ptr<Policy>> build_policy(const Spec& spec, std::vector<RuleId> ids = {});

}  // namespace postern
