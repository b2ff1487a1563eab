// SPDX-License-Identifier: BSD-3-Clause
// Completion in shells. A script for the shell asks the program itself, by `PROGRAM --complete
// WORD...`, for what the last word may become, one a line. Where it knows nothing, the shell offers
// files.
#pragma once

#include <string>

namespace postern {

std::string bash_completion(const std::string& program);
std::string zsh_completion(const std::string& program);

}  // namespace postern
