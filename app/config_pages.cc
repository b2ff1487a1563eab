// SPDX-License-Identifier: BSD-3-Clause
// Writes the tables of keys in docs/configuration.md anew, from the descriptions in the program.
// Run by scripts/config-docs.sh; a test runs it with --check.
//
//   config_pages [--check] FILE
//
// --check writes nothing and fails if the file differs from what would be written.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "config/description.h"
#include "firewall.h"

namespace postern {
namespace {

int run(std::vector<std::string> args) {
    const bool check = !args.empty() && args.front() == "--check";
    if (check) args.erase(args.begin());
    if (args.size() != 1) {
        std::fputs("usage: config_pages [--check] FILE\n", stderr);
        return 2;
    }
    std::ifstream in(args[0]);
    const std::string is(std::istreambuf_iterator<char>(in), {});
    const auto should_be = with_key_tables(build_schema(), is);
    if (!should_be) {
        std::fprintf(stderr, "%s: %s\n", args[0].c_str(), should_be.error().message.c_str());
        return 1;
    }
    if (should_be.value() == is) return 0;
    if (check) {
        std::fprintf(stderr, "%s is not what scripts/config-docs.sh writes\n", args[0].c_str());
        return 1;
    }
    std::ofstream out(args[0]);
    out << should_be.value();
    return out.flush() ? 0 : 1;
}

}  // namespace
}  // namespace postern

int main(int argc, char** argv) {
    return postern::run({argv + 1, argv + argc});
}
