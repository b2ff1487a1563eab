// SPDX-License-Identifier: BSD-3-Clause
// Files of saved connections, at posternctl's side: JSON lines, the daemon's records unchanged.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "base/result.h"
#include "control/command.h"

namespace postern {

inline constexpr unsigned kStateVersion = 1;

/// A file of them, checked for its order and ends only; the daemon checks the records.
struct StateFile {
    struct Record {
        std::string line;        ///< unchanged
        std::string id, master;  ///< empty: none
    };
    std::int64_t saved_ms = 0;  ///< since 1970
    std::vector<Record> connections, expectations;
};
/// `name` stands for it in errors, which name the line.
Result<StateFile> read_state_file(std::istream& in, const std::string& name);
/// Masters before their children.
std::vector<StateFile::Record> masters_first(std::vector<StateFile::Record> records);

/// Writes the output of `conntrack save` to a new file that replaces `path`, if it is complete.
/// `args` of the command: conditions, and the form. Prints the numbers, as text or as a JSON
/// object; returns posternctl's exit code.
int save_state(const std::string& socket, const std::string& path, const Json& args,
               bool json = false);
/// Restores such a file, masters before their children. Prints how much was restored, and why the
/// rest was not.
int restore_state(const std::string& socket, const std::string& path, bool json = false);

}  // namespace postern
