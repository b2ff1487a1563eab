// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <gtest/gtest.h>

#include "support/init_eal.h"

namespace postern {

/// For ::testing::AddGlobalTestEnvironment().
class EalEnvironment : public ::testing::Environment {
  public:
    void SetUp() override { init_eal(); }
};

}  // namespace postern
