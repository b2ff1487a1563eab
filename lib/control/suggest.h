// SPDX-License-Identifier: BSD-3-Clause
// The nearest of several words to a mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern {

/// The word nearest to `word` by edits of one letter (two neighbours swapped count as one), if it
/// is near: at most one edit in three letters. Empty: none is. Control; allocates.
std::string nearest(std::string_view word, const std::vector<std::string>& words);

/// ", did you mean 'X'?", or nothing.
std::string suggestion(std::string_view word, const std::vector<std::string>& words);

}  // namespace postern
