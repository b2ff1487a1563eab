// SPDX-License-Identifier: BSD-3-Clause
// The differences between two configuration files, as an operator wrote them: what a diff of lines
// would show, without blanks, comments and the order of keys.
//
// Called by: app, for `posternctl config diff` and the log of changes. Control thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "config/load.h"

namespace postern {

struct Difference {
    enum class Change : std::uint8_t {
        added,
        removed,
        changed,
        moved  ///< the order of a list: it comes elsewhere among those that stayed
    };
    /// Items of a list by their name: "policy.rules[web].dport", "helpers[ftp]".
    std::string path;
    Change change = Change::changed;
    std::string before, after;  ///< YAML on one line, cut at 160 bytes; empty: there is none
};
const char* to_string(Difference::Change change) noexcept;

/// In the order of `after`; removed ones of a list before the others of that list. An error: one of
/// the texts is no YAML.
Result<std::vector<Difference>> differences(std::string_view before, std::string_view after);

/// Adds a difference for each included file of both whose entries are others: "file lists/bad.txt",
/// from "3 entries" to "4 entries"; for a set: only a start reads its file. A file that only one of
/// them includes is a difference of the texts.
void add_differences(const std::vector<IncludedFile>& before,
                     const std::vector<IncludedFile>& after, std::vector<Difference>& out);

}  // namespace postern
