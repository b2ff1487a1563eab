// SPDX-License-Identifier: BSD-3-Clause
// Helpers whose parser lives in another process, from the configuration to what the framework and
// the rings know of them.
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

/// The descriptor of one that is declared in the configuration, and what it points to.
class DeclaredHelper {
  public:
    /// `spec` has `userspace`.
    explicit DeclaredHelper(const HelperSpec& spec);
    DeclaredHelper(const DeclaredHelper&) = delete;
    DeclaredHelper& operator=(const DeclaredHelper&) = delete;

    const HelperDesc& desc() const noexcept { return desc_; }
    /// The parameters that such a helper may be given.
    static std::span<const ParamDesc> params() noexcept;

  private:
    HelperSpec spec_;
    std::vector<ExpectClass> classes_;
    HelperDesc desc_{};
};

/// Those of `spec`. Sockets without a path lie beside the control socket.
std::vector<UserspaceHelper> userspace_helpers_of(const Spec& spec);

}  // namespace postern
