// SPDX-License-Identifier: BSD-3-Clause
// `state`: the file that keeps connections over a restart.
#pragma once

#include <cstdint>
#include <string>

#include "config/key.h"

namespace postern {

struct StateSpec {
    std::string file;  ///< path from the root; empty: there is none
    bool save_on_stop = true;
    std::uint32_t save_every_s = 0;  ///< 0: only at the stop

    template <class Keys>
    static void describe(Keys& keys) {
        keys.by_hand("file",
                     {.help = "read at the start, before any packet is judged. Its folder has to "
                              "exist, and only the daemon's user may be able to write to the file",
                      .range = {1, 4000},
                      .form = Form::text,
                      .required = true,
                      .type = "a path, such as `/var/lib/postern/state`",
                      .range_text = "at most 4000 bytes",
                      .expected = "a path, such as /var/lib/postern/state"});
        keys("save_on_stop", &StateSpec::save_on_stop,
             {.help = "write the file when the daemon ends on request, after its last packet"});
        keys("save_every", &StateSpec::save_every_s,
             {.help = "write it in the background as well, so long after the write before. Without "
                      "it a crash keeps nothing newer than the last stop",
              .range = {1, 86400, KeyUnit::seconds},
              .default_text = "never"});
    }
};

}  // namespace postern
