// SPDX-License-Identifier: BSD-3-Clause
// Helpers whose parser is another process: from the configuration to the framework's and the rings'
// descriptions.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/spec.h"
#include "helper/descriptor.h"
#include "userspace/link.h"

namespace postern {

/// The descriptor of one declared in the configuration, and the data it refers to.
class DeclaredHelper {
  public:
    /// `spec` has `userspace`.
    explicit DeclaredHelper(const HelperSpec& spec);
    DeclaredHelper(const DeclaredHelper&) = delete;
    DeclaredHelper& operator=(const DeclaredHelper&) = delete;

    const HelperDesc& desc() const noexcept { return desc_; }
    /// The parameters of such a helper.
    static std::span<const ParamDesc> params() noexcept;

  private:
    HelperSpec spec_;
    std::vector<ExpectClass> classes_;
    HelperDesc desc_{};
};

/// Those of `spec`. Sockets without a path are beside the control socket.
std::vector<UserspaceHelper> userspace_helpers_of(const Spec& spec);

}  // namespace postern
