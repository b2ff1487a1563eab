// SPDX-License-Identifier: BSD-3-Clause
#include "log/flow_rows.h"

#include "log/record_rows.h"
#include "state/id_text.h"
#include "state/json_names.h"

namespace postern {

Json flow_row(const Plan& plan, const ConnEvent& event, const TickWall& clock) {
    const Conn& c = event.conn;
    const Tuple t = c.tuple();
    const bool ended = event.type == ConnEventType::destroy;
    const auto time_or_null = [&](Tick at) {
        return ended ? Json(time_text(clock.us(at))) : Json(nullptr);
    };
    return {{"time", time_text(clock.us(event.at))},
            {"event", to_string(event.type)},
            {"cause", ended ? Json(to_string(event.end)) : Json(nullptr)},
            {"start", time_text(clock.us(Tick{c.start_ms}))},
            {"end", time_or_null(c.last_seen())},
            {"duration_ms", ended ? Json(duration_ms(c)) : Json(nullptr)},
            {"family", to_string(c.family())},
            {"proto", protocol_name(c.protocol())},
            {"src", t.src.to_string()},
            {"sport", t.sport.host()},
            {"dst", t.dst.to_string()},
            {"dport", t.dport.host()},
            {"from", text_or_null(plan.edges[c.edge(Direction::original)].name)},
            {"to", text_or_null(plan.edges[c.edge(Direction::reply)].name)},
            {"rule", text_or_null(plan.rule_name(c.rule))},
            {"helper", helper_or_null(plan, c.helper)},
            {"expected_by", helper_or_null(plan, c.expected_by)},
            {"proto_state", c.state_name() != nullptr ? Json(c.state_name()) : Json(nullptr)},
            {"replied", c.has(conn_flag::seen_reply)},
            {"packets_original", c.packets(Direction::original)},
            {"bytes_original", c.bytes(Direction::original)},
            {"packets_reply", c.packets(Direction::reply)},
            {"bytes_reply", c.bytes(Direction::reply)},
            {"mark", c.mark},
            {"label", c.label},
            {"id", id_text({event.slot, c.generation, event.worker})},
            {"master_id", id_or_null(c.master)},
            {"worker", event.worker.number()}};
}

}  // namespace postern
