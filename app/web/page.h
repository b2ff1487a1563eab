// SPDX-License-Identifier: BSD-3-Clause
// The files of the page, which the build puts into the program.
#pragma once

#include <span>
#include <string_view>

namespace postern {

struct PageFile {
    std::string_view path;  ///< as clients ask for it
    const char* type;
    std::string_view content;
};
std::span<const PageFile> page_files();

}  // namespace postern
