// SPDX-License-Identifier: BSD-3-Clause
// What control asks of a worker (mailbox.h), answered once a turn: lists and ends connections, some
// slots a turn; files an expectation for one of them; puts a saved one into the table.
#include "pipeline/worker.h"

namespace postern {

void Worker::answer_mail() noexcept {
    answer_expect_mail();
    answer_restore_mail();
    Mailbox& m = *mailbox_;
    // Acquire pairs with control's release of the order, release with its acquire of the answer.
    if (m.state.load(std::memory_order_acquire) != Mailbox::asked) return;
    bool done = m.cancelled.load(std::memory_order_relaxed);
    for (std::uint32_t n = 0; !done && n < Mailbox::kSlotsATurn; ++n, ++m.cursor) {
        done = m.cursor > conns_->capacity();
        if (done) break;
        const Conn& c = conns_->at(m.cursor);
        if (!c.alive() || !m.filter.matches(c)) continue;
        if (m.order == Mailbox::Order::end) {
            end_connection(m.cursor, ConnEnd::control);
            ++m.ended;
            continue;
        }
        Mailbox::Row* row = m.rows.reserve();
        if (row == nullptr) return;  // control is busy: this slot again, next turn
        row->slot = m.cursor;
        row->now = batch_.now;
        row->conn = c;
        row->helper.there = m.order == Mailbox::Order::save && c.helper_slot != 0;
        if (row->helper.there) helpers_->save(*helpers_->at(c.helper_slot), row->helper);
        m.rows.publish();
    }
    if (done) m.state.store(Mailbox::answered, std::memory_order_release);
}

void Worker::answer_expect_mail() noexcept {
    ExpectMail& m = expect_mail_;
    if (m.state.load(std::memory_order_acquire) != Mailbox::asked) return;
    const Conn* conn = conns_->find(m.master);
    m.found = conn != nullptr && conn->helper_slot != 0;
    if (m.found) {
        ExpectRequest& r = m.request;
        r.zone = conn->zone();
        r.master = m.master;
        r.master_tuple = conn->tuple();
        r.mark = conn->mark;
        r.label = conn->label;
        r.rule = conn->rule;
        if (r.helper == kNoHelper) r.helper = conn->helper;
        m.result = expect_->insert(r, &masters_[conn->helper_slot], expect_turn());
    }
    m.state.store(Mailbox::answered, std::memory_order_release);
}

void Worker::answer_restore_mail() noexcept {
    RestoreMail& m = *restore_mail_;
    if (m.state.load(std::memory_order_acquire) != Mailbox::asked) return;
    m.outcome = restore(m);
    m.state.store(Mailbox::answered, std::memory_order_release);
}

RestoreMail::Outcome Worker::restore(RestoreMail& m) noexcept {
    using enum RestoreMail::Outcome;
    const Tick now = batch_.now;
    Conn& image = m.image.conn;
    image.last_seen_ms = now.ms - m.idle_ms;
    image.start_ms = now.ms - m.age_ms;
    // What its rule says, and how long its state is kept, may have changed since.
    if (image.rule < plan_->effects.size()) {
        const RuleEffect& effect = plan_->effects[image.rule];
        image.timeouts = effect.timeouts & Conn::kTimeoutsMask;
        image.flags &= static_cast<std::uint8_t>(~conn_flag::liberal);
        if (effect.liberal) image.flags |= conn_flag::liberal;
    }
    const std::uint32_t by_state_ms = image.timeout_ms = timeout_of(image, plan_->track);
    // Without a helper its state is what its rule expects.
    const HelperImage& helper = m.image.helper;
    const bool wanted = helper.there && (removed_ >> helper.conn.helper & 1) == 0 &&
                        (helper.conn.helper != kNoHelper || expects_by_rule(image));
    if (wanted) raise_timeout(image, helper.conn.min_timeout_s);
    if (m.idle_ms >= image.timeout_ms) return expired;
    if (conns_->find(image.tuple(), image.zone(), image.key_class) != 0) return exists;
    const bool paired = image.protocol() == proto::gre && image.gre.twin != 0;
    const std::uint32_t slot = conns_->adopt(image, now);
    if (slot == 0) return full;
    if (paired && conns_->holder_of(slot, image.sport) != 0) {
        conns_->remove(slot);
        return exists;
    }
    if (paired && !conns_->pair(slot, image.sport)) {
        conns_->remove(slot);
        return full;
    }
    Conn& conn = conns_->at(slot);
    if (zones_limited_) ++zone_count_[conn.from];
    if (sources_.enabled() && !conn.has(conn_flag::expected) && !is_settled(conn))
        count_half_open(conn);
    m.id = conns_->id_of(slot);
    const HelperConn* hc = wanted ? helpers_->resume(helper, conn.tuple(), slot) : nullptr;
    if (hc != nullptr) {
        set_helper_slot(conn, hc);
        conn.helper = hc->helper;
        if (conn.helper != kNoHelper) {
            conn.flags |= conn_flag::helped;
            conns_->note_helper(slot, true);
        }
    } else {
        conn.timeout_ms = by_state_ms;
    }
    conns_->arm(slot);
    tell(ConnEventType::fresh, slot);
    return helper.there && hc == nullptr ? without_helper : restored;
}

}  // namespace postern
