// SPDX-License-Identifier: BSD-3-Clause
// A test of what runs while another configuration comes, with one worker and with several.
#pragma once

#include <algorithm>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "world.h"

namespace postern {

/// Without zones and rules.
inline constexpr const char* kBase = R"(
ports:
  - {name: in0, device: net_null0, zone: inside}
  - {name: out0, device: net_null1, zone: outside}
bridges: [{ports: [in0, out0]}]
limits: {connections: 1024, expectations: 256, helped_connections: 64}
)";
inline const std::string kZones = "zones: [inside, outside]\n";

class ReplacedWorld : public ::testing::TestWithParam<unsigned> {
  protected:
    /// Begins with this configuration: `text` is all but kBase.
    void begin(const std::string& text) { world_.emplace(World::Whole{kBase + text}, GetParam()); }
    void replace(const std::string& text) {
        const auto done = world().replace(kBase + text);
        EXPECT_TRUE(done.ok()) << (done ? "" : done.error().message);
    }
    World& world() { return *world_; }
    Firewall& fw() { return world_->fw(); }
    RuleId number_of(const std::string& rule) {
        const auto& names = fw().plan().rules;
        const auto at = std::find(names.begin(), names.end(), rule);
        return at == names.end() ? kNoRule : RuleId::from(at - names.begin());
    }

  private:
    std::optional<World> world_;
};

}  // namespace postern
