// SPDX-License-Identifier: BSD-3-Clause
// HelperInstances: the HelperSet of a configuration, with the objects it refers to and those that
// workers need to use it. Immutable; plans with the same helpers share it.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "helper/descriptor.h"
#include "helper/helper_set.h"
#include "plan/names.h"

namespace postern {

class DeclaredHelper;
class ScannerCache;
struct Spec;

using FindHelper = const HelperDesc* (*)(std::string_view);

class HelperInstances {
  public:
    struct Options {
        FindHelper find = nullptr;
        unsigned workers = 1;
        ScannerCache* cache = nullptr;  ///< used while creating only
        /// Returned if it has the same helpers; may be null.
        std::shared_ptr<const HelperInstances> previous;
    };
    /// Adds to `spec` the helpers that its helpers assign to children. In its rules, numbers of
    /// helpers become those of their names in `names`, and a rule for the connections expected by a
    /// helper also covers those expected by its children.
    static Result<std::shared_ptr<const HelperInstances>> create(Spec& spec, NameTable& names,
                                                                 const Options& options);
    HelperInstances();
    ~HelperInstances();
    HelperInstances(const HelperInstances&) = delete;
    HelperInstances& operator=(const HelperInstances&) = delete;

    const HelperSet& set() const noexcept { return *set_; }
    /// Working memory of one worker; private to it.
    const Scratch& scratch(WorkerId worker) const noexcept { return scratch_[worker.number()]; }

    /// Of the helpers of the Spec as left by create(), in its order.
    const std::vector<HelperId>& ids() const noexcept { return ids_; }

  private:
    std::vector<std::unique_ptr<DeclaredHelper>> declared_;  ///< `set_` refers to them
    std::unique_ptr<const HelperSet> set_;
    std::vector<Scratch> scratch_;  ///< by worker
    std::vector<HelperId> ids_;
    std::string made_of_;  ///< all inputs of the above, as text
};

}  // namespace postern
