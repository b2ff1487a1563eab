// SPDX-License-Identifier: BSD-3-Clause
// What the commands on live sets share. Control thread.
#pragma once

#include <string>
#include <vector>

#include "commands/context.h"
#include "config/set_entries.h"

namespace postern {

/// The arguments that several of them have.
ArgSpec set_argument(const CommandContext& context, bool required = true);
ArgSpec entries_argument();
ArgSpec recheck_argument();

/// "192.0.2.1,2001:db8::/32 timeout 1h". An error names the entry.
Result<std::vector<TimedPrefix>> entries_of(const std::string& text);

/// Has running connections judged again if `args` ask for it and something has changed.
void recheck_if(Firewall& fw, const Json& args, bool changed);

/// That the set has no room for these further entries; counts them as refused.
Error no_room(const SetPlan& plan, std::size_t more);

}  // namespace postern
