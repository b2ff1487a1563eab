// SPDX-License-Identifier: BSD-3-Clause
#include "commands/config.h"

#include <charconv>
#include <climits>

#include <fmt/chrono.h>

namespace postern {

void add_rows(std::vector<Json>& rows, const std::vector<Difference>& differences) {
    for (const Difference& d : differences) {
        Json row{{"change", to_string(d.change)}, {"key", d.path}};
        if (!d.before.empty()) row["before"] = d.before;
        if (!d.after.empty()) row["after"] = d.after;
        rows.push_back(std::move(row));
    }
}

std::vector<Json> rows_of_change(const LiveConfig::Change& change) {
    std::vector<Json> rows;
    for (const std::string& warning : change.warnings)
        rows.push_back({{"change", "warning"}, {"key", warning}});
    add_rows(rows, change.differences);
    return rows;
}

std::vector<Column> change_columns() {
    return {{"CHANGE", {"change"}}, {"KEY", {"key"}}, {"BEFORE", {"before"}}, {"AFTER", {"after"}}};
}

ArgSpec config_file_argument() {
    return {.name = "file",
            .type = ArgType::path,
            .required = true,
            .help = "configuration (YAML); the daemon reads it",
            .positional = true};
}

std::optional<unsigned> number_of(const Json& value) {
    const auto n = value.get<std::int64_t>();
    if (n < 1 || n > INT_MAX) return std::nullopt;
    return static_cast<unsigned>(n);
}

std::string wall_time(std::int64_t ms) {
    return fmt::format("{:%FT%TZ}", fmt::gmtime(static_cast<std::time_t>(ms / 1000)));
}

}  // namespace postern
