// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/requests.h"

namespace postern {

void Requests::answer(Tracking& tracking, Helping& helping, Expecting& expecting,
                      Tick now) noexcept {
    answer_expect(tracking, expecting);
    if (restore_->state.load(std::memory_order_acquire) == ConnQuery::asked) {
        restore_->outcome = tracking.restore(*restore_);
        restore_->state.store(ConnQuery::answered, std::memory_order_release);
    }
    answer_list(tracking, helping, now);
}

void Requests::answer_list(Tracking& tracking, Helping& helping, Tick now) noexcept {
    ConnQuery& m = *conn_query_;
    // Acquire pairs with control's release of the order, release with its acquire of the answer.
    if (m.state.load(std::memory_order_acquire) != ConnQuery::asked) return;
    const ConnTable& conns = tracking.table();
    bool done = m.cancelled.load(std::memory_order_relaxed);
    for (std::uint32_t n = 0; !done && n < ConnQuery::kSlotsATurn; ++n, ++m.cursor) {
        done = m.cursor > conns.capacity();
        if (done) break;
        const Conn& c = conns.at(m.cursor);
        if (!c.alive() || !m.filter.matches(c)) continue;
        if (m.action == ConnQuery::Action::end) {
            tracking.end(m.cursor, ConnEnd::control);
            ++m.ended;
            continue;
        }
        ConnQuery::Row* row = m.rows.reserve();
        if (row == nullptr) return;  // control is slow: this slot again, next turn
        row->slot = m.cursor;
        row->now = now;
        row->conn = c;
        row->helper.there = m.action == ConnQuery::Action::save && c.helper_slot != 0;
        if (row->helper.there)
            helping.engine().save(*helping.engine().at(c.helper_slot), row->helper);
        m.rows.publish();
    }
    if (done) m.state.store(ConnQuery::answered, std::memory_order_release);
}

void Requests::answer_expect(Tracking& tracking, Expecting& expecting) noexcept {
    CreateExpectRequest& m = expect_;
    if (m.state.load(std::memory_order_acquire) != ConnQuery::asked) return;
    const Conn* conn = tracking.table().find(m.master);
    m.found = conn != nullptr && conn->helper_slot != 0;
    if (m.found) m.result = expecting.file_for_control(m.request, *conn, m.master);
    m.state.store(ConnQuery::answered, std::memory_order_release);
}

}  // namespace postern
