// SPDX-License-Identifier: BSD-3-Clause
// The text form of an id, WORKER/INDEX.GENERATION, in lists, arguments and files.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"
#include "expect/types.h"

namespace postern {

std::string id_text(ConnId id);
/// WORKER is the owner; for control it is the number of workers.
std::string id_text(OwnerId owner, ExpectId id);

/// A parsed id. Index 0 names nothing and is refused.
struct IdText {
    std::uint32_t worker = 0, index = 0, generation = 0;

    /// Nothing for any other text: no sign, no blank, no number beyond 32 bits.
    static std::optional<IdText> parse(std::string_view text);
};

}  // namespace postern
