// SPDX-License-Identifier: BSD-3-Clause
#include "commands/config.h"

#include <charconv>
#include <climits>

#include <fmt/chrono.h>

namespace postern {

namespace {

std::vector<Json> rows_of_change(const LiveConfig::Change& change, const std::string& in_force) {
    std::vector<Json> rows;
    for (const std::string& warning : change.warnings)
        rows.push_back({{"change", "warning"}, {"key", warning}});
    for (const Difference& d : change.differences) {
        Json row{{"change", to_string(d.change)}, {"key", d.path}};
        if (!d.before.empty()) row["before"] = d.before;
        if (!d.after.empty()) row["after"] = d.after;
        rows.push_back(std::move(row));
    }
    if (change.number != 0)
        rows.push_back(
            {{"change", in_force}, {"key", "configuration " + std::to_string(change.number)}});
    return rows;
}

/// Waits for the answer. A client that goes away takes the ticket, and so the request, with it.
class ChangeSource : public RowSource {
  public:
    ChangeSource(LiveConfig::Ticket ticket, std::string in_force)
        : ticket_(std::move(ticket)), in_force_(std::move(in_force)) {}

    Pull next(Json& row) override {
        if (!ticket_->answer) return Pull::pending;
        if (!*ticket_->answer) throw Refusal(ticket_->answer->error().message);
        if (!rows_) rows_ = rows_of(rows_of_change(ticket_->answer->value(), in_force_));
        return rows_->next(row);
    }

  private:
    LiveConfig::Ticket ticket_;
    std::string in_force_;
    std::unique_ptr<RowSource> rows_;
};

}  // namespace

Source answer_of(Result<LiveConfig::Ticket> ticket, std::string in_force) {
    if (!ticket) return ticket.error();
    return Source(std::make_unique<ChangeSource>(std::move(*ticket), std::move(in_force)));
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
