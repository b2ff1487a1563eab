// SPDX-License-Identifier: BSD-3-Clause
// What the commands `config ...` have in common.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "commands/context.h"
#include "live_config.h"

namespace postern {

/// The rows of a request when it is done: its warnings, its differences, and what was put into
/// force (`in_force`).
Source answer_of(Result<LiveConfig::Ticket> ticket, std::string in_force = "in force");
std::vector<Column> change_columns();
ArgSpec config_file_argument();
inline constexpr std::uint32_t kMostConfirmS = 3600;
/// The number of a configuration; nothing: it cannot be one.
std::optional<unsigned> number_of(const Json& value);
/// Milliseconds since 1970 as 2026-11-29T20:07:46Z.
std::string wall_time(std::int64_t ms);

/// A handler that needs the configuration in force.
template <class Fn>
auto with_config(const CommandContext& context, Fn&& fn) {
    return [config = context.config, fn = std::forward<Fn>(fn)](const Json& args) -> Source {
        if (config == nullptr) return Error{"the daemon was not started from a file"};
        return fn(*config, args);
    };
}

}  // namespace postern
