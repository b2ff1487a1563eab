// SPDX-License-Identifier: BSD-3-Clause
// From the configured helpers to the parts of the workers' engines: descriptors, the HelperSet with
// its compiled patterns, and the helpers' part of the plan. Control thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/spec.h"
#include "helper/descriptor.h"
#include "helper/helper_set.h"
#include "helper/scanner_cache.h"
#include "plan/helper_instances.h"
#include "plan/plan.h"
#include "plan/userspace_helpers.h"

namespace postern {

/// No number is free for a name of this kind: too many removed names are still held.
Error no_number(const std::string& kind, const std::string& name);

/// Transports of a helper in a configuration: proto::tcp, proto::udp.
std::vector<std::uint8_t> protocols_of(const HelperDesc& desc);

/// `spec` as left by HelperInstances::create().
std::vector<HelperPlan> helper_plans_of(const Spec& spec, const HelperInstances& instances);

}  // namespace postern
