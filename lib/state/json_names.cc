// SPDX-License-Identifier: BSD-3-Clause
#include "state/json_names.h"

#include "state/id_text.h"

namespace postern {

Json text_or_null(const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
}
Json helper_or_null(const Plan& plan, HelperId id) {
    return text_or_null(plan.helper_name(id));
}

Json edge_or_null(const Plan& plan, EdgeId edge) {
    return edge == kAnyEdge ? Json(nullptr) : Json(plan.edges[edge].name);
}

Json id_or_null(ConnId id) {
    return id ? Json(id_text(id)) : Json(nullptr);
}

HelperId helper_of(const Plan& plan, const std::string& name) {
    const auto i = place(plan.helpers, name, [](const HelperPlan& h) { return h.name; });
    return i ? static_cast<HelperId>(*i + 1) : kNoHelper;
}
RuleId rule_of(const Plan& plan, const std::string& name) {
    const auto i = place(plan.rules, name, [](const std::string& r) { return r; });
    return i ? RuleId::from(*i) : kNoRule;
}

}  // namespace postern
