// SPDX-License-Identifier: BSD-3-Clause
// Files of saved connections, at posternctl's side: JSON lines, the daemon's records as they came.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "base/result.h"

namespace postern {

inline constexpr unsigned kStateVersion = 1;

/// A file of them, looked at as far as its order and ends go; what the records say is the daemon's
/// to judge.
struct StateFile {
    struct Record {
        std::string line;        ///< as it stood there
        std::string id, master;  ///< empty: none
    };
    std::int64_t saved_ms = 0;  ///< since 1970
    std::vector<Record> connections, expectations;
};
/// `name` stands for it in errors, which tell the line.
Result<StateFile> read_state_file(std::istream& in, const std::string& name);
/// Masters before their children.
std::vector<StateFile::Record> masters_first(std::vector<StateFile::Record> records);

/// Writes what `conntrack save` tells into a new file that takes the place of `path`, if all of it
/// came. Prints how much it is, as text or as a JSON object; an exit code of posternctl.
int save_state(const std::string& socket, const std::string& path, bool json = false);
/// Gives such a file back, masters before their children. Prints how much was restored, and why the
/// rest was not.
int restore_state(const std::string& socket, const std::string& path, bool json = false);

}  // namespace postern
