// SPDX-License-Identifier: BSD-3-Clause
// Text for a terminal: its width in columns, lines broken at blanks. And what else posternctl
// does to texts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace postern {

/// Columns that UTF-8 text takes: one a character.
std::size_t width_of(std::string_view text);

/// The text in lines of at most `width` columns, broken at blanks; a longer word has a line of its
/// own. At least one line.
std::vector<std::string> wrapped(std::string_view text, std::size_t width);

/// "  LEFT  RIGHT\n": LEFT filled up to `left_width`, RIGHT in as many lines as 80 columns need.
std::string help_row(const std::string& left, std::string_view right, std::size_t left_width);

/// The columns of the terminal of standard output; 80 if it is none.
std::size_t output_width();

/// The text with ASCII capitals made small.
std::string lower(std::string text);
/// The parts of the text between these characters: one more than there are of them.
std::vector<std::string> split(const std::string& text, char between);

}  // namespace postern
