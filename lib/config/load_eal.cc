// SPDX-License-Identifier: BSD-3-Clause
// `eal`, `workers`, `pipeline`, `control`, `state` and `scanner_cache`: operation of the daemon.
#include <set>

#include "config/loader.h"
#include "config/read_keys.h"

namespace postern::config {
namespace {

struct OwnOption {
    std::string_view option;  // long, or a single letter
    std::string_view instead;
};
constexpr OwnOption kOwnOptions[] = {
    {"lcores", "workers.count and workers.cpus"},
    {"l", "workers.count and workers.cpus"},
    {"c", "workers.count and workers.cpus"},
    {"s", "workers.count and workers.cpus"},
    {"S", "workers.count and workers.cpus"},
    {"main-lcore", "workers.main_cpu"},
    {"m", "eal.memory_mb"},
    {"socket-mem", "eal.memory_mb"},
    {"no-huge", "eal.hugepages"},
    {"no-shconf", "eal.hugepages"},
    {"in-memory", "eal.hugepages"},
    {"huge-unlink", "eal.hugepages"},
    {"vdev", "ports"},
    {"a", "ports"},
    {"allow", "ports"},
    {"b", "ports"},
    {"block", "ports"},
    {"no-pci", "ports"},
    {"proc-type", "nothing: Postern is always its own primary process"},
    {"file-prefix", "nothing: Postern chooses one that is its own"},
    {"no-telemetry", "nothing: Postern has its own control socket"},
    {"telemetry", "nothing: Postern has its own control socket"},
    {"help", "nothing"},
    {"h", "nothing"},
    {"version", "nothing"},
    {"v", "nothing"},
};

const OwnOption* own_option(std::string_view arg) {
    if (arg == "--") return nullptr;
    if (arg.starts_with("--")) {
        // getopt_long accepts any abbreviation, so "--vd=x" is "--vdev=x".
        const auto name = arg.substr(2, arg.find('=') - 2);
        for (const auto& o : kOwnOptions)
            if (o.option.size() > 1 && o.option.starts_with(name)) return &o;
    } else if (arg.starts_with('-')) {
        for (const auto& o : kOwnOptions)
            if (o.option.size() == 1 && arg.size() > 1 && arg[1] == o.option[0]) return &o;
    }
    return nullptr;
}

}  // namespace

void Loader::eal(const Value& v) {
    Map map(v);
    read_keys(map, spec_.eal);
    if (auto list = map.get("args")) {
        for (const auto& item : list->list()) {
            const auto arg = item.text(4096);
            if (!arg) continue;
            if (*arg == "--")
                item.error("\"--\" ends the EAL's arguments and may not be given");
            else if (const auto* own = own_option(*arg))
                item.error(in_quotes(*arg) + " is set by Postern (use " +
                           std::string(own->instead) + ")");
            else
                spec_.eal.args.push_back(*arg);
        }
    }
    map.finish();
}

void Loader::workers(const Value& v) {
    read_field(v, {}, spec_.workers);
}

void Loader::pipeline(const Value& v) {
    const std::vector<std::string_view> known(schema_.stages.begin(), schema_.stages.end());
    spec_.pipeline.clear();
    std::set<std::size_t> seen;
    const auto items = v.one_or_more();
    bool clean = !items.empty();
    for (const auto& item : items) {
        const auto i = item.choice(known, "a stage");
        const bool first = i && seen.insert(*i).second;
        if (i && !first) item.error(item.found() + " is given twice");
        if (first) spec_.pipeline.push_back(schema_.stages[*i]);
        clean = clean && first;
    }
    if (!clean || !schema_.order_problem) return;
    if (const auto wrong = schema_.order_problem(spec_.pipeline))
        (wrong->first < items.size() ? items[wrong->first] : v).error(wrong->second);
}

void Loader::control(const Value& v) {
    read_field(v, {}, spec_.control);
}

void Loader::state(const Value& v) {
    Map map(v);
    read_keys(map, spec_.state);
    if (auto at = map.require("file"))
        if (const auto file = at->text(kMaxPath)) {
            // The daemon's directory is not the one where the configuration was written.
            if (file->empty() || file->front() != '/' || file->back() == '/')
                at->error(at->found() +
                          " is not a file from the root (expected such as /var/lib/postern/state)");
            spec_.state.file = *file;
        }
    map.finish();
}

void Loader::scanner_cache(const Value& v) {
    const auto directory = v.text(kMaxPath);
    if (!directory) return;
    if (directory->empty() || directory->front() != '/')
        v.error(v.found() +
                " is not a directory from the root (expected such as /var/cache/postern)");
    spec_.scanner_cache = *directory;
}

}  // namespace postern::config
