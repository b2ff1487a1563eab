// SPDX-License-Identifier: BSD-3-Clause
// Files of entries of sets: `set load`, and `file` of a set.
//
// Input: such a file; its first byte says how it is cut. Oracles: read whole or in pieces it means
// the same; an entry is a prefix without bits beyond its length, with a timeout in range, and its
// text is read as itself; no error repeats the file's text.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/set_entries.h"
#include "config/spec/sets.h"
#include "require.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace postern;
    if (size == 0) return 0;
    const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
    const std::size_t piece = data[0] % 61 + 1;
    SetFileReader whole("list"), cut("list");
    std::vector<TimedPrefix> all, pieces;
    whole.feed(text, true, all);
    bool more = true;
    for (std::size_t at = 0; more && at < text.size(); at += piece)
        more = cut.feed(std::string_view(text).substr(at, piece), false, pieces);
    if (more) cut.feed("", true, pieces);
    require(all == pieces && whole.errors() == cut.errors(), "pieces mean something else");
    require(whole.errors().size() <= SetFileReader::kMostErrors, "too many errors");
    for (const TimedPrefix& e : all) {
        require(e.timeout_s.value_or(0) <= kMaxEntryTimeoutS, "a timeout out of range");
        const auto again = parse_set_entry(to_string(e));
        require(again.ok() && again.value() == e, "its own text means something else");
    }
    return 0;
}
