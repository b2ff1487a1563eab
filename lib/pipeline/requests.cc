// SPDX-License-Identifier: BSD-3-Clause
#include "pipeline/requests.h"

#include <utility>

namespace postern {
namespace {

// Work on the ring in one turn, in units of a restored connection without a helper.
constexpr std::uint32_t kCostATurn = 32, kPlainCost = 1, kHelpedCost = 4, kExpectCost = 4;

CreateExpectReply create_expect(CreateExpectRequest& m, Tracking& tracking,
                                Expecting& expecting) noexcept {
    CreateExpectReply reply;
    const Conn* conn = tracking.table().find(m.master);
    reply.found = conn != nullptr && conn->helper_slot != 0;
    if (reply.found) reply.result = expecting.file_for_control(m.request, *conn, m.master);
    return reply;
}

}  // namespace

void Requests::answer(Tracking& tracking, Helping& helping, Expecting& expecting,
                      Tick now) noexcept {
    answer_ring(tracking, expecting);
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
        if (!c.alive()) continue;
        if (!m.filter.matches(c, {m.cursor, c.generation, tracking.table().worker()}, now)) {
            ++m.passed_over;
            continue;
        }
        if (m.action == ConnQuery::Action::end || m.action == ConnQuery::Action::count) {
            if (m.action == ConnQuery::Action::end) tracking.end(m.cursor, ConnEnd::control);
            ++m.matched;
            continue;
        }
        const bool has_helper = m.action == ConnQuery::Action::save && c.helper_slot != 0;
        ConnQuery::Row* row = m.rows.reserve();
        HelperImage* image = has_helper ? m.helpers.reserve() : nullptr;
        // Control is slow: this slot again, next turn.
        if (row == nullptr || (has_helper && image == nullptr)) return;
        row->slot = m.cursor;
        row->now = now;
        row->conn = c;
        row->passed_over = std::exchange(m.passed_over, 0);
        row->has_helper = has_helper;
        // Control takes it when it has the row.
        if (has_helper) {
            helping.engine().save(*helping.engine().at(c.helper_slot), *image);
            m.helpers.publish();
        }
        m.rows.publish();
    }
    if (done) m.state.store(ConnQuery::answered, std::memory_order_release);
}

void Requests::answer_ring(Tracking& tracking, Expecting& expecting) noexcept {
    for (std::uint32_t cost = 0; cost < kCostATurn;) {
        ControlRequest* request = requests_.front();
        if (request == nullptr) return;
        // Control never has more requests unanswered than the ring of replies has room for.
        ControlReply* reply = replies_.reserve();
        if (reply == nullptr) return;
        if (auto* restore = std::get_if<RestoreRequest>(request)) {
            cost += restore->helper == nullptr ? kPlainCost : kHelpedCost;
            *reply = tracking.restore(*restore);
        } else if (auto* create = std::get_if<CreateExpectRequest>(request)) {
            cost += kExpectCost;
            *reply = create_expect(*create, tracking, expecting);
        }
        requests_.drop_front();
        replies_.publish();
    }
}

}  // namespace postern
