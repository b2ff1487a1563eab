// SPDX-License-Identifier: BSD-3-Clause
// From the configuration's rules to the matcher's: the one place that depends on both lib/config
// and lib/policy. One thread: control at start, later that of a ConfigBuild.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/load.h"
#include "config/spec.h"
#include "policy/policy.h"

namespace postern {

PolicyAction to_policy_action(RuleAction action);

/// By their place in Spec::sets.
using PolicyLiveSets = std::vector<std::shared_ptr<const LiveSet>>;

/// The enabled rules in the same order, with these numbers; without numbers a RuleId is an index
/// into spec.policy.rules. A rule whose lists have live sets beside other addresses becomes several
/// with one number.
PolicyRules to_policy_rules(const Spec& spec, const std::vector<RuleId>& ids = {});

/// An error names the rule and its line.
/// Without `sets` all of them are empty.
Result<std::unique_ptr<Policy>> build_policy(const Spec& spec, const std::vector<RuleId>& ids = {},
                                             PolicyLiveSets sets = {});

/// Warnings of rules that can never match, because an earlier rule matches all that they do.
/// `policy` is built from all of `spec`'s enabled rules, with its numbers of zones and helpers;
/// `file` is its name in the warnings.
std::vector<Diagnostic> shadow_warnings(const Spec& spec, const Policy& policy,
                                        const std::string& file);

}  // namespace postern
