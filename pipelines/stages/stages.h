// SPDX-License-Identifier: BSD-3-Clause
// The stages that exist. One file each in this folder; registry.cc lists them for configuration.
#pragma once

#include <span>

#include "pipeline/stage.h"

namespace postern {

extern const StageDesc kParseStage;
extern const StageDesc kReassembleStage;
extern const StageDesc kSteerStage;
extern const StageDesc kConntrackStage;
extern const StageDesc kExpectStage;
extern const StageDesc kPolicyStage;
extern const StageDesc kCommitStage;
extern const StageDesc kHelperStage;
extern const StageDesc kForwardStage;

/// All of them, in the order of the default pipeline.
std::span<const StageDesc* const> all_stages() noexcept;
const StageDesc* find_stage(std::string_view name) noexcept;

}  // namespace postern
