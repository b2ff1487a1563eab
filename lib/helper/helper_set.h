// SPDX-License-Identifier: BSD-3-Clause
// HelperSet: the helper instances of one configuration with everything derived from them.
//
// What: parsed parameters, guards, compiled patterns. Life-cycle: built by control when a
// configuration is loaded, immutable then; must outlive every HelperEngine made from it.
// Synchronisation: none needed, workers only read it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"
#include "helper/descriptor.h"
#include "helper/guards.h"
#include "helper/line_filter.h"
#include "helper/scanner.h"
#include "helper/view.h"

namespace postern {

/// One helper as configured.
struct HelperConfig {
    HelperId id = kNoHelper;  ///< 1..kMaxHelpers-1, distinct
    std::string name;         ///< of the instance; empty: the descriptor's
    const HelperDesc* desc = nullptr;
    /// Name and value in the notation of ParamDesc::default_text; the rest have their defaults.
    std::vector<std::pair<std::string, std::string>> params;
    /// What distinguishes it from other helpers that may get its id later; empty: its name and
    /// kind.
    std::string identity;
};

struct HelperInstance {
    std::string name;
    const HelperDesc* desc = nullptr;           ///< null: no helper has this id
    std::vector<std::string> texts;             ///< of `params`, in the same order
    std::vector<ParamSetting> params;           ///< in the order of HelperDesc::params
    std::vector<std::vector<Prefix>> networks;  ///< of `params`, in the same order
    GuardPolicy guards;
    std::uint16_t max_pending = 0;  ///< kMaxPendingParam; 0: the helper has none
    bool picks_up = false;          ///< kPickUpParam
    std::uint64_t identity = 0;     ///< of HelperConfig::identity; never 0
    /// The instances of HelperDesc::children, in the same order.
    std::array<HelperId, kMaxChildren> children{};
    std::array<std::uint8_t, 2> owners{};  ///< of its patterns in the scanners of TCP and UDP
    /// Lines that it rules out need no scan. Null: there is none for its patterns.
    std::unique_ptr<const LineFilter> filter;

    std::uint8_t owner(std::uint8_t protocol) const noexcept {
        return owners[protocol == proto::udp];
    }
};

/// Whether `text` is a value of this parameter; its number if it is not text.
Result<std::uint64_t> parse_param(const ParamDesc& desc, std::string_view text);

/// Adds an instance with default parameters for each child that a helper names and no `configs` has
/// (and for those that these name). `find` is find_helper(), or a test's replacement.
Result<void> add_children(std::vector<HelperConfig>& configs,
                          const HelperDesc* (*find)(std::string_view));

class HelperSet {
  public:
    /// Every child must exist: see add_children().
    static Result<std::unique_ptr<const HelperSet>> create(std::span<const HelperConfig> configs,
                                                           ScannerCache* cache = nullptr);

    /// The instance, or null.
    const HelperInstance* find(HelperId id) const noexcept {
        return id < kMaxHelpers && instances_[id].desc != nullptr ? &instances_[id] : nullptr;
    }
    const HelperInstance& operator[](HelperId id) const noexcept { return instances_[id]; }
    const Scanner& scanner(std::uint8_t protocol) const noexcept {
        return scanners_[protocol == proto::udp];
    }
    const Scratch& scratch() const noexcept { return scratch_; }
    /// Whether some helper reads connections that are met in mid-stream.
    bool picks_up() const noexcept { return picks_up_; }

  private:
    HelperSet() = default;

    std::array<HelperInstance, kMaxHelpers> instances_;
    std::array<Scanner, 2> scanners_;  ///< TCP, UDP
    Scratch scratch_;                  ///< prepared for both; workers clone it
    bool picks_up_ = false;
};

}  // namespace postern
