// SPDX-License-Identifier: BSD-3-Clause
#include "expect_conditions.h"

namespace postern {

std::vector<ArgSpec> expectation_conditions(const PlanSource& plan) {
    std::vector<ArgSpec> all{{"id", ArgType::id, false, "its own id"},
                             {.name = "helper",
                              .help = "name of the helper that expects",
                              .candidates = helper_names(plan)},
                             {"proto", ArgType::scalar, false, "tcp, udp, … or a number"},
                             {"src", ArgType::prefix, false, "its source lies in this prefix"},
                             {"dst", ArgType::prefix, false, "its destination lies in this prefix"},
                             {"dport", ArgType::ports, false, "destination port"},
                             {"zone", ArgType::scalar, false, "conntrack zone"},
                             {"master", ArgType::id, false, "id of its master"},
                             {"timeout", ArgType::times, false, "until it ends"}};
    for (ArgSpec& arg : all)
        arg.negatable = true;
    return all;
}

Result<ExpectFilter> ExpectFilter::read(const Plan& plan, const Json& json) {
    const Conditions conditions = Conditions::of(json);
    Args a(plan, conditions.args);
    ExpectFilter f;
    f.helper = a.helper("helper");
    f.protocol = a.protocol("proto");
    f.src = a.prefix("src");
    f.dst = a.prefix("dst");
    f.dport = a.ports("dport");
    f.zone = a.integer("zone", kCtZones - 1);
    f.master = a.connection("master");
    f.id = a.expectation("id");
    f.timeout_s = a.times("timeout");
    for (const std::string& name : conditions.negated)
        f.negated.insert(name);
    if (!a.problem.empty()) return Error{a.problem};
    return f;
}

bool ExpectFilter::matches(const ExpectInfo& e) const {
    const auto fails = [this](const char* name, bool is) { return is == negated.contains(name); };
    if (helper && fails("helper", e.helper == *helper)) return false;
    if (protocol && fails("proto", e.protocol == *protocol)) return false;
    if (src && fails("src", e.src.length >= src->length && src->contains(e.src.address)))
        return false;
    if (dst && fails("dst", dst->contains(e.dst))) return false;
    if (dport && fails("dport", dport->contains(e.dport.host()))) return false;
    if (zone && fails("zone", e.ct_zone.number() == *zone)) return false;
    if (timeout_s && fails("timeout", timeout_s->contains(e.timeout_ms / 1000))) return false;
    if (id && fails("id", *id == std::pair{e.owner, e.id})) return false;
    return !master || !fails("master", e.master == *master);
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
