// SPDX-License-Identifier: BSD-3-Clause
// The stages that exist: one file each in this folder, which defines `stage_NAME`, and one word in
// pipelines/meson.build.
#pragma once

#include <span>

#include "pipeline/stage.h"

namespace postern {

/// All of them, in the order of the default pipeline.
std::span<const StageDesc* const> all_stages() noexcept;
const StageDesc* find_stage(std::string_view name) noexcept;

}  // namespace postern
