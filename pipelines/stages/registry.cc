// SPDX-License-Identifier: BSD-3-Clause
#include <array>

#include "stages/stages.h"

namespace postern {

std::span<const StageDesc* const> all_stages() noexcept {
    static constexpr std::array<const StageDesc*, 9> kAll{
        &kParseStage,  &kReassembleStage, &kSteerStage,  &kConntrackStage, &kExpectStage,
        &kPolicyStage, &kCommitStage,     &kHelperStage, &kForwardStage,
    };
    return kAll;
}

const StageDesc* find_stage(std::string_view name) noexcept {
    for (const StageDesc* s : all_stages())
        if (s->name == name) return s;
    return nullptr;
}

}  // namespace postern
