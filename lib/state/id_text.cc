// SPDX-License-Identifier: BSD-3-Clause
#include "state/id_text.h"

#include <charconv>

namespace postern {
namespace {

std::string text_of(std::uint32_t worker, std::uint32_t index, std::uint32_t generation) {
    return std::to_string(worker) + "/" + std::to_string(index) + "." + std::to_string(generation);
}

/// Takes a number, and the character after it, from the front of the text; `after` 0: the end of
/// the text.
bool take_number(std::string_view& text, char after, std::uint32_t& out) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, out);
    if (error != std::errc{}) return false;
    if (after == 0) return stop == end;
    if (stop == end || *stop != after) return false;
    text.remove_prefix(static_cast<std::size_t>(stop - text.data()) + 1);
    return true;
}

}  // namespace

std::string id_text(ConnId id) {
    return text_of(id.worker.number(), id.index, id.generation);
}

std::string id_text(OwnerId owner, ExpectId id) {
    return text_of(owner, id.index, id.generation);
}

std::optional<IdText> IdText::parse(std::string_view text) {
    IdText id;
    if (!take_number(text, '/', id.worker) || !take_number(text, '.', id.index) ||
        !take_number(text, 0, id.generation) || id.index == 0)
        return std::nullopt;
    return id;
}

}  // namespace postern
