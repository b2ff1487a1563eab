// SPDX-License-Identifier: BSD-3-Clause
// The hub of the connections' events: for `conntrack events`, and for flow records.
#pragma once

#include <memory>

#include "conntrack/event.h"
#include "event_hub.h"
#include "firewall.h"

namespace postern {

using ConnHub = EventHub<ConnEvent, ConnEvents>;

inline std::shared_ptr<ConnHub> make_conn_hub(Firewall& fw) {
    std::vector<EventRing<ConnEvent>*> rings;
    for (unsigned w = 0; w < fw.workers(); ++w)
        rings.push_back(&fw.worker(w).tracking().events());
    return std::make_shared<ConnHub>(std::move(rings), [&fw](ConnEvents which) {
        for (unsigned w = 0; w < fw.workers(); ++w)
            fw.worker(w).tracking().listen(which);
    });
}

}  // namespace postern
