// SPDX-License-Identifier: BSD-3-Clause
// `groups`: lists with names, for the conditions of rules. A Spec keeps none of them: each rule has
// the set that its lists and groups make, and rules that name one group share its set.
#pragma once

#include "config/key.h"

namespace postern {

inline constexpr unsigned kMaxGroupDepth = 64;         ///< groups in groups
inline constexpr unsigned kMaxGroupItems = 65536;      ///< of one list in the configuration itself
inline constexpr unsigned kMaxGroupLines = 1'000'000;  ///< entries of one included file

struct GroupsSpec {
    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("addresses", {.help = "items: `192.0.2.1`, `192.0.2.0/24`, "
                                           "`10.0.0.5-10.0.0.90`, IPv6 alike, other groups",
                                   .form = Form::address,
                                   .shape = Shape::lists_by_name,
                                   .type = "mapping of names to lists",
                                   .default_text = "none"});
        keys.by_hand("ports", {.help = "items: `80`, `8000-8080`, other groups",
                               .form = Form::port,
                               .shape = Shape::lists_by_name,
                               .type = "mapping of names to lists",
                               .default_text = "none"});
        keys.by_hand("services", {.help = "items: `tcp/80`, `udp/500-510`, `gre`, other groups",
                                  .form = Form::service,
                                  .shape = Shape::lists_by_name,
                                  .type = "mapping of names to lists",
                                  .default_text = "none"});
    }
};

}  // namespace postern
