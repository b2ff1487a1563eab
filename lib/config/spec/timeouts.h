// SPDX-License-Identifier: BSD-3-Clause
// `timeouts`: how long a silent connection is kept. The keys are the rows of base/timeout.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/timeout.h"
#include "base/types.h"
#include "config/key.h"

namespace postern {

inline constexpr KeyRange kTimeoutRange{1, kMaxTimeoutS, KeyUnit::seconds};

/// A profile for rules.
struct TimeoutProfileSpec {
    std::string name;
    TimeoutSeconds timeouts;

    /// The keys of a profile: those of `timeouts` except `profiles`.
    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("base", {.help = "profile with the values of keys that are not given here: "
                                      "`linux` (the default), or `rfc`",
                              .form = Form::name,
                              .type = "a profile",
                              .default_text = "`linux`"});
        for (std::size_t first = 0; first < kTimeouts;) {
            const std::string_view protocol = kTimeoutTable[first].protocol;
            std::size_t end = first;
            while (end < kTimeouts && kTimeoutTable[end].protocol == protocol)
                ++end;
            const bool by_state = end - first > 4;
            keys.group(protocol,
                       {.help = protocol == "generic" ? "all other protocols"
                                : by_state            ? "by state"
                                                      : "by what was seen"},
                       [&](auto& of) {
                           for (std::size_t i = first; i < end; ++i) {
                               const TimeoutRow& row = kTimeoutTable[i];
                               of(row.key,
                                  [&row](TimeoutProfileSpec& p) -> std::uint32_t& {
                                      return p.timeouts[row.id];
                                  },
                                  {.help = row.help, .range = kTimeoutRange});
                           }
                       });
            first = end;
        }
    }
};
inline constexpr unsigned kMaxTimeoutNames = 15;  ///< in use by rules at once

/// `timeouts` itself: the values of connections whose rule selects no profile.
struct TimeoutsSpec : TimeoutProfileSpec {
    template <class Keys>
    static void describe(Keys& keys) {
        TimeoutProfileSpec::describe(keys);
        keys.mapping("profiles", of<TimeoutProfileSpec>,
                     {.help = "further sets of timeouts, for rules that choose one (`timeouts:`)",
                      .shape = Shape::by_name,
                      .own_table = false,
                      .type = "mapping of names to mappings",
                      .default_text = "none"});
    }
};

}  // namespace postern
