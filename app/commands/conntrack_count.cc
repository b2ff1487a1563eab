// SPDX-License-Identifier: BSD-3-Clause
// `conntrack count`.
#include "commands/context.h"

namespace postern {
namespace {

std::vector<Json> count_rows(Firewall& fw) {
    std::uint64_t total = 0, capacity = 0;
    for (unsigned w = 0; w < fw.workers(); ++w) {
        const ConnTable& t = fw.worker(w).conns();
        total += t.count().get();
        capacity += t.capacity();
    }
    return {{{"connections", total}, {"max", capacity}}};
}

}  // namespace

Command command_conntrack_count(const CommandContext& context) {
    return {.name = "conntrack count",
            .help = "Count the connections",
            .args = {},
            .handler = [&fw = context.fw](const Json&) { return Source(rows_of(count_rows(fw))); },
            .effect = Effect::read,
            .columns = {number("CONNECTIONS", "connections"), number("MAX", "max")}};
}

}  // namespace postern
