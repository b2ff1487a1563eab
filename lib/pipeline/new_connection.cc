// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/new_connection.h"

namespace postern {

bool NewConnection::find_room(unsigned i) noexcept {
    ConnTable& conns = tracking_.conns_;
    const Batch& b = tracking_.batch_;
    victim_ = 0;
    const bool is_call = expected_ && b.info[i].kind == L4Kind::gre_call;
    if (is_call && !conns.has_second_key()) return false;
    if (conns.has_room(expected_)) return true;
    victim_ = conns.find_victim(b.now);
    return victim_ != 0;
}

bool NewConnection::create(unsigned i) noexcept {
    const Batch& b = tracking_.batch_;
    if (victim_ != 0) {
        tracking_.counters_.early_dropped.add();
        tracking_.end(victim_, ConnEnd::early_drop);
    }
    slot_ = tracking_.conns_.create_conn(b.info[i], b.data[i], b.now, expected_);
    if (slot_ == 0) return false;
    tracking_.limits_.opened(conn(), b.plan->edges, !expected_);
    return true;
}

bool NewConnection::adopt(const Conn& image, const ZonePair& zones) noexcept {
    const Batch& b = tracking_.batch_;
    slot_ = tracking_.conns_.adopt(image, zones, b.now);
    if (slot_ == 0) return false;
    tracking_.rules_.begin_restored(slot_);
    tracking_.limits_.opened(conn(), b.plan->edges, !expected_ && !Tracking::is_confirmed(conn()));
    if (!conn().has(conn_flag::expected)) conn().first.limited = 0;  // not counted yet
    tracking_.join_rule(conn());
    return true;
}

bool NewConnection::pair_call(unsigned i) noexcept {
    const Be16 sender = tracking_.batch_.match[i].sport;
    ConnTable& conns = tracking_.conns_;
    if (const std::uint32_t holder = conns.holder_of(slot_, sender); holder != 0)
        tracking_.end(holder, ConnEnd::reopened);
    return conns.pair(slot_, sender);
}

std::uint32_t NewConnection::commit() noexcept {
    tracking_.conns_.arm(slot_);
    tracking_.emit_event(ConnEventType::fresh, slot_);
    return std::exchange(slot_, 0);
}

}  // namespace postern
