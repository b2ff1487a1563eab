// SPDX-License-Identifier: BSD-3-Clause
#include "expect_conditions.h"

namespace postern {

std::vector<ArgSpec> expectation_conditions(const PlanSource& plan) {
    return {{.name = "helper",
             .help = "name of the helper that expects",
             .candidates = helper_names(plan)},
            {"proto", ArgType::scalar, false, "tcp, udp, … or a number"},
            {"src", ArgType::prefix, false, "its source lies in this prefix"},
            {"dst", ArgType::prefix, false, "its destination lies in this prefix"},
            {"dport", ArgType::integer, false, "destination port"},
            {"zone", ArgType::integer, false, "conntrack zone"},
            {"master", ArgType::id, false, "id of its master, WORKER/INDEX.GENERATION"},
            {"id", ArgType::id, false, "its own, WORKER/INDEX.GENERATION"}};
}

std::vector<Column> expected_columns() {
    return {{.title = "SOURCE",
             .fields = {"src", "sport", "src_prefix"},
             .form = CellForm::endpoint,
             .absent = "*"},
            {.title = "DESTINATION",
             .fields = {"dst", "dport"},
             .form = CellForm::endpoint,
             .absent = "*"}};
}

}  // namespace postern
