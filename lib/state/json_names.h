// SPDX-License-Identifier: BSD-3-Clause
// Names of configured things and texts of ids in lists and records, null for none; and the things
// that a record names, as far as the plan has them.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "base/types.h"
#include "control/command.h"
#include "expect/types.h"
#include "plan/plan.h"
#include "state/json_fields.h"

namespace postern {

/// Null when it is empty.
Json text_or_null(const std::string& text);
Json helper_or_null(const Plan& plan, HelperId id);
/// The name of an edge; null for kAnyEdge.
Json edge_or_null(const Plan& plan, EdgeId edge);
/// The id's text (id_text.h); null for none.
Json id_or_null(ConnId id);

/// The index of a name in a list; nothing if it is not there or the field is null.
template <class List, class Name>
std::optional<std::size_t> place(const List& list, const std::string& name, Name name_of) {
    for (std::size_t i = 0; i < list.size(); ++i)
        if (!name.empty() && name_of(list[i]) == name) return i;
    return std::nullopt;
}

HelperId helper_of(const Plan& plan, const std::string& name);
RuleId rule_of(const Plan& plan, const std::string& name);

}  // namespace postern
