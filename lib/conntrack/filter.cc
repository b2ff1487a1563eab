// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/filter.h"

#include <cstring>

namespace postern {

bool ConnFilter::matches(const Conn& c) const noexcept {
    if (ct_zone && c.ct_zone() != *ct_zone) return false;
    if (family && c.family() != *family) return false;
    if (protocol && c.protocol() != *protocol) return false;
    if (state && list_state(c) != *state) return false;
    if (state_name != nullptr) {
        const char* const own = c.state_name();
        if (own == nullptr || std::strcmp(own, state_name) != 0) return false;
    }
    if (assured && c.has(conn_flag::assured) != *assured) return false;
    if (rule && c.rule != *rule) return false;
    if ((from >> c.from_edge & 1) == 0 || (to >> c.to_edge & 1) == 0) return false;
    if (sport && c.sport != *sport) return false;
    if (dport && c.dport != *dport) return false;
    if ((c.mark & mark_mask) != mark || (c.label & label_mask) != label) return false;
    if (helper && c.helper != *helper) return false;
    if (expected_by && c.expected_by != *expected_by) return false;
    if (master && c.master != *master) return false;
    if (!src && !dst) return true;
    const Tuple t = c.tuple();
    return (!src || src->contains(t.src)) && (!dst || dst->contains(t.dst));
}

}  // namespace postern
