// SPDX-License-Identifier: BSD-3-Clause
#include "conntrack/filter.h"

#include <cstring>

namespace postern {

bool ConnFilter::matches(const Conn& c, ConnId its_id, Tick now) const noexcept {
    if (id && !holds(ConnCondition::id, its_id == *id)) return false;
    if (ct_zone && !holds(ConnCondition::ct_zone, c.ct_zone() == *ct_zone)) return false;
    if (family && !holds(ConnCondition::family, c.family() == *family)) return false;
    if (protocol && !holds(ConnCondition::protocol, c.protocol() == *protocol)) return false;
    if (state && !holds(ConnCondition::state, list_state(c) == *state)) return false;
    if (state_name != nullptr) {
        const char* const own = c.state_name();
        const bool is = own != nullptr && std::strcmp(own, state_name) == 0;
        if (!holds(ConnCondition::state_name, is)) return false;
    }
    if (assured && c.has(conn_flag::assured) != *assured) return false;
    if (rule && !holds(ConnCondition::rule, c.rule == *rule)) return false;
    if ((from >> c.from_edge & 1) == 0 || (to >> c.to_edge & 1) == 0) return false;
    if (sport && !holds(ConnCondition::sport, sport->contains(c.sport.host()))) return false;
    if (dport && !holds(ConnCondition::dport, dport->contains(c.dport.host()))) return false;
    if (mark_mask != 0 && !holds(ConnCondition::mark, (c.mark & mark_mask) == mark)) return false;
    if (label_mask != 0 && !holds(ConnCondition::label, (c.label & label_mask) == label))
        return false;
    if (helper && !holds(ConnCondition::helper, c.helper == *helper)) return false;
    if (expected_by && !holds(ConnCondition::expected_by, c.expected_by == *expected_by))
        return false;
    if (master && !holds(ConnCondition::master, c.master == *master)) return false;
    if (!matches_times(c, now)) return false;
    if (!src && !dst) return true;
    const Tuple t = c.tuple();
    return (!src || holds(ConnCondition::src, src->contains(t.src))) &&
           (!dst || holds(ConnCondition::dst, dst->contains(t.dst)));
}

bool ConnFilter::matches_times(const Conn& c, Tick now) const noexcept {
    const auto lies_in = [this](const std::optional<Interval>& range, ConnCondition condition,
                                std::uint64_t value) {
        return !range || holds(condition, range->contains(value));
    };
    const auto both = [](auto of) { return of(Direction::original) + of(Direction::reply); };
    return lies_in(timeout_s, ConnCondition::timeout, seconds_left(c, now)) &&
           lies_in(idle_s, ConnCondition::idle, postern::idle_s(c, now)) &&
           lies_in(age_s, ConnCondition::age, postern::age_s(c, now)) &&
           lies_in(packets, ConnCondition::packets,
                   both([&c](Direction d) -> std::uint64_t { return c.packets(d); })) &&
           lies_in(bytes, ConnCondition::bytes,
                   both([&c](Direction d) -> std::uint64_t { return c.bytes(d); }));
}

}  // namespace postern
